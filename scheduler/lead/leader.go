package lead

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/state"
)

// Config says how patient the leader is with workers. Zero values mean those of
// the raftnode profile default.
type Config struct {
	LeaseTTL     time.Duration // of pools that set none: 15 s
	Election     time.Duration // the election timeout, on top of the TTL after an election: 500 ms
	ReconnectMax time.Duration // longest pause of a worker that dials again: 1 s
}

// Timings returns the configuration that goes with a raftnode profile.
func Timings(p raftnode.Profile) Config {
	c := Config{Election: p.Election, ReconnectMax: time.Second}
	switch p.Name {
	case raftnode.Local.Name:
		c.LeaseTTL, c.ReconnectMax = 4*time.Second, 500*time.Millisecond // an election and a reconnect fit into it three times
	case raftnode.WAN.Name:
		c.LeaseTTL = 30 * time.Second
	default:
		c.LeaseTTL = 15 * time.Second
	}
	return c
}

func (c Config) withDefaults() Config {
	c.LeaseTTL = cmp.Or(c.LeaseTTL, 15*time.Second)
	c.Election = cmp.Or(c.Election, 500*time.Millisecond)
	c.ReconnectMax = cmp.Or(c.ReconnectMax, time.Second)
	return c
}

// SessionStream is a worker's control stream. Send and Recv return when Context
// has ended, at the latest.
type SessionStream interface {
	Context() context.Context
	Send(*pb.NodeMessage) error
	Recv() (*pb.WorkerMessage, error)
}

// Caller is who opened a session.
type Caller struct {
	CapabilityID string
	Remote       string
	RelayedBy    string // the node that passes the session on; empty: the worker reached the leader itself
}

// Leader does the leader's work on one node, while that node is in office. Its
// methods may be called at any time; out of office they say so.
type Leader struct {
	config  Config
	store   *state.Store
	log     hclog.Logger
	metrics *metrics

	mu   sync.Mutex
	term *term // nil: out of office
}

// New returns a leader that is out of office.
func New(cfg Config, store *state.Store, logger hclog.Logger, reg prometheus.Registerer) *Leader {
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	l := &Leader{config: cfg.withDefaults(), store: store, log: logger, metrics: newMetrics(reg)}
	l.metrics.watch(l)
	return l
}

// Run does the work of one term of office, until its context ends. It returns
// when every session of the term has ended.
func (l *Leader) Run(office context.Context) error {
	t := newTerm(l, office)
	l.metrics.terms.Inc()
	l.setTerm(t)
	defer l.setTerm(nil)
	if err := t.run(); err != nil && office.Err() == nil {
		return fmt.Errorf("lead: %w", err)
	}
	return nil
}

func (l *Leader) setTerm(t *term) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.term = t
}

// current returns the term, or ErrNotLeader.
func (l *Leader) current() (*term, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.term == nil || l.term.office.Err() != nil {
		return nil, fmt.Errorf("%w: its workers have gone to another node", raftnode.ErrNotLeader)
	}
	return l.term, nil
}

// Serve serves a worker's session until it ends, and says why it ended. hello is
// the stream's first message, which the caller has received and authorized.
func (l *Leader) Serve(stream SessionStream, hello *pb.WorkerHello, by Caller) error {
	t, err := l.current()
	if err != nil {
		return err
	}
	return t.serve(stream, hello, by)
}

// Suggest names the worker that a client's new job would start on at once, if
// there is one and no job before it could take the slot; the grant can ride in
// the submit's own command, with the leash of a job that has a concurrency key. The
// worker's slots stay taken until release is called, which must happen once the
// outcome of the submit is known, also when no worker was named.
func (l *Leader) Suggest(pool, client string, spec *pb.JobSpec) (worker string, leashMs int64, release func(granted bool)) {
	t, err := l.current()
	if err != nil {
		return "", 0, func(bool) {}
	}
	return t.suggest(pool, client, spec)
}

// Workers lists the workers of a pool, or of every pool if it is empty, with
// what only the leader knows of them. Out of office it lists what is registered.
func (l *Leader) Workers(pool string) []*pb.Worker {
	var list []*pb.Worker
	l.store.View(func(s *fsm.State) {
		for w := range s.Workers(pool) {
			list = append(list, fsm.WorkerPB(w))
		}
	})
	if t, err := l.current(); err == nil {
		t.describe(list)
	}
	return list
}

// Explain says why a job waits, or where it runs, and how many jobs are ahead of
// it. The error is a *fsm.Refusal for a job that is not there.
func (l *Leader) Explain(id fsm.JobID) (ahead int, why string, details []string, err error) {
	t, err := l.current()
	if err != nil {
		return 0, "", nil, err
	}
	return t.explain(id)
}

// CapabilityRevoked ends the sessions that were opened with a capability, and
// their leases, at once.
func (l *Leader) CapabilityRevoked(id string) {
	if t, err := l.current(); err == nil {
		t.revoke(id)
	}
}
