package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"google.golang.org/grpc"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// receiver is the copies that the leader sends to this node over one stream.
type receiver struct {
	s      *Service
	gapped map[logstore.Key]bool // a gap was told and has not closed
	wake   chan struct{}
	bench  logpack.Bench // what receive unpacks

	mu      sync.Mutex
	answers []*pb.LogReplicaAck // that may go at once
	syncing []logstore.Key      // that wait for a sync
}

// ReplicateLogs stores what the leader sends. A complete log, or a piece that
// asks for it, is answered when it is on disk: all that wait share a sync. A
// piece that does not fit is answered once, with where to go on.
func (s *Service) ReplicateLogs(stream grpc.BidiStreamingServer[pb.LogReplicas, pb.LogReplicaAcks]) error {
	r := &receiver{s: s, gapped: make(map[logstore.Key]bool), wake: make(chan struct{}, 1)}
	ended := make(chan error, 1)
	go func() { ended <- r.receive(stream) }() // ends with the handler, whose return ends the stream
	return r.answer(stream, ended)
}

func (r *receiver) receive(stream grpc.BidiStreamingServer[pb.LogReplicas, pb.LogReplicaAcks]) error {
	for {
		msg, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := r.store(msg.Logs); err != nil {
			return err
		}
		poke(r.wake)
	}
}

// store takes pieces in their order, those between two drops with few writes.
// Its error means that this node's disk fails.
func (r *receiver) store(pieces []*pb.LogReplica) error {
	from := 0
	for i, p := range pieces {
		if !p.Drop {
			continue
		}
		if err := r.put(pieces[from:i]); err != nil {
			return err
		}
		r.drop(logstore.Key{Job: p.Job, Attempt: p.Attempt})
		from = i + 1
	}
	return r.put(pieces[from:])
}

func (r *receiver) drop(k logstore.Key) {
	if err := r.s.dropCopy(k); err != nil {
		r.tell(&pb.LogReplicaAck{Job: k.Job, Attempt: k.Attempt, Error: err.Error()})
	}
	delete(r.gapped, k)
}

func (r *receiver) put(pieces []*pb.LogReplica) error {
	parts := make([]logstore.Piece, len(pieces))
	defer r.bench.Clear()
	for i, p := range pieces {
		data, err := unpack(&r.bench, p.Data, p.Packed)
		if err != nil {
			return fmt.Errorf("copy of a log: job %d, attempt %d: %w", p.Job, p.Attempt, err)
		}
		parts[i] = logstore.Piece{Key: logstore.Key{Job: p.Job, Attempt: p.Attempt}, Offset: p.Offset, Data: data, Packed: p.Packed}
		if len(p.SealSha256) == len(logstore.Digest{}) {
			parts[i].End = &logstore.End{Bytes: p.SealBytes, Digest: logstore.Digest(p.SealSha256)}
		}
	}
	var synced []logstore.Key
	for i, w := range r.s.Disk.Put(parts) {
		if errors.Is(w.Err, logstore.ErrExpired) {
			w = r.s.putAgain(parts[i])
		}
		sync, err := r.took(parts[i], w)
		if err != nil {
			return err
		}
		if sync || w.Err == nil && pieces[i].Sync {
			synced = append(synced, parts[i].Key)
		}
	}
	r.afterSync(synced)
	return nil
}

// took says what became of a piece; sync: the leader waits for it to be on disk.
func (r *receiver) took(p logstore.Piece, w logstore.Written) (sync bool, err error) {
	k := p.Key
	switch {
	case errors.Is(w.Err, logstore.ErrGap):
		if !r.gapped[k] {
			r.gapped[k] = true
			r.tell(&pb.LogReplicaAck{Job: k.Job, Attempt: k.Attempt, Gap: true, Stored: w.End})
		}
		return false, nil
	case errors.Is(w.Err, logstore.ErrSealed), errors.Is(w.Err, logstore.ErrMismatch), missing(w.Err):
		r.tell(&pb.LogReplicaAck{Job: k.Job, Attempt: k.Attempt, Error: w.Err.Error()})
		return false, nil
	case w.Err != nil:
		r.s.took(w.Err)
		return false, fmt.Errorf("store the copy of the %s: %w", logName(k), w.Err)
	}
	r.s.took(nil)
	delete(r.gapped, k)
	r.s.metrics.copied.Add(float64(len(p.Data)))
	return p.End != nil, nil
}

// putAgain begins a log anew that was evicted before.
func (s *Service) putAgain(p logstore.Piece) logstore.Written {
	if err := s.Disk.Drop(p.Key); err != nil {
		return logstore.Written{Err: err}
	}
	return s.Disk.Put([]logstore.Piece{p})[0]
}

// appendCopy is Append; a log that was evicted before begins anew.
func (s *Service) appendCopy(k logstore.Key, offset int64, data []byte) (int64, error) {
	end, err := s.Disk.Append(k, offset, data)
	if errors.Is(err, logstore.ErrExpired) {
		if err := s.Disk.Drop(k); err != nil {
			return 0, err
		}
		end, err = s.Disk.Append(k, offset, data)
	}
	return end, err
}

// dropCopy forgets a copy that does not fit, but none that the cluster counts on.
func (s *Service) dropCopy(k logstore.Key) error {
	if _, log := s.sealedLog(k); log != nil && slices.Contains(log.Holders, string(s.Self)) && s.whole(k, log) {
		return fmt.Errorf("the %s is sealed, and this node holds it", logName(k))
	}
	return s.Disk.Drop(k)
}

// sealedLog is what the state says of a log: nil while it is not sealed.
func (s *Service) sealedLog(k logstore.Key) (*fsm.Attempt, *pb.LogInfo) {
	var a *fsm.Attempt
	s.Store.View(func(st *fsm.State) {
		if j, err := st.Job(fsm.JobID(k.Job)); err == nil {
			a, _ = j.Attempt(fsm.AttemptNo(k.Attempt))
		}
	})
	if a == nil {
		return nil, nil
	}
	return a, a.Log
}

func (r *receiver) tell(a *pb.LogReplicaAck) {
	r.mu.Lock()
	r.answers = append(r.answers, a)
	r.mu.Unlock()
}

func (r *receiver) afterSync(keys []logstore.Key) {
	r.mu.Lock()
	r.syncing = append(r.syncing, keys...)
	r.mu.Unlock()
}

// answer is the one sender of the stream.
func (r *receiver) answer(stream grpc.BidiStreamingServer[pb.LogReplicas, pb.LogReplicaAcks], ended <-chan error) error {
	for {
		select {
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		case <-r.wake:
		}
		r.mu.Lock()
		acks, keys := r.answers, r.syncing
		r.answers, r.syncing = nil, nil
		r.mu.Unlock()
		if len(keys) > 0 {
			if err := r.s.Disk.Sync(stream.Context()); err != nil {
				return fmt.Errorf("sync log copies: %w", err)
			}
		}
		for _, k := range keys {
			acks = append(acks, r.s.status(k))
		}
		if len(acks) == 0 {
			continue
		}
		if err := stream.Send(&pb.LogReplicaAcks{Logs: acks}); err != nil {
			return fmt.Errorf("answer log copies: %w", err)
		}
	}
}

// status is what this node has of a log.
func (s *Service) status(k logstore.Key) *pb.LogReplicaAck {
	info := s.stat(k)
	a := &pb.LogReplicaAck{
		Job: k.Job, Attempt: k.Attempt, Stored: info.Size, Durable: info.Durable,
		Sealed: info.Sealed && !info.Damaged, Expired: info.Expired,
	}
	if info.Damaged {
		a.Error = logstore.ErrDamaged.Error()
	}
	return a
}

// maxStatus is how many logs one LogStatus may ask for.
const maxStatus = 4096

// LogStatus says how much of some logs this node has.
func (s *Service) LogStatus(_ context.Context, req *pb.LogStatusRequest) (*pb.LogStatusReply, error) {
	if len(req.Logs) > maxStatus {
		return nil, &fsm.Refusal{Kind: fsm.Invalid, Message: fmt.Sprintf("%d logs in one question; at most %d", len(req.Logs), maxStatus)}
	}
	reply := &pb.LogStatusReply{Logs: make([]*pb.LogReplicaAck, len(req.Logs))}
	for i, k := range req.Logs {
		reply.Logs[i] = s.status(logstore.Key{Job: k.Job, Attempt: k.Attempt})
	}
	return reply, nil
}
