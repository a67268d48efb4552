package auth

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/pb"
)

var update = flag.Bool("update", false, "rewrite the files under testdata")

// everyMethod finds every RPC in the contract itself.
func everyMethod() map[string]protoreflect.MethodDescriptor {
	all := map[string]protoreflect.MethodDescriptor{}
	for _, file := range []protoreflect.FileDescriptor{
		pb.File_weir_v1_client_proto, pb.File_weir_v1_admin_proto, pb.File_weir_v1_worker_proto,
		pb.File_weir_v1_node_proto, pb.File_weir_v1_job_proto, pb.File_weir_v1_command_proto, pb.File_weir_v1_snapshot_proto,
	} {
		for i := range file.Services().Len() {
			s := file.Services().Get(i)
			for j := range s.Methods().Len() {
				m := s.Methods().Get(j)
				all[fmt.Sprintf("/%s/%s", s.FullName(), m.Name())] = m
			}
		}
	}
	return all
}

func TestTableHasEveryMethodAndNoOther(t *testing.T) {
	methods := everyMethod()
	for name := range methods {
		if _, ok := Allowed(name); !ok {
			t.Errorf("%s is in no row of the table: decide who may call it", name)
		}
	}
	for name, may := range Table() {
		if _, ok := methods[name]; !ok {
			t.Errorf("%s is in the table and not in the contract", name)
		}
		if may == 0 || may&Unverified != 0 {
			t.Errorf("%s is for %v", name, may)
		}
	}
}

// The whole table is kept as a file, so that a change of it is seen in review.
func TestTableIsAsReviewed(t *testing.T) {
	const file = "testdata/table.txt"
	var b strings.Builder
	for name, may := range Table() {
		fmt.Fprintf(&b, "%s: %s\n", strings.TrimPrefix(name, "/weir.v1."), may)
	}
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("the table differs from %s (-update rewrites it); it is\n%s", file, &b)
	}
}

// Every RPC is called over TLS with every kind of capability: a call that is
// let through is answered "unimplemented", any other is refused.
func TestEveryMethodWithEveryKind(t *testing.T) {
	f := newFixture(t)
	tokens := map[Kind]capability.Token{}
	for kind, c := range map[Kind]*pb.Capability{
		Admin:    {Kind: pb.CapabilityKind_CAPABILITY_ADMIN},
		Operator: {Kind: pb.CapabilityKind_CAPABILITY_OPERATOR},
		Worker:   {Kind: pb.CapabilityKind_CAPABILITY_WORKER, Pools: []string{"p"}},
		Submit:   {Kind: pb.CapabilityKind_CAPABILITY_SUBMIT, Client: "ci"},
		Read:     {Kind: pb.CapabilityKind_CAPABILITY_READ},
	} {
		tokens[kind], _ = f.state.grant(t, c)
	}
	plain, node := f.conn(t, nil), f.conn(t, f.node)
	for _, kind := range append(Kinds(), 0) {
		conn := plain
		if kind == Node {
			conn = node
		}
		for name, m := range everyMethod() {
			may, _ := Allowed(name)
			err := call(with(t, tokens[kind]), conn, name, m)
			let := status.Code(err) == codes.Unimplemented
			if let != (may&kind != 0) {
				t.Errorf("%s by %v: let through %v, the table says %v (%v)", name, kind, let, may, err)
			}
			if !let && !strings.Contains(err.Error(), "weir cap create") && !strings.Contains(err.Error(), "weir tls cert create") && kind != 0 {
				t.Errorf("%s by %v: the refusal names no remedy: %v", name, kind, err)
			}
		}
	}
}

// call makes one call of any shape with an empty request.
func call(ctx context.Context, conn *grpc.ClientConn, name string, m protoreflect.MethodDescriptor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: m.IsStreamingClient(), ServerStreams: m.IsStreamingServer()}, name)
	if err != nil {
		return err
	}
	// When the server has refused already, receiving says why.
	if err := s.SendMsg(&emptypb.Empty{}); err != nil && err != io.EOF {
		return err
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	return s.RecvMsg(&emptypb.Empty{})
}
