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

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/auth"
	"github.com/weirbuild/weir/scheduler/state"
)

const (
	// eventsEvery is how often a reader of events hears how far the log is, and at
	// most after which a node without a leader sends its readers elsewhere.
	eventsEvery = 5 * time.Second
	eventsBatch = 500
)

// eventNames are the kinds of event that are shown, and how they are called. What
// becomes of logs, and of jobs that nobody remembers, is not of interest.
var eventNames = map[fsm.EventKind]string{
	fsm.JobQueued: "job-queued", fsm.JobBackoff: "job-backoff", fsm.LeaseGranted: "job-started",
	fsm.CancelRequested: "job-cancelling", fsm.AttemptEnded: "attempt-ended", fsm.JobSettled: "job-ended",
	fsm.WorkerConnected: "worker-connected", fsm.WorkerDisconnected: "worker-disconnected", fsm.WorkerPaused: "worker-paused",
	fsm.WorkerRegistered: "worker-registered", fsm.WorkerForgotten: "worker-forgotten",
	fsm.PoolChanged: "pool-changed", fsm.PoolDeleted: "pool-deleted", fsm.LeaderChanged: "leader-changed",
	fsm.ClientChanged: "client-changed", fsm.CapabilityCreated: "capability-created", fsm.CapabilityRevoked: "capability-revoked",
}

// WatchEvents sends what this node applies, in the order of the log. The same
// events have the same places on every node, so that a reader goes on at another
// one. A reader that is slower than what happens is told so, and holds nothing up.
func (s *Server) WatchEvents(req *pb.WatchEventsRequest, stream grpc.ServerStreamingServer[pb.Events]) error {
	r, err := s.eventReader(stream.Context(), req)
	if err != nil {
		return err
	}
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	ticker := time.NewTicker(eventsEvery)
	defer ticker.Stop()
	late := true // say at once where this begins
	for {
		found, next, wait, err := s.Store.Events(r.at, eventsBatch)
		if err != nil {
			return goneRefusal(err)
		}
		r.at = next
		batch := &pb.Events{From: next.Index, Skip: next.Skip}
		for i := range found {
			if r.wants(&found[i]) {
				batch.Events = append(batch.Events, eventPB(&found[i]))
			}
		}
		if len(batch.Events) > 0 || late {
			late = false
			if err := stream.Send(batch); err != nil {
				return err
			}
		}
		if wait == nil {
			continue
		}
		select {
		case <-wait:
		case <-ticker.C:
			if _, ok := s.Forwarder.Leader(); !ok {
				return fmt.Errorf("node %s hears no leader, so it hears of nothing: %w", s.Name, raftnode.ErrNotLeader)
			}
			late = true
		case <-stream.Context().Done():
			return context.Cause(stream.Context())
		}
	}
}

// eventReader is what one WatchEvents reads, and from where.
type eventReader struct {
	id    auth.Identity
	at    state.Position
	pool  string
	kinds []string
}

func (s *Server) eventReader(ctx context.Context, req *pb.WatchEventsRequest) (*eventReader, error) {
	if auth.From(ctx).Kind == auth.Unverified {
		if !s.Forwarder.Leads() {
			return nil, fmt.Errorf("node %s does not know the capability yet: %w", s.Name, raftnode.ErrNotLeader)
		}
		var err error
		if ctx, err = s.Guard.Confirm(ctx, pb.JobService_WatchEvents_FullMethodName); err != nil {
			return nil, err
		}
	}
	r := &eventReader{id: auth.From(ctx), pool: req.Pool, kinds: req.Kinds, at: state.Position{Index: req.From, Skip: req.Skip}}
	if r.pool != "" {
		if err := r.id.MayUsePool(r.pool); err != nil {
			return nil, err
		}
	}
	for _, kind := range r.kinds {
		if !slices.Contains(EventKinds(), kind) {
			return nil, invalid("there are no events %s: there are %s", quote(kind), strings.Join(EventKinds(), ", "))
		}
	}
	end := s.Store.End()
	switch {
	case req.From == 0:
		r.at = end
	case req.From > end.Index && s.Forwarder.Leads(): // others may only be behind
		return nil, goneRefusal(&state.AheadError{Asked: req.From, Next: end.Index})
	}
	return r, nil
}

// EventKinds are the names of the kinds of event, sorted.
func EventKinds() []string {
	var names []string
	for _, name := range eventNames {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func goneRefusal(err error) error {
	var gone *state.GoneError
	if errors.As(err, &gone) {
		return &fsm.Refusal{Kind: fsm.Expired, Message: err.Error()}
	}
	return &fsm.Refusal{Kind: fsm.Invalid, Message: err.Error()}
}

func (r *eventReader) wants(e *state.Past) bool {
	name, ok := eventNames[e.Kind]
	if !ok || r.pool != "" && e.Pool != r.pool || len(r.kinds) > 0 && !slices.Contains(r.kinds, name) {
		return false
	}
	return r.maySee(e)
}

func (r *eventReader) maySee(e *state.Past) bool {
	switch e.Kind {
	case fsm.LeaderChanged:
		return true
	case fsm.PoolChanged, fsm.PoolDeleted:
		return r.id.InPool(e.Pool)
	case fsm.CapabilityCreated, fsm.CapabilityRevoked:
		return r.id.Kind == auth.Admin
	case fsm.ClientChanged:
		return r.id.Kind != auth.Submit && len(r.id.Pools) == 0
	}
	if e.Job != 0 {
		return r.id.SeesJob(e.Client, e.Pool)
	}
	return r.id.Kind != auth.Submit && r.id.InPool(e.Pool)
}

func eventPB(e *state.Past) *pb.Event {
	m := &pb.Event{
		Index: e.Index, Position: e.Position, AtMs: e.At, Kind: eventNames[e.Kind], Job: uint64(e.Job), Client: e.Client,
		Pool: e.Pool, Worker: e.Worker, Attempt: uint32(e.Attempt), Outcome: e.Outcome, Message: e.Message,
	}
	switch e.Kind {
	case fsm.LeaderChanged:
		m.Node, m.Message = e.Message, ""
	case fsm.CapabilityCreated, fsm.CapabilityRevoked:
		m.Message = e.Capability
	}
	return m
}
