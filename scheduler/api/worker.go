package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/auth"
	"github.com/weirbuild/weir/scheduler/lead"
)

// helloTimeout is how long a worker's stream may stay silent before it says
// who it is.
const helloTimeout = 10 * time.Second

// Session is a worker's control stream: served by the leader, redirected or
// relayed to it by any other node.
func (s *Server) Session(stream pb.WorkerService_SessionServer) error {
	first, err := awaitHello(stream.Context(), stream.Recv)
	if err != nil {
		return err
	}
	hello := first.Hello
	if hello == nil {
		return invalid("a worker's first message must say hello")
	}
	if err := workerOf(stream.Context(), hello.Pool, hello.Name); err != nil {
		return err
	}
	s.awaitOffice(stream.Context())
	switch r := s.routeWorker(stream.Context(), hello.Relay); {
	case r.here:
		by, err := s.confirmWorker(stream.Context(), pb.WorkerService_Session_FullMethodName, hello.Pool, hello.Name)
		if err != nil {
			return err
		}
		return s.Leader.Serve(stream, hello, by)
	case r.relay != nil:
		return s.relay(stream, *r.relay, pb.WorkerService_Session_FullMethodName, first)
	default:
		return stream.Send(&pb.NodeMessage{Redirect: r.redirect})
	}
}

// ShipLogs is the stream of a worker's log bytes, routed as its session is.
func (s *Server) ShipLogs(stream pb.WorkerService_ShipLogsServer) error {
	first, err := awaitHello(stream.Context(), stream.Recv)
	if err != nil {
		return err
	}
	hello := first.Hello
	if hello == nil || len(first.Offers) > 0 || len(first.Chunks) > 0 {
		return invalid("a log stream's first message must say hello, and nothing else")
	}
	if err := workerOf(stream.Context(), hello.Pool, hello.Name); err != nil {
		return err
	}
	switch r := s.routeWorker(stream.Context(), hello.Relay); {
	case r.here:
		by, err := s.confirmWorker(stream.Context(), pb.WorkerService_ShipLogs_FullMethodName, hello.Pool, hello.Name)
		if err != nil {
			return err
		}
		return s.Logs.Ship(stream, hello, by)
	case r.relay != nil:
		return s.relay(stream, *r.relay, pb.WorkerService_ShipLogs_FullMethodName, first)
	default:
		return stream.Send(&pb.LogDown{Redirect: r.redirect})
	}
}

// awaitHello receives the first message; a stream that sends none is ended.
func awaitHello[M any](ctx context.Context, receive func() (*M, error)) (*M, error) {
	timer := time.AfterFunc(helloTimeout, func() {
		auth.End(ctx, invalid("the worker said nothing for %v", helloTimeout))
	})
	defer timer.Stop()
	return receive()
}

// workerOf refuses a worker whose capability is for other pools.
func workerOf(ctx context.Context, pool, name string) error {
	id := auth.From(ctx)
	if id.Kind == auth.Unverified {
		return nil // the leader tells (confirmWorker); this node only shows the way
	}
	if err := errors.Join(fsm.ValidateName("pool", pool), fsm.ValidateName("worker", name)); err != nil {
		return invalid("%v", err)
	}
	if slices.Contains(id.Pools, pool) {
		return nil
	}
	return &fsm.Refusal{Kind: reason.Denied, Message: fmt.Sprintf(
		"worker %s: the capability is for pool %s, not for %s: start it with --pool %[2]s, or ask for a capability of pool %[3]s: weir cap create",
		name, strings.Join(id.Pools, ", "), pool)}
}

// confirmWorker returns who opened a worker's stream that is served here. A
// token that this node did not know when the stream was opened is looked up now
// that it leads: it may have come into office while the worker said nothing.
func (s *Server) confirmWorker(ctx context.Context, method, pool, name string) (lead.Caller, error) {
	if auth.From(ctx).Kind == auth.Unverified {
		var err error
		if ctx, err = s.Guard.Confirm(ctx, method); err != nil {
			return lead.Caller{}, err
		}
		if err := workerOf(ctx, pool, name); err != nil {
			return lead.Caller{}, err
		}
	}
	return caller(ctx), nil
}

// route says what becomes of a worker's stream on this node.
type route struct {
	here     bool
	relay    *raftnode.Peer // the leader: pass the stream on
	redirect *pb.Redirect   // the worker must go there
}

// officeWait is how long a worker that came to a node which is elected, but not
// in office yet, is kept waiting. It takes one commit.
const officeWait = 300 * time.Millisecond

// awaitOffice returns once this node, if it is elected, is in office too.
func (s *Server) awaitOffice(ctx context.Context) {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for until := time.Now().Add(officeWait); time.Now().Before(until); {
		leader, ok := s.Forwarder.Leader()
		if s.Forwarder.Leads() || !ok || leader.Name != s.Name {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) routeWorker(ctx context.Context, wantsRelay bool) route {
	if s.Forwarder.Leads() {
		return route{here: true}
	}
	leader, ok := s.Forwarder.Leader()
	if ok && leader.Name == s.Name { // elected, but not in office yet
		ok = false
	}
	redirect := &pb.Redirect{Addresses: s.addresses(), Why: fmt.Sprintf("node %s does not lead and knows no leader", s.Name)}
	if ok {
		redirect.Leader, redirect.Why = leader.Address, fmt.Sprintf("node %s leads, not %s", leader.Name, s.Name)
	}
	if ok && wantsRelay && auth.From(ctx).RelayedBy == "" { // never twice
		return route{relay: &leader}
	}
	return route{redirect: redirect}
}

// relay passes a worker's stream on to the leader.
func (s *Server) relay(stream grpc.ServerStream, leader raftnode.Peer, name string, first proto.Message) error {
	to, err := s.Forwarder.wayTo(leader)
	if err != nil {
		return err
	}
	out := metadata.AppendToOutgoingContext(s.Forwarder.outgoing(stream.Context()), reason.MetaRelayedBy, s.Name)
	return s.Forwarder.pass(stream, to, out, name, methods[name], first)
}

// addresses are the members' advertised ones.
func (s *Server) addresses() []string {
	var all []string
	for _, m := range s.Forwarder.Peers.Members() {
		all = append(all, m.Address)
	}
	return all
}

func caller(ctx context.Context) lead.Caller {
	id := auth.From(ctx)
	return lead.Caller{CapabilityID: id.Capability, Remote: id.Remote, RelayedBy: id.RelayedBy}
}
