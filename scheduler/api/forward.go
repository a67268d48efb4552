package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/reason"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/auth"
)

// Without a leader a caller hears so within five seconds: it waits for one this
// long, and the other nodes are asked for their state in what is left.
const (
	leaderWait  = 2500 * time.Millisecond
	surveyWait  = 800 * time.Millisecond
	callTimeout = 4800 * time.Millisecond
	leaderPoll  = 25 * time.Millisecond
	onTheWay    = 100 * time.Millisecond // that an answer may take to the caller
)

// Peers is the connections to the other members.
type Peers interface {
	Conn(member string) (*grpc.ClientConn, error)
	Members() []raftnode.Member
}

// Forwarder passes calls on to the leader.
type Forwarder struct {
	Name   string // this node's
	Leads  func() bool
	Leader func() (raftnode.Peer, bool)
	// WhileLed binds a context to a leader: see raftnode.Node.
	WhileLed func(ctx context.Context, leader raftnode.NodeID) (context.Context, context.CancelFunc)
	Peers    Peers
	Guard    *auth.Guard
	Survey   *Survey

	// Stopping is closed when this node stops: nobody waits for a leader any more.
	Stopping <-chan struct{}
}

// Unary is the interceptor of unary calls. Here or on the leader, a call takes
// at most callTimeout.
func (f *Forwarder) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	m := methods[info.FullMethod]
	if m.stays(req) {
		return f.here(ctx, req, info, next)
	}
	ctx, cancel := context.WithDeadline(ctx, answerBy(ctx))
	defer cancel()
	giveUp := giveUpAt(ctx)
	for {
		reply, err := f.try(ctx, m, req, info, next)
		if err == nil || !mayRepeat(err) || auth.Forwarded(ctx) {
			return reply, err
		}
		if err := f.pause(ctx, giveUp); err != nil {
			return nil, err
		}
	}
}

// try makes one attempt, here or at the leader.
func (f *Forwarder) try(ctx context.Context, m *method, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if f.Leads() {
		return f.here(ctx, req, info, next)
	}
	way, err := f.toLeader(ctx)
	if err != nil {
		return nil, err
	}
	var reached peer.Peer
	reply := m.newOut()
	err = way.conn.Invoke(f.outgoing(ctx), info.FullMethod, req, reply, grpc.Peer(&reached))
	if err != nil {
		return nil, fromLeader(err, m.read || reached.Addr == nil)
	}
	return reply, nil
}

func (f *Forwarder) here(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if auth.From(ctx).Kind == auth.Unverified {
		var err error
		if ctx, err = f.Guard.Confirm(ctx, info.FullMethod); err != nil {
			return nil, err
		}
	}
	return next(ctx, req)
}

// way is the way to a leader; the zero one needs no connection, as this node
// leads.
type way struct {
	leader raftnode.NodeID
	conn   *grpc.ClientConn
}

func (w way) here() bool { return w.conn == nil }

// toLeader returns the way to the leader. What another node has passed on is not
// passed on again: two nodes that disagree on who leads would go on for ever.
func (f *Forwarder) toLeader(ctx context.Context) (way, error) {
	if auth.Forwarded(ctx) {
		return way{}, fmt.Errorf("node %s was asked as the leader: %w", f.Name, raftnode.ErrNotLeader)
	}
	leader, ok := f.Leader()
	if !ok || leader.Name == f.Name { // elected, but not in office yet
		return way{}, raftnode.ErrNotLeader
	}
	return f.wayTo(leader)
}

func (f *Forwarder) wayTo(leader raftnode.Peer) (way, error) {
	conn, err := f.Peers.Conn(leader.Address)
	if err != nil {
		return way{}, fmt.Errorf("%w: %w", raftnode.ErrNotLeader, err)
	}
	return way{leader.ID, conn}, nil
}

// outgoing carries the caller's token and address to the leader.
func (f *Forwarder) outgoing(ctx context.Context) context.Context {
	pairs := []string{reason.MetaForwardedFor, auth.From(ctx).Remote}
	for _, v := range metadata.ValueFromIncomingContext(ctx, reason.MetaAuthorization) {
		pairs = append(pairs, reason.MetaAuthorization, v)
	}
	return metadata.NewOutgoingContext(ctx, metadata.Pairs(pairs...))
}

// fromLeader says what a failed call to the leader means: a status of the
// leader's own stays as it is, a broken connection has changed nothing when the
// call was harmless or was never sent.
func fromLeader(err error, harmless bool) error {
	s := status.Convert(err)
	if reasonFor(err) != "" || s.Code() != codes.Unavailable && s.Code() != codes.DeadlineExceeded {
		return err
	}
	if harmless {
		return fmt.Errorf("%w: the connection to the leader failed: %s", raftnode.ErrNotLeader, s.Message())
	}
	return fmt.Errorf("%w: the connection to the leader failed: %s", raftnode.ErrUnknownOutcome, s.Message())
}

// Stream is the interceptor of streams.
func (f *Forwarder) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	m := methods[info.FullMethod]
	if m.local {
		return next(srv, ss)
	}
	to, err := f.awaitLeader(ss.Context())
	if err != nil {
		return err
	}
	if to.here() {
		return f.streamHere(srv, ss, info, next)
	}
	return f.pass(ss, to, f.outgoing(ss.Context()), info.FullMethod, m)
}

// awaitLeader returns the way to the leader, which may be this node. It waits for
// one to be elected, but not for long.
func (f *Forwarder) awaitLeader(ctx context.Context) (way, error) {
	giveUp := giveUpAt(ctx)
	for {
		if f.Leads() {
			return way{}, nil
		}
		to, err := f.toLeader(ctx)
		if err == nil || auth.Forwarded(ctx) {
			return to, err
		}
		if err := f.pause(ctx, giveUp); err != nil {
			return way{}, err
		}
	}
}

func (f *Forwarder) streamHere(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	if auth.From(ss.Context()).Kind != auth.Unverified {
		return next(srv, ss)
	}
	ctx, err := f.Guard.Confirm(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	return next(srv, inContext{ss, ctx})
}

// inContext is a stream with another context.
type inContext struct {
	grpc.ServerStream
	ctx context.Context
}

func (s inContext) Context() context.Context { return s.ctx }

// pass connects a stream to the same method of the leader until either side ends
// it, or this node knows another leader.
func (f *Forwarder) pass(ss grpc.ServerStream, to way, out context.Context, name string, m *method, first ...proto.Message) error {
	out, cancel := f.WhileLed(out, to.leader)
	defer cancel()
	up, err := to.conn.NewStream(out, &m.desc, name)
	if err != nil {
		return fromLeader(err, true)
	}
	ended := make(chan error, 1)
	go func() {
		err := passDown(ss, up, m)
		if cause := context.Cause(out); errors.Is(cause, raftnode.ErrNotLeader) {
			err = fromLeader(status.Error(codes.Unavailable, cause.Error()), !m.desc.ClientStreams)
		}
		ended <- err
		auth.End(ss.Context(), err) // wakes the receiver below
	}()
	if err := passUp(ss, up, m, first); err != nil {
		cancel()
	}
	return <-ended
}

// passUp carries the caller's messages until it closes its side.
func passUp(ss grpc.ServerStream, up grpc.ClientStream, m *method, first []proto.Message) error {
	for _, msg := range first {
		if err := up.SendMsg(msg); err != nil {
			return nil // passDown hears why
		}
	}
	for {
		msg := m.newIn()
		if err := ss.RecvMsg(msg); err == io.EOF {
			return up.CloseSend()
		} else if err != nil {
			return err
		}
		if err := up.SendMsg(msg); err != nil {
			return nil
		}
	}
}

// passDown carries the other node's messages until it ends the stream.
func passDown(ss grpc.ServerStream, up grpc.ClientStream, m *method) error {
	if _, err := up.Header(); err == nil { // that a stream has begun is an answer too
		if err := ss.SendHeader(metadata.MD{}); err != nil {
			return err
		}
	}
	for {
		msg := m.newOut()
		if err := up.RecvMsg(msg); err == io.EOF {
			return nil
		} else if err != nil {
			return fromLeader(err, !m.desc.ClientStreams)
		}
		if err := ss.SendMsg(msg); err != nil {
			return err
		}
	}
}

// answerBy is when a unary call must be answered: a little before its caller
// stops listening, if that comes first.
func answerBy(ctx context.Context) time.Time {
	by := time.Now().Add(callTimeout)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-onTheWay).Before(by) {
		return deadline.Add(-onTheWay)
	}
	return by
}

// giveUpAt is until when a leader is waited for, so that there is time left to
// say why there is none.
func giveUpAt(ctx context.Context) time.Time {
	at := time.Now().Add(leaderWait)
	if deadline, ok := ctx.Deadline(); ok && deadline.Add(-surveyWait-onTheWay).Before(at) {
		return deadline.Add(-surveyWait - onTheWay)
	}
	return at
}

// pause waits a moment for a leader; an error says that it is no use.
func (f *Forwarder) pause(ctx context.Context, giveUp time.Time) error {
	if time.Now().After(giveUp) {
		return f.Survey.NoLeader()
	}
	timer := time.NewTimer(leaderPoll)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-f.Stopping:
		return fmt.Errorf("node %s is stopping, ask another: %w", f.Name, raftnode.ErrClosed)
	case <-ctx.Done():
		return f.Survey.NoLeader()
	}
}
