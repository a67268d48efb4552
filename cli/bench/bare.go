package bench

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
)

// bare serves clients and workers with nothing behind the streams: it knows no
// capability, keeps no job, plans nothing, and passes the bytes of logs on to
// another node without storing them. A job costs what its three commands cost to
// commit, and what its messages cost to send: the same ones, over the same
// streams, from the same clients and workers as in the real run.
type bare struct {
	pb.UnimplementedJobServiceServer
	pb.UnimplementedWorkerServiceServer
	*rawServer
	logs *bareLogs

	mu       sync.Mutex
	jobs     uint64 // the number of a job is that of its lease
	turn     int
	sessions []*bareSession
	watchers []*mail[*pb.FinishedAttempt]
}

// bareSession is what a worker is to be told.
type bareSession struct {
	holder *pb.Holder
	*mail[told]
}

// told is one of these.
type told struct {
	grant *pb.Grant
	ack   *pb.FinishAck
	beat  *pb.HeartbeatAck
}

// commit proposes a command, stamped as a leader does. A command that fails ends
// the measurement: done is not called.
func (b *bare) commit(c *pb.Command, fail func(error), done func()) {
	c.IssuedAtMs = time.Now().UnixMilli()
	data, err := proto.Marshal(c)
	if err != nil {
		fail(err)
		return
	}
	b.propose(data, func(_ any, err error) {
		if err != nil {
			fail(err)
			return
		}
		done()
	})
}

// SubmitStream implements pb.JobServiceServer.
func (b *bare) SubmitStream(stream pb.JobService_SubmitStreamServer) error {
	replies := newMail[*pb.SubmitReply]()
	return serve(stream.Context(), func(ctx context.Context) error {
		for {
			ready, err := replies.take(ctx)
			if err != nil {
				return err
			}
			for _, r := range ready {
				if err := stream.Send(r); err != nil {
					return err
				}
			}
		}
	}, func(fail func(error)) error {
		req, err := stream.Recv()
		if err != nil {
			return err
		}
		return b.submit(req, replies, fail)
	})
}

func (b *bare) submit(req *pb.SubmitRequest, replies *mail[*pb.SubmitReply], fail func(error)) error {
	spec, err := proto.Marshal(req.Spec)
	if err != nil {
		return err
	}
	job, to := b.nextJob()
	if to == nil {
		return errors.New("no worker is connected")
	}
	digest := sha256.Sum256(spec)
	c := &pb.Command{Op: &pb.Command_SubmitJob{SubmitJob: &pb.SubmitJob{
		Client: "load", Pool: req.Pool, Key: req.Key, Spec: spec, SpecSha256: digest[:], Slots: 1, GrantTo: to.holder.Worker,
	}}}
	b.commit(c, fail, func() {
		replies.add(&pb.SubmitReply{Seq: req.Seq, Job: job, Lease: job, Worker: to.holder.Worker})
		to.add(told{grant: &pb.Grant{Lease: job, Job: job, Attempt: 1, Spec: spec, Pool: req.Pool, TimeLimitMs: req.Spec.TimeLimitMs, LogLimitBytes: 256 << 20}})
	})
	return nil
}

// nextJob numbers a job and gives the workers turns.
func (b *bare) nextJob() (uint64, *bareSession) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.sessions) == 0 {
		return 0, nil
	}
	b.jobs++
	b.turn = (b.turn + 1) % len(b.sessions)
	return b.jobs, b.sessions[b.turn]
}

// WatchSettled implements pb.JobServiceServer.
func (b *bare) WatchSettled(_ *pb.WatchSettledRequest, stream pb.JobService_WatchSettledServer) error {
	w := newMail[*pb.FinishedAttempt]()
	b.mu.Lock()
	b.watchers = append(b.watchers, w)
	b.mu.Unlock()
	if err := stream.SendHeader(metadata.MD{}); err != nil {
		return err
	}
	for {
		ended, err := w.take(stream.Context())
		if err != nil {
			return err
		}
		settled := &pb.SettledJobs{Jobs: make([]uint64, len(ended)), Outcomes: make([]pb.OutcomeKind, len(ended))}
		for i, f := range ended {
			settled.Jobs[i], settled.Outcomes[i] = f.Lease, f.Outcome.GetKind()
		}
		if err := stream.Send(settled); err != nil {
			return err
		}
	}
}

// Session implements pb.WorkerServiceServer.
func (b *bare) Session(stream pb.WorkerService_SessionServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	hello := first.GetHello()
	if err := stream.Send(&pb.NodeMessage{Welcome: &pb.Welcome{
		Session: "1", Leader: b.node.Name(), LeaseTtlMs: 15_000, HeartbeatMs: 3000, ClusterId: string(b.node.ClusterID()),
	}}); err != nil {
		return err
	}
	s := &bareSession{holder: holderOf(hello.GetPool(), hello.GetName(), hello.GetInstanceKey()), mail: newMail[told]()}
	b.mu.Lock()
	b.sessions = append(b.sessions, s)
	b.mu.Unlock()
	b.workers.Add(1)
	return serve(stream.Context(), func(ctx context.Context) error {
		for {
			all, err := s.take(ctx)
			if err != nil {
				return err
			}
			if err := stream.Send(messageOf(all)); err != nil {
				return err
			}
		}
	}, func(fail func(error)) error {
		m, err := stream.Recv()
		if err != nil {
			return err
		}
		if m.Heartbeat != nil {
			s.add(told{beat: &pb.HeartbeatAck{Seq: m.Heartbeat.Seq}})
		}
		for _, f := range m.Finished {
			b.finish(s, f, fail)
		}
		return nil
	})
}

func holderOf(pool, name string, key []byte) *pb.Holder {
	sum := sha256.Sum256(key)
	return &pb.Holder{Pool: pool, Worker: name, KeySha256: sum[:]}
}

func messageOf(all []told) *pb.NodeMessage {
	m := &pb.NodeMessage{}
	for _, t := range all {
		switch {
		case t.grant != nil:
			m.Grants = append(m.Grants, t.grant)
		case t.ack != nil:
			m.FinishAcks = append(m.FinishAcks, t.ack)
		default:
			m.HeartbeatAck = t.beat
		}
	}
	return m
}

func (b *bare) finish(s *bareSession, f *pb.FinishedAttempt, fail func(error)) {
	c := &pb.Command{Op: &pb.Command_FinishAttempt{FinishAttempt: &pb.FinishAttempt{Lease: f.Lease, Holder: s.holder, Outcome: f.Outcome}}}
	b.commit(c, fail, func() {
		s.add(told{ack: &pb.FinishAck{Lease: f.Lease, Recorded: true, Outcome: f.Outcome}})
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, w := range b.watchers {
			w.add(f)
		}
	})
}

// ShipLogs implements pb.WorkerServiceServer.
func (b *bare) ShipLogs(stream pb.WorkerService_ShipLogsServer) error {
	first, err := stream.Recv()
	if err != nil {
		return err
	}
	holder := holderOf(first.GetHello().GetPool(), first.GetHello().GetName(), first.GetHello().GetInstanceKey())
	acks := newMail[*pb.LogAck]()
	return serve(stream.Context(), func(ctx context.Context) error {
		for {
			all, err := acks.take(ctx)
			if err != nil {
				return err
			}
			if err := stream.Send(&pb.LogDown{Acks: all}); err != nil {
				return err
			}
		}
	}, func(fail func(error)) error {
		up, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, o := range up.Offers {
			acks.add(&pb.LogAck{Lease: o.Lease})
		}
		for _, c := range up.Chunks {
			if c.End == nil {
				return errors.New("a log of more than one chunk")
			}
			if err := b.logs.copy(c, func() { b.seal(holder, c, acks, fail) }); err != nil {
				return err
			}
		}
		return nil
	})
}

// seal names two holders, as a cluster of three does.
func (b *bare) seal(holder *pb.Holder, c *pb.LogChunk, acks *mail[*pb.LogAck], fail func(error)) {
	self := string(b.node.ID())
	b.commit(&pb.Command{Op: &pb.Command_SealLog{SealLog: &pb.SealLog{
		Lease: c.Lease, Holder: holder, Bytes: c.End.Bytes, Sha256: c.End.Sha256, Holders: []string{self, self},
	}}}, fail, func() { acks.add(&pb.LogAck{Lease: c.Lease, Sealed: true}) })
}

// serve runs a stream's two directions until the caller ends it or one fails.
// The goroutine that receives ends with the handler, whose return ends the
// stream.
func serve(ctx context.Context, send func(context.Context) error, receive func(fail func(error)) error) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	go func() {
		for {
			if err := receive(fail); err != nil {
				fail(err)
				return
			}
		}
	}()
	if err := send(ctx); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
