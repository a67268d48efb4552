package sessiontest

import (
	"sync"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// Leader accepts sessions, acknowledges heartbeats, and lets the test look at
// what comes up and say what goes down.
type Leader struct {
	Welcome *pb.Welcome
	Hellos  chan *pb.WorkerHello
	// Ups gets every message but heartbeats, hellos included.
	Ups chan *pb.WorkerMessage
	// Deaf leaves heartbeats unanswered.
	Deaf bool

	mu    sync.Mutex
	beats int
	last  []uint64 // running, in the last heartbeat
	down  func(*pb.NodeMessage) error
}

// NewLeader makes a leader whose cluster has these addresses.
func NewLeader(addrs ...string) *Leader {
	return &Leader{
		Welcome: &pb.Welcome{Session: "s", Leader: "leader", ClusterId: "c1", Term: 1, Addresses: addrs,
			LeaseTtlMs: 1000, HeartbeatMs: 200, ReconnectMaxMs: 1000},
		Hellos: make(chan *pb.WorkerHello, 1000),
		Ups:    make(chan *pb.WorkerMessage, 10000),
	}
}

// Serve is a Node's session.
func (l *Leader) Serve(s Stream) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	var sending sync.Mutex
	send := func(m *pb.NodeMessage) error {
		sending.Lock()
		defer sending.Unlock()
		return s.Send(m)
	}
	if err := send(&pb.NodeMessage{Welcome: l.Welcome}); err != nil {
		return err
	}
	l.mu.Lock()
	l.down = send
	l.mu.Unlock()
	l.Hellos <- first.Hello
	l.Ups <- first
	for {
		m, err := s.Recv()
		if err != nil {
			return err
		}
		if m.Heartbeat == nil {
			l.Ups <- m
			continue
		}
		l.mu.Lock()
		l.beats++
		l.last = m.Heartbeat.Running
		l.mu.Unlock()
		if !l.Deaf {
			if err := send(&pb.NodeMessage{HeartbeatAck: &pb.HeartbeatAck{Seq: m.Heartbeat.Seq}}); err != nil {
				return err
			}
		}
	}
}

// Send sends down the latest session.
func (l *Leader) Send(m *pb.NodeMessage) error {
	l.mu.Lock()
	send := l.down
	l.mu.Unlock()
	return send(m)
}

// Beats counts the heartbeats so far, and returns what ran at the last.
func (l *Leader) Beats() (int, []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.beats, l.last
}

// Redirect is a Node's session that points elsewhere; leader may be empty.
func Redirect(leader string) func(Stream) error {
	return func(s Stream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		return s.Send(&pb.NodeMessage{Redirect: &pb.Redirect{Leader: leader, Why: "not the leader"}})
	}
}

// Refuse is a Node's session that ends with a status as nodes make them.
func Refuse(code codes.Code, why, message string) func(Stream) error {
	return func(s Stream) error {
		if _, err := s.Recv(); err != nil {
			return err
		}
		st, err := status.New(code, message).WithDetails(&errdetails.ErrorInfo{Reason: why, Domain: reason.Domain})
		if err != nil {
			return err
		}
		return st.Err()
	}
}
