package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/auth"
)

// accessRows are the RPCs behind each row of the README's table.
var accessRows = map[string][]string{
	"submit, cancel": {
		pb.JobService_Submit_FullMethodName, pb.JobService_SubmitStream_FullMethodName, pb.JobService_Cancel_FullMethodName,
	},
	"see jobs, logs and events": {
		pb.JobService_GetJob_FullMethodName, pb.JobService_ListJobs_FullMethodName, pb.JobService_Explain_FullMethodName,
		pb.JobService_Watch_FullMethodName, pb.JobService_ReadLog_FullMethodName, pb.JobService_WatchSettled_FullMethodName,
		pb.JobService_WatchEvents_FullMethodName,
	},
	"see pools": {pb.AdminService_ListPools_FullMethodName, pb.AdminService_GetPool_FullMethodName},
	"see workers, clients, queues, the audit": {
		pb.AdminService_ListWorkers_FullMethodName, pb.AdminService_ListClients_FullMethodName,
		pb.AdminService_ShowWorker_FullMethodName, pb.AdminService_ShowPool_FullMethodName,
		pb.AdminService_ListChanges_FullMethodName,
	},
	"create, change, pause, delete pools; pause, update, forget workers, take jobs off them": {
		pb.AdminService_CreatePool_FullMethodName, pb.AdminService_UpdatePool_FullMethodName,
		pb.AdminService_DeletePool_FullMethodName, pb.AdminService_ForgetWorker_FullMethodName,
		pb.AdminService_PausePool_FullMethodName, pb.AdminService_PauseWorkers_FullMethodName,
		pb.AdminService_EvictJobs_FullMethodName, pb.AdminService_UpdateWorker_FullMethodName,
	},
	"add clients, set their rates and limits": {
		pb.AdminService_AddClient_FullMethodName, pb.AdminService_SetClientRate_FullMethodName, pb.AdminService_SetClientLimit_FullMethodName,
	},
	"members: add, remove, transfer": {
		pb.Membership_AddMember_FullMethodName, pb.Membership_RemoveMember_FullMethodName, pb.Membership_TransferLeadership_FullMethodName,
	},
	"capabilities: create, list, revoke; remove clients": {
		pb.AdminService_CreateCapability_FullMethodName, pb.AdminService_ListCapabilities_FullMethodName,
		pb.AdminService_RevokeCapability_FullMethodName, pb.AdminService_RemoveClient_FullMethodName,
	},
	"run builds, send their logs": {pb.WorkerService_Session_FullMethodName, pb.WorkerService_ShipLogs_FullMethodName},
	"status of nodes":             {pb.Membership_Status_FullMethodName, pb.Membership_ListMembers_FullMethodName},
}

// The README's table of who may do what says what the nodes enforce: a cell is
// empty where, and only where, every RPC of its row is refused to its column, and
// every RPC that any capability may call is in a row.
func TestReadmeHasWhoMayDoWhat(t *testing.T) {
	columns := []auth.Kind{auth.Admin, auth.Operator, auth.Worker, auth.Submit, auth.Read}
	told := map[string]auth.Kind{}
	rows := 0
	for line := range strings.Lines(readmeSection(t, "Who may do what")) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != len(columns)+3 || strings.HasPrefix(cells[1], "---") {
			continue
		}
		title := strings.TrimSpace(cells[1])
		if title == "" {
			for i, kind := range columns {
				name, _, _ := strings.Cut(strings.TrimSpace(cells[i+2]), " ")
				if want, _, _ := strings.Cut(kind.String(), "-"); name != want {
					t.Errorf("column %d is for %q, want %q", i+1, name, want)
				}
			}
			continue
		}
		rows++
		methods, ok := accessRows[title]
		if !ok {
			t.Errorf("row %q: this test does not know what is behind it", title)
		}
		var may auth.Kind
		for i, kind := range columns {
			if strings.TrimSpace(cells[i+2]) != "" {
				may |= kind
			}
		}
		for _, m := range methods {
			told[m] = may
		}
	}
	if rows != len(accessRows) {
		t.Errorf("the table has %d rows, want %d", rows, len(accessRows))
	}
	for method, may := range auth.Table() {
		if may &^= auth.Node; may != told[method] {
			t.Errorf("%s is for %v; the README says %v", method, may, told[method])
		}
	}
	if !slices.Equal(columns, auth.Kinds()[:len(columns)]) {
		t.Errorf("the kinds are %v", auth.Kinds())
	}
}
