package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/logstore"
)

const (
	askTimeout  = time.Second     // for a peer's LogStatus; it answers from memory
	pullStall   = 3 * time.Second // without a byte
	pullsAtOnce = 8
)

// statuses are what each node that answered has of some logs, in their order.
type statuses map[raftnode.NodeID][]*pb.LogReplicaAck

// ask asks nodes what they have of logs, all at once. A node that does not
// answer is missing from the result.
func (s *Service) ask(ctx context.Context, nodes []raftnode.NodeID, keys []logstore.Key) statuses {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	req := &pb.LogStatusRequest{Logs: make([]*pb.LogKey, len(keys))}
	for i, k := range keys {
		req.Logs[i] = &pb.LogKey{Job: k.Job, Attempt: k.Attempt}
	}
	replies := make([]*pb.LogStatusReply, len(nodes))
	var g errgroup.Group
	for i, id := range nodes {
		g.Go(func() error {
			peer, err := s.node(id)
			if err != nil {
				return err
			}
			replies[i], err = peer.LogStatus(ctx, req)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		s.Logger.Debug("a peer does not say what it has of logs", "logs", len(keys), "error", err)
	}
	found := make(statuses)
	for i, r := range replies {
		if r != nil && len(r.Logs) == len(keys) {
			found[nodes[i]] = r.Logs
		}
	}
	return found
}

// placeLoop finds out, for logs from before this term, whether another node has
// more of them than this one, and fetches that. Only then the worker is asked.
func (t *term) placeLoop(ctx context.Context) error {
	var pulls errgroup.Group
	pulls.SetLimit(pullsAtOnce)
	defer pulls.Wait()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-t.wakePlace:
		}
		t.mu.Lock()
		batch := t.unplaced
		t.unplaced = nil
		t.mu.Unlock()
		for flows := range slices.Chunk(batch, 1000) {
			keys := make([]logstore.Key, len(flows))
			for i, f := range flows {
				keys[i] = f.key
			}
			others, _ := t.others()
			found := t.ask(ctx, others, keys)
			for i, f := range flows {
				from, more := t.better(f, i, found)
				if !more {
					t.place(f)
					continue
				}
				pulls.Go(func() error {
					t.pull(ctx, f, from)
					return nil
				})
			}
		}
	}
}

// better names the nodes that have more of the log than this one, the one with
// the most first, and notes where its peers are with it.
func (t *term) better(f *flow, i int, found statuses) (from []raftnode.NodeID, more bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, logs := range found {
		if logs[i].Stored > f.end && logs[i].Error == "" {
			from = append(from, id)
		}
	}
	slices.SortFunc(from, func(a, b raftnode.NodeID) int {
		return int(min(1, max(-1, found[b][i].Stored-found[a][i].Stored)))
	})
	return from, len(from) > 0
}

// pull fetches what other nodes have of a log beyond this one's end.
func (t *term) pull(ctx context.Context, f *flow, from []raftnode.NodeID) {
	for _, id := range from {
		start := t.stat(f.key).Size
		end, err := t.fetch(ctx, f.key, id)
		t.metrics.pulled.Add(float64(end - start))
		t.mu.Lock()
		f.end = max(f.end, end)
		t.feed(f)
		t.mu.Unlock()
		if err == nil {
			t.Logger.Debug("log fetched from a peer", "job", f.key.Job, "attempt", f.key.Attempt, "peer", t.nodeName(id), "from", start, "to", end)
			break
		}
		t.Logger.Warn("log not fetched from a peer", "job", f.key.Job, "attempt", f.key.Attempt, "peer", t.nodeName(id), "error", err)
	}
	t.place(f)
}

// fetch copies what a node stores of a log, beyond the end here, into this
// node's store, and returns the new end.
func (s *Service) fetch(ctx context.Context, k logstore.Key, from raftnode.NodeID) (end int64, err error) {
	end = s.stat(k).Size
	conn, err := s.Peers.Conn(string(from))
	if err != nil {
		return end, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(pullStall, func() { cancel(fmt.Errorf("no bytes for %v", pullStall)) })
	defer stall.Stop()
	stream, err := pb.NewJobServiceClient(conn).ReadLog(ctx, &pb.ReadLogRequest{
		Job: k.Job, Attempt: k.Attempt, Offset: end, Local: true, Packed: true,
	})
	for err == nil {
		var d *pb.LogData
		if d, err = stream.Recv(); err == nil {
			stall.Reset(pullStall)
			end, err = s.appendPacked(k, d)
		}
	}
	if errors.Is(err, io.EOF) {
		return end, nil
	}
	return end, fmt.Errorf("fetch the %s from node %s: %w", logName(k), s.nodeName(from), err)
}

// appendPacked stores what another node sent of a log.
func (s *Service) appendPacked(k logstore.Key, d *pb.LogData) (end int64, err error) {
	var bench logpack.Bench
	defer bench.Clear()
	data, err := unpack(&bench, d.Data, d.Packed)
	if err != nil {
		return s.stat(k).Size, err
	}
	return s.appendCopy(k, d.Offset, data)
}

// place tells the worker from where to send: no other node has more.
func (t *term) place(f *flow) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(f.placed)
	if f.ship != nil && f.stage != closed {
		f.ship.ack(&pb.LogAck{Lease: f.lease, Want: f.end})
	}
}
