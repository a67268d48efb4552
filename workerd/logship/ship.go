package logship

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/spool"
)

// The sizes of what is sent.
const (
	ChunkBytes   = logpack.MaxBytes // of one log, in one turn
	messageBytes = 1 << 20          // of all chunks in one message, about
	messageParts = 2048             // offers and chunks in one message
	WindowBytes  = 8 << 20          // sent and not yet stored by the leader, per stream
	logWindow    = WindowBytes / 2
)

const (
	redialMin = 50 * time.Millisecond
	redialMax = time.Second      // while no leader takes part
	fullMax   = 5 * time.Second  // while it takes part and stores nothing
	linger    = time.Millisecond // between two messages that are not full
)

// Stream is the worker's end of one ShipLogs call. It ends with the context that
// Dial was given.
type Stream interface {
	Send(*pb.LogUp) error
	Recv() (*pb.LogDown, error)
	CloseSend() error
}

// Config is what Run needs.
type Config struct {
	// Dial opens a stream to the leader and says whose it is. Its connection must
	// notice a dead peer by itself (keepalive): a stream may be silent for hours.
	Dial func(ctx context.Context) (Stream, *pb.LogHello, error)
	// Moved is closed when the way to the leader changes: a pause ends with it.
	// May be nil.
	Moved func() <-chan struct{}
	// Redirected hears where the node that answered sees the leader; Dial is
	// called again after it. May be nil.
	Redirected func(*pb.Redirect)
	Spool      *spool.Spool
	Logger     hclog.Logger
	Registerer prometheus.Registerer // may be nil
}

// errRedirected ends a stream to a node that does not lead.
var errRedirected = errors.New("redirected to the leader")

// Run ships until ctx ends and returns its cause. It is the only reader of the
// spool's changes. Broken streams are logged and made again.
func Run(ctx context.Context, cfg Config) error {
	m := newMetrics(cfg.Registerer)
	pause := redialMin
	for ctx.Err() == nil {
		moved := cfg.moved()
		how, err := once(ctx, cfg, m)
		if ctx.Err() != nil {
			break
		}
		most := redialMax
		switch how {
		case useful:
			pause = redialMin
		case useless:
			most = fullMax
		}
		pause = min(pause, most)
		m.reconnects.Inc()
		logs, bytes, _ := cfg.Spool.Usage()
		cfg.Logger.Debug("log stream ended", "error", err, "logs", logs, "bytes", bytes, "retry_in", pause)
		rest(ctx, pause/2+rand.N(pause/2), moved)
		pause = min(2*pause, most)
	}
	return context.Cause(ctx)
}

func (c *Config) moved() <-chan struct{} {
	if c.Moved == nil {
		return nil
	}
	return c.Moved()
}

// rest is a pause that the news of another leader cuts short.
func rest(ctx context.Context, d time.Duration, moved <-chan struct{}) {
	wait(ctx, min(d, redialMin/2))
	t := time.NewTimer(d - redialMin/2)
	defer t.Stop()
	select {
	case <-t.C:
	case <-moved:
	case <-ctx.Done():
	}
}

func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// life is what a stream was good for.
type life int

const (
	unanswered life = iota
	useless         // the leader took part, and stored nothing: its disk is full, say
	useful          // a log got further, or it was there for long
)

// once is the life of one stream.
func once(ctx context.Context, cfg Config, m *metrics) (how life, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stream, hello, err := cfg.Dial(ctx)
	if err != nil {
		return unanswered, fmt.Errorf("dial the leader: %w", err)
	}
	began := time.Now()
	s := newShipment(cfg, m)
	done := make(chan struct{})
	go func() {
		defer close(done)
		cancel(s.receive(stream))
	}()
	err = s.send(ctx, stream, hello)
	cancel(err)
	<-done
	if s.how != unanswered && time.Since(began) > fullMax {
		s.how = useful
	}
	return s.how, err
}

// send is the one writer of the stream.
func (s *shipment) send(ctx context.Context, stream Stream, hello *pb.LogHello) error {
	if err := stream.Send(&pb.LogUp{Hello: hello}); err != nil { // alone: it decides who reads the rest
		return s.why(ctx, fmt.Errorf("send log hello: %w", err))
	}
	s.begin()
	for {
		up, full := s.fill()
		if up != nil {
			if err := stream.Send(up); err != nil {
				return s.why(ctx, fmt.Errorf("send logs: %w", err))
			}
			if !full {
				wait(ctx, linger) // let the next message gather more than one log
			}
		} else if err := s.idle(ctx); err != nil {
			return errors.Join(err, stream.CloseSend())
		}
	}
}

// why prefers what the receiving side learnt: a broken stream's Send says EOF.
func (s *shipment) why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// idle waits for something to send.
func (s *shipment) idle(ctx context.Context) error {
	select {
	case <-s.spool.Changed():
		return nil
	case <-s.wake:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// receive takes the leader's answers until the stream ends.
func (s *shipment) receive(stream Stream) error {
	for {
		down, err := stream.Recv()
		if err != nil {
			return fmt.Errorf("receive log acks: %w", err)
		}
		if down.Redirect != nil {
			if s.redirected != nil {
				s.redirected(down.Redirect)
			}
			return fmt.Errorf("%w: %s %s", errRedirected, down.Redirect.Leader, down.Redirect.Why)
		}
		for _, lease := range s.take(down.Acks) {
			if err := s.spool.Drop(lease); err != nil {
				s.logger.Warn("spooled log not removed", "error", err)
			}
		}
	}
}
