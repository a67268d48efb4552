package auth

import (
	"iter"
	"maps"
	"slices"

	"github.com/weirbuild/weir/proto/pb"
)

// rule says which kinds may call a method, and whether it changes how the
// cluster is set up, which is audited.
type rule struct {
	may    Kind
	change bool
}

const (
	operators = Admin | Operator
	readers   = operators | Submit | Read
	anyone    = readers | Worker | Node
)

// table has every method of every service. What a kind may see and change
// within a method (a submit capability only its client's jobs in its pools) is
// checked by the handler with the methods of Identity.
var table = map[string]rule{
	pb.JobService_Submit_FullMethodName:       {may: operators | Submit},
	pb.JobService_SubmitStream_FullMethodName: {may: operators | Submit},
	pb.JobService_GetJob_FullMethodName:       {may: readers},
	pb.JobService_ListJobs_FullMethodName:     {may: readers},
	pb.JobService_Explain_FullMethodName:      {may: readers},
	pb.JobService_Cancel_FullMethodName:       {may: operators | Submit},
	pb.JobService_Watch_FullMethodName:        {may: readers},
	pb.JobService_ReadLog_FullMethodName:      {may: readers | Node},
	pb.JobService_WatchSettled_FullMethodName: {may: readers},
	pb.JobService_WatchEvents_FullMethodName:  {may: readers},

	pb.AdminService_AdminInit_FullMethodName:        {may: Node, change: true},
	pb.AdminService_CreatePool_FullMethodName:       {may: operators, change: true}, // with a worker capability: admin only
	pb.AdminService_UpdatePool_FullMethodName:       {may: operators, change: true},
	pb.AdminService_DeletePool_FullMethodName:       {may: operators, change: true},
	pb.AdminService_PausePool_FullMethodName:        {may: operators, change: true},
	pb.AdminService_ListPools_FullMethodName:        {may: readers},
	pb.AdminService_GetPool_FullMethodName:          {may: readers},
	pb.AdminService_AddClient_FullMethodName:        {may: operators, change: true}, // with a capability: admin only
	pb.AdminService_RemoveClient_FullMethodName:     {may: Admin, change: true},     // it revokes capabilities
	pb.AdminService_SetClientRate_FullMethodName:    {may: operators, change: true},
	pb.AdminService_SetClientLimit_FullMethodName:   {may: operators, change: true},
	pb.AdminService_ListClients_FullMethodName:      {may: operators | Read},
	pb.AdminService_CreateCapability_FullMethodName: {may: Admin, change: true},
	pb.AdminService_ListCapabilities_FullMethodName: {may: Admin},
	pb.AdminService_RevokeCapability_FullMethodName: {may: Admin, change: true},
	pb.AdminService_ListWorkers_FullMethodName:      {may: operators | Read},
	pb.AdminService_ShowPool_FullMethodName:         {may: operators | Read},
	pb.AdminService_ShowWorker_FullMethodName:       {may: operators | Read},
	pb.AdminService_EvictJobs_FullMethodName:        {may: operators, change: true},
	pb.AdminService_ForgetWorker_FullMethodName:     {may: operators, change: true},
	pb.AdminService_PauseWorkers_FullMethodName:     {may: operators, change: true},
	pb.AdminService_UpdateWorker_FullMethodName:     {may: operators, change: true},
	pb.AdminService_ListChanges_FullMethodName:      {may: operators | Read},

	pb.WorkerService_Session_FullMethodName:  {may: Worker},
	pb.WorkerService_ShipLogs_FullMethodName: {may: Worker},

	pb.Membership_Hello_FullMethodName:              {may: Node},
	pb.Membership_Join_FullMethodName:               {may: Node, change: true},
	pb.Membership_Status_FullMethodName:             {may: anyone},
	pb.Membership_ListMembers_FullMethodName:        {may: anyone},
	pb.Membership_AddMember_FullMethodName:          {may: operators, change: true},
	pb.Membership_RemoveMember_FullMethodName:       {may: operators, change: true},
	pb.Membership_TransferLeadership_FullMethodName: {may: operators, change: true},

	pb.NodeService_ReplicateLogs_FullMethodName: {may: Node},
	pb.NodeService_LogStatus_FullMethodName:     {may: Node},
	pb.NodeService_WorkerPage_FullMethodName:    {may: Node},
}

// Allowed returns the kinds that may call a method (/package.Service/Method),
// and false for a method that the table does not have.
func Allowed(method string) (Kind, bool) {
	r, ok := table[method]
	return r.may, ok
}

// Table returns every method with the kinds that may call it, sorted by name.
func Table() iter.Seq2[string, Kind] {
	return func(yield func(string, Kind) bool) {
		for _, method := range slices.Sorted(maps.Keys(table)) {
			if !yield(method, table[method].may) {
				return
			}
		}
	}
}
