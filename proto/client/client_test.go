package client

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

func accept(job uint64) func(*pb.SubmitRequest) (*pb.SubmitReply, error) {
	return func(*pb.SubmitRequest) (*pb.SubmitReply, error) { return &pb.SubmitReply{Job: job}, nil }
}

func TestSubmitTriesEveryNodeUnderOneKey(t *testing.T) {
	var keys []string
	refuse := func(r *pb.SubmitRequest) (*pb.SubmitReply, error) {
		keys = append(keys, r.Key.Id)
		return nil, refusal(codes.Unavailable, reason.UnknownOutcome)
	}
	a := &fakeNode{submit: refuse}
	b := &fakeNode{submit: func(r *pb.SubmitRequest) (*pb.SubmitReply, error) {
		keys = append(keys, r.Key.Id)
		return &pb.SubmitReply{Job: 7}, nil
	}}
	cl := newCluster(t, a, b).client(t, Options{Patience: 10 * time.Second})
	r, err := cl.Submit(t.Context(), &pb.SubmitRequest{Pool: "p"})
	if err != nil || r.Job != 7 {
		t.Fatalf("submit: %v, %v", r, err)
	}
	if len(keys) != 2 || keys[0] == "" || keys[0] != keys[1] {
		t.Errorf("the request keys of the tries are %q, want one key twice", keys)
	}
}

func TestDeadNodeIsPassedOver(t *testing.T) {
	a, b := &fakeNode{submit: accept(1)}, &fakeNode{submit: accept(2)}
	c := newCluster(t, a, b)
	a.server.Stop()
	r, err := c.client(t, Options{Patience: 10 * time.Second}).Submit(t.Context(), &pb.SubmitRequest{})
	if err != nil || r.Job != 2 {
		t.Fatalf("submit past a dead node: %v, %v", r, err)
	}
}

func TestRefusalIsNotRetried(t *testing.T) {
	var calls atomic.Int64
	a := &fakeNode{submit: func(*pb.SubmitRequest) (*pb.SubmitReply, error) {
		calls.Add(1)
		return nil, refusal(codes.ResourceExhausted, reason.Full)
	}}
	_, err := newCluster(t, a).client(t, Options{}).Submit(t.Context(), &pb.SubmitRequest{})
	if Reason(err) != reason.Full || calls.Load() != 1 {
		t.Errorf("got %q after %d calls, want %q after one", Reason(err), calls.Load(), reason.Full)
	}
}

// A busy leader has done nothing: every call may come again, and to the same node.
func TestABusyLeaderIsAskedAgain(t *testing.T) {
	var calls [2]atomic.Int64
	busy := func(i int) func() error {
		return func() error {
			if calls[i].Add(1) < 3 {
				return refusal(codes.Unavailable, reason.Busy)
			}
			return nil
		}
	}
	a, b := &fakeNode{create: busy(0)}, &fakeNode{create: busy(1)}
	var notices []string
	cl := newCluster(t, a, b).client(t, Options{Notice: func(l string) { notices = append(notices, l) }})
	if _, err := cl.Admin().CreatePool(t.Context(), &pb.CreatePoolRequest{}); err != nil {
		t.Fatal(err)
	}
	if first, second := calls[0].Load(), calls[1].Load(); first+second != 3 || first*second != 0 {
		t.Errorf("%d calls of one busy node, %d of the other; want 3 of the same", first, second)
	}
	if len(notices) != 1 || !strings.Contains(notices[0], "busy") {
		t.Errorf("the notices are %q", notices)
	}
}

// When it stays busy for longer than the client's patience, that is the answer.
func TestALeaderThatStaysBusy(t *testing.T) {
	a := &fakeNode{submit: func(*pb.SubmitRequest) (*pb.SubmitReply, error) {
		return nil, refusal(codes.Unavailable, reason.Busy)
	}}
	_, err := newCluster(t, a).client(t, Options{Patience: 200 * time.Millisecond}).Submit(t.Context(), &pb.SubmitRequest{})
	if Reason(err) != reason.Busy {
		t.Errorf("have %v, want busy", err)
	}
}

// A change that could not be recognised when it comes again is never made twice.
func TestUnknownOutcomeOfAnUnrepeatableCall(t *testing.T) {
	var calls atomic.Int64
	a := &fakeNode{create: func() error { calls.Add(1); return refusal(codes.Unavailable, reason.UnknownOutcome) }}
	_, err := newCluster(t, a).client(t, Options{}).Admin().CreatePool(t.Context(), &pb.CreatePoolRequest{})
	if Reason(err) != reason.UnknownOutcome || calls.Load() != 1 {
		t.Errorf("got %v after %d calls, want an unknown outcome after one", err, calls.Load())
	}
}

func TestNoQuorumSaysWhoSaidWhat(t *testing.T) {
	follower := &fakeNode{
		submit: func(*pb.SubmitRequest) (*pb.SubmitReply, error) { return nil, noLeader },
		status: func() (*pb.NodeStatus, error) {
			return &pb.NodeStatus{Name: "n1", State: "candidate", Term: 9, Why: "no quorum"}, nil
		},
	}
	dead1, dead2 := &fakeNode{}, &fakeNode{}
	c := newCluster(t, follower, dead1, dead2)
	dead1.server.Stop()
	dead2.server.Stop()
	var notices []string
	cl := c.client(t, Options{Patience: 200 * time.Millisecond, Notice: func(l string) { notices = append(notices, l) }})
	began := time.Now()
	_, err := cl.Submit(t.Context(), &pb.SubmitRequest{})
	var down *UnavailableError
	if !errors.As(err, &down) {
		t.Fatalf("got %v, want an UnavailableError", err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v to say so", took)
	}
	if down.Reached() != 1 {
		t.Errorf("reached %d nodes, want one", down.Reached())
	}
	text := err.Error()
	for _, want := range []string{"node n1 is candidate in term 9", "no quorum", dead1.addr, dead2.addr, "Start the ones that do not answer"} {
		if !strings.Contains(text, want) {
			t.Errorf("the error lacks %q:\n%s", want, text)
		}
	}
	if len(notices) == 0 || !strings.Contains(notices[0], "no leader") {
		t.Errorf("the notices are %q", notices)
	}
}

// Two nodes of three have lost their data: who they are, and what brings the
// cluster back, is said; that they run is not enough.
func TestWipedNodesAreNamed(t *testing.T) {
	members := []*pb.Member{
		{NodeId: "1", Name: "n1", Suffrage: "voter", Address: "h1:7"}, {NodeId: "2", Name: "n2", Suffrage: "voter", Address: "h2:7"},
		{NodeId: "3", Name: "n3", Suffrage: "voter", Address: "h3:7"}, {NodeId: "4", Name: "n4", Suffrage: "nonvoter", Address: "h4:7"},
	}
	says := func(s *pb.NodeStatus, err error) *fakeNode {
		return &fakeNode{
			submit: func(*pb.SubmitRequest) (*pb.SubmitReply, error) { return nil, noLeader },
			status: func() (*pb.NodeStatus, error) { return s, err },
		}
	}
	voter := func(id string) *fakeNode {
		return says(&pb.NodeStatus{NodeId: id, State: "candidate", LastIndex: 9, Members: members}, nil)
	}
	full := func(id string) *fakeNode {
		return says(&pb.NodeStatus{NodeId: id, Name: "n" + id, State: "follower", LastIndex: 9, Members: members, Disk: "no space"}, nil)
	}
	joining := func() *fakeNode { return says(&pb.NodeStatus{NodeId: "9", State: "joining"}, nil) }
	unknowing := func() *fakeNode { return says(nil, refusal(codes.Unavailable, reason.Empty)) }
	unconfirmed := func() *fakeNode { return says(nil, refusal(codes.Unavailable, reason.NoLeader)) }
	removed := func() *fakeNode {
		return says(&pb.NodeStatus{NodeId: "8", State: "follower", LastIndex: 5, Members: members[:2]}, nil)
	}
	for name, c := range map[string]struct {
		nodes []*fakeNode
		want  string
	}{
		"two of three are wiped": {[]*fakeNode{voter("1"), joining(), unknowing()}, "restore the data directories of those that are empty"},
		"and who they were":      {[]*fakeNode{voter("1"), joining(), unknowing()}, "2 of 3; missing: n2 (h2:7), n3 (h3:7)"},
		"one of three is wiped":  {[]*fakeNode{voter("1"), voter("3"), joining()}, "A majority is up"},
		"disks are full":         {[]*fakeNode{full("1"), voter("2"), full("3")}, "the disks of some fail, as said above: n1, n3. Make room"},
		"all":                    {[]*fakeNode{joining(), joining(), unknowing()}, "No node belongs to a cluster yet"},
		"a removed node is none": {[]*fakeNode{voter("2"), removed()}, "missing: n1 (h1:7), n3 (h3:7)"},
		"one just started":       {[]*fakeNode{unconfirmed()}, "A majority of the nodes must run"},
	} {
		cl := newCluster(t, c.nodes...).client(t, Options{Patience: 100 * time.Millisecond})
		if _, err := cl.Submit(t.Context(), &pb.SubmitRequest{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

func TestCancelledContextIsTheAnswer(t *testing.T) {
	a := &fakeNode{submit: func(*pb.SubmitRequest) (*pb.SubmitReply, error) { return nil, noLeader }}
	cl := newCluster(t, a).client(t, Options{Patience: time.Hour})
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	cl.notices.tell = func(string) { cancel(why) }
	if _, err := cl.Submit(ctx, &pb.SubmitRequest{}); !errors.Is(err, why) {
		t.Errorf("got %v, want the context's cause", err)
	}
}
