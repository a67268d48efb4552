package session

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/metadata"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// Config says who the worker is.
type Config struct {
	Capability  capability.Capability
	Pool        string
	Name        string
	InstanceKey []byte // the secret to which the cluster binds (pool, name)
	Slots       uint32
	Labels      []*pb.Label
	Kinds       []string // of the jobs that it runs; see package jobkind
	Keys        []string // ids of the pool's keys that it holds
	Version     string
	Level       uint32   // the feature level of this binary
	Addresses   []string // learnt in earlier sessions, beside the capability's
	ClusterID   string   // "" until the first welcome

	// Page returns a page of metrics by its name, gzipped; nil: there are none.
	Page func(ctx context.Context, name string) ([]byte, error)

	// Update is called, and must not block, when the cluster wants this process to
	// update itself; nil: it cannot.
	Update      func()
	UpdateError string // at what an update before this process failed
}

// Session keeps one worker in touch with the cluster.
type Session struct {
	cfg     Config
	host    Host
	log     hclog.Logger
	metrics *metrics
	boot    string // differs for each start of the process
	out     *outbox
	links   links
	pass    *pass
	timing  timing
	renewed renewals

	// Of Run's goroutine alone.
	route   *route
	pacing  pacing
	hope    hope
	turned  int // refusals in a row that only time can lift
	news    pacer
	conns   map[string]*conn
	cluster string
}

// New makes a session; Run holds it.
func New(cfg Config, host Host, log hclog.Logger, reg prometheus.Registerer) *Session {
	return &Session{
		cfg:     cfg,
		host:    host,
		log:     log,
		metrics: newMetrics(reg),
		boot:    rand.Text(),
		out:     newOutbox(),
		timing:  defaultTiming,
		pass:    newPass(cfg.Capability, cfg.Keys),
		links:   links{changed: make(chan struct{})},
		route:   newRoute(cfg.Capability.Addrs(), cfg.Addresses),
		conns:   map[string]*conn{},
		cluster: cfg.ClusterID,
	}
}

// Finished reports results, which the host has stored, without blocking. They
// are sent again with every new session until they are acknowledged.
func (s *Session) Finished(results ...*pb.FinishedAttempt) {
	s.out.put(func() { s.out.finished = append(s.out.finished, results...) })
}

// Started reports leases whose process runs.
func (s *Session) Started(leases ...uint64) {
	s.out.put(func() { s.out.started = append(s.out.started, leases...) })
}

// StatusChanged makes the session ask the host for its status and send it.
func (s *Session) StatusChanged() {
	s.out.put(func() { s.out.status = true })
}

// Run holds a session with the cluster until ctx ends, and then returns nil. A
// *RefusedError says that the cluster will never let this worker in.
func (s *Session) Run(ctx context.Context) error {
	defer s.closeAll()
	s.pacing = pacing{started: time.Now()}
	first := true
	for {
		st := s.route.next(time.Now())
		if !first && !st.now {
			if !sleep(ctx, s.pause()) {
				return nil
			}
		}
		first = false
		err := s.visit(ctx, st)
		if ctx.Err() != nil {
			return nil
		}
		if err := s.settle(ctx, st, err); err != nil {
			return err
		}
	}
}

func (s *Session) pause() time.Duration { return s.pacing.pause(time.Now()) }

// settle draws the conclusions from how a visit ended. It returns an error when
// there is no point in another.
func (s *Session) settle(ctx context.Context, st step, err error) error {
	now := time.Now()
	var elsewhere *redirected
	var unreached *dialError
	var ended *endedError
	var refused *RefusedError
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.As(err, &ended) && client.Reason(ended.err) == reason.Unauthenticated:
		// A node that had let the worker in has seen its capability revoked: the
		// leases are over too, so that no other answer is worth waiting for.
		return &RefusedError{Reason: reason.Unauthenticated, Err: errors.New(text(ended.err))}
	case errors.As(err, &ended):
		s.ended(st, ended, now)
	case errors.As(err, &elsewhere):
		if elsewhere.leader == "" { // without a leader nobody knows for sure
			s.hope.renew()
		}
		s.follow(st, elsewhere, now)
	case errors.As(err, &unreached):
		s.tell(now, "node out of reach", "node", st.addr, "error", text(err))
		s.forget(st.addr)
		s.route.failed(st, unreached.timedOut, now)
	default:
		return s.refusal(ctx, st, err, now)
	}
	return nil
}

// ended is called when a session that had begun is over.
func (s *Session) ended(st step, e *endedError, now time.Time) {
	s.hope.renew()
	s.pacing = pacing{started: now, cap: s.pacing.cap}
	s.news = pacer{}
	s.metrics.lost.WithLabelValues(e.why()).Inc()
	var elsewhere *redirected
	switch {
	case errors.As(e, &elsewhere):
		s.route.lost(st, false, now)
		s.follow(st, elsewhere, now)
	case errors.Is(e, errRenewed):
		s.log.Info("connecting anew, with the capability as it is now")
		s.route.learn(s.pass.card().Addrs())
		s.forget(st.addr) // other authorities may be trusted now
		if !st.relay {
			s.route.direct(st.addr)
		}
	case errors.Is(e, errDirect):
		s.log.Info("the leader can be reached directly again", "leader", st.leader)
		s.route.direct(st.leader)
	default:
		s.log.Warn("lost session: running jobs go on, looking for the leader", "node", st.addr, "error", text(e.err))
		s.forget(st.addr)
		s.route.lost(st, errors.Is(e, errSilent), now)
	}
}

// follow goes where a node pointed.
func (s *Session) follow(st step, to *redirected, now time.Time) {
	s.metrics.redirects.Inc()
	if s.news.fresh("redirect "+st.addr+to.leader+to.why, now) {
		s.log.Info("redirected", "by", st.addr, "leader", to.leader, "why", to.why)
	}
	s.route.learn(to.addresses)
	s.route.redirected(st, to.leader, now)
}

// refusal is an answer that is neither a welcome nor a redirect.
func (s *Session) refusal(ctx context.Context, st step, err error, now time.Time) error {
	v := judge(err)
	if v != hopeless {
		s.hope.renew()
	}
	switch v {
	case hopeless:
		s.tell(now, "refused", "node", st.addr, "error", text(err))
		if s.hope.lost(now) {
			return &RefusedError{Reason: reasonOf(err), Err: errors.New(text(err))}
		}
		s.route.advance()
		sleep(ctx, jitter(hopelessPause))
	case lasting:
		s.turned++
		s.tell(now, "not let in, trying again", "node", st.addr, "error", text(err))
		s.route.advance()
		sleep(ctx, pauseRefused(s.turned))
	default:
		s.tell(now, "no session", "node", st.addr, "relay", st.relay, "error", text(err))
		if client.Reason(err) != "" { // the node lives, and has no leader to offer
			s.route.advance()
			break
		}
		s.forget(st.addr)
		s.route.failed(st, errors.Is(err, errNoAnswer), now)
	}
	return nil
}

// tell warns, but not again and again of the same.
func (s *Session) tell(now time.Time, what string, args ...any) {
	if s.news.fresh(fmt.Sprintln(what, args), now) {
		s.log.Warn(what, args...)
	}
}

// connect returns a channel to the step's node: of an earlier try, or a new one.
func (s *Session) connect(ctx context.Context, st step) (*conn, error) {
	if c, ok := s.conns[st.addr]; ok {
		return c, nil
	}
	c, err := s.dial(ctx, st.addr, st.patience)
	if err == nil {
		s.conns[st.addr] = c
	}
	return c, err
}

func (s *Session) dial(ctx context.Context, addr string, patience time.Duration) (*conn, error) {
	return dial(ctx, addr, s.pass.card().Pins(), "weir-worker/"+s.cfg.Version, patience)
}

// forget closes the connection to addr.
func (s *Session) forget(addr string) {
	if c, ok := s.conns[addr]; ok {
		delete(s.conns, addr)
		c.Close()
	}
}

// keepOnly closes the connections that the search for the leader has left.
func (s *Session) keepOnly(addr string) {
	for other := range s.conns {
		if other != addr {
			s.forget(other)
		}
	}
}

func (s *Session) closeAll() { s.keepOnly("") }

// outgoing adds what every call to a node carries.
func outgoing(ctx context.Context, c capability.Capability, cluster string) context.Context {
	md := metadata.Pairs(reason.MetaAuthorization, "Bearer "+c.Token().Reveal())
	if cluster != "" {
		md.Set(reason.MetaClusterID, cluster)
	}
	return metadata.NewOutgoingContext(ctx, md)
}

func (s *Session) hello(st step, keys []string) *pb.WorkerMessage {
	return &pb.WorkerMessage{Hello: &pb.WorkerHello{
		Pool:         s.cfg.Pool,
		Name:         s.cfg.Name,
		InstanceKey:  s.cfg.InstanceKey,
		Slots:        s.cfg.Slots,
		Labels:       s.cfg.Labels,
		Kinds:        s.cfg.Kinds,
		Keys:         keys,
		Version:      s.cfg.Version,
		FeatureLevel: s.cfg.Level,
		Relay:        st.relay,
		BootId:       s.boot,
		HighestLease: s.host.HighestLease(),
		Status:       s.host.Status(),
		Running:      s.host.Running(),
		Updates:      s.cfg.Update != nil,
		UpdateError:  s.cfg.UpdateError,
	}}
}

// sleep waits and reports whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
