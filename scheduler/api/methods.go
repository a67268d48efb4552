package api

import (
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/weirbuild/weir/proto/pb"
)

// method is what passing a call on needs to know of it.
type method struct {
	desc  grpc.StreamDesc
	out   protoreflect.MessageType
	in    protoreflect.MessageType
	local bool // answered by the node that was asked
	read  bool // changes nothing: may be repeated
}

// methods has every method of every service by its full name.
var methods = describe(pb.File_weir_v1_client_proto, pb.File_weir_v1_admin_proto, pb.File_weir_v1_worker_proto, pb.File_weir_v1_node_proto)

// localMethods are answered by the node that is asked. Streams of workers are
// redirected or relayed by their own rules, logs come from whoever stores them.
var localMethods = []string{
	pb.JobService_ReadLog_FullMethodName,
	pb.JobService_WatchEvents_FullMethodName,
	pb.WorkerService_Session_FullMethodName,
	pb.WorkerService_ShipLogs_FullMethodName,
	pb.Membership_Hello_FullMethodName,
	pb.Membership_Join_FullMethodName,
	pb.Membership_Status_FullMethodName,
	pb.NodeService_ReplicateLogs_FullMethodName,
	pb.NodeService_LogStatus_FullMethodName,
	pb.NodeService_WorkerPage_FullMethodName,
}

var readMethods = []string{
	pb.JobService_GetJob_FullMethodName,
	pb.JobService_ListJobs_FullMethodName,
	pb.JobService_Explain_FullMethodName,
	pb.JobService_Watch_FullMethodName,
	pb.JobService_WatchSettled_FullMethodName,
	pb.JobService_WatchEvents_FullMethodName,
	pb.AdminService_ListPools_FullMethodName,
	pb.AdminService_GetPool_FullMethodName,
	pb.AdminService_ListClients_FullMethodName,
	pb.AdminService_ListCapabilities_FullMethodName,
	pb.AdminService_ListWorkers_FullMethodName,
	pb.AdminService_ShowPool_FullMethodName,
	pb.AdminService_ShowWorker_FullMethodName,
	pb.AdminService_ListChanges_FullMethodName,
	pb.Membership_ListMembers_FullMethodName,
}

func describe(files ...protoreflect.FileDescriptor) map[string]*method {
	all := map[string]*method{}
	for _, file := range files {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				all["/"+string(service.FullName())+"/"+string(m.Name())] = &method{
					desc: grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()},
					in:   messageType(m.Input()), out: messageType(m.Output()),
				}
			}
		}
	}
	for _, name := range localMethods {
		all[name].local = true
	}
	for _, name := range readMethods {
		all[name].read = true
	}
	return all
}

func (m *method) newIn() proto.Message  { return m.in.New().Interface() }
func (m *method) newOut() proto.Message { return m.out.New().Interface() }

// stays reports whether the node that was asked answers this request itself.
func (m *method) stays(req any) bool {
	if m.local {
		return true
	}
	s, ok := req.(interface{ GetStale() bool })
	return ok && s.GetStale()
}

func messageType(d protoreflect.MessageDescriptor) protoreflect.MessageType {
	t, err := protoregistry.GlobalTypes.FindMessageByName(d.FullName())
	if err != nil { // the generated code registers every message
		panic("api: " + err.Error())
	}
	return t
}
