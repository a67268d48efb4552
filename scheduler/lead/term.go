package lead

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/state"
)

// term is one stay in office.
type term struct {
	*Leader
	office context.Context
	number uint64
	begun  time.Time
	ready  chan struct{} // closed when the memory is what the state says

	events *state.Subscription
	notes  notes
	told   teller
	parts  sync.WaitGroup // the goroutines of sessions, and those that wait for something

	mu        sync.Mutex
	pools     map[string]*pool
	doors     map[door]chan struct{} // names that a worker is registering under
	looked    time.Duration          // when silence was looked at last
	due       int64                  // when a back-off or a wait ends, cluster time; 0: none does
	ticking   bool                   // a Tick is on its way
	transfers bool                   // the office is being handed over
	excluded  []exclusion            // workers whose grant was refused
	// held are the leases that are over and still take their concurrency key, and until when.
	held map[fsm.LeaseID]time.Duration

	sessionNo uint64
}

func newTerm(l *Leader, office context.Context) *term {
	return &term{
		Leader: l, office: office, number: l.store.Node().Status().Term, begun: time.Now(),
		ready: make(chan struct{}), notes: newNotes(), told: newTeller(),
		pools: map[string]*pool{}, doors: map[door]chan struct{}{}, held: map[fsm.LeaseID]time.Duration{},
	}
}

// elapsed is the monotonic time since the term began.
func (t *term) elapsed() time.Duration { return time.Since(t.begun) }

// run does the term's work and returns when all of it has ended.
func (t *term) run() error {
	t.events = t.store.Subscribe("leader",
		fsm.JobQueued, fsm.JobBackoff, fsm.LeaseGranted, fsm.CancelRequested, fsm.AttemptEnded, fsm.JobSettled,
		fsm.WorkerRegistered, fsm.WorkerForgotten, fsm.WorkerPaused, fsm.PoolChanged, fsm.PoolDeleted, fsm.CapabilityRevoked,
		fsm.JobMoved, fsm.PermitFreed, fsm.ClientChanged)
	defer t.events.Close()
	t.load()
	close(t.ready)
	t.log.Info("leading", "term", t.number, "took", t.elapsed().Round(time.Millisecond))
	g, ctx := errgroup.WithContext(t.office)
	g.Go(func() error { return t.loop(ctx) })
	g.Go(func() error { return t.retain(ctx) })
	g.Go(func() error { return t.tell(ctx) })
	err := g.Wait()
	t.farewell()
	t.endSessions(func(*session) bool { return true }, errOfficeOver)
	t.parts.Wait()
	return err
}

var errOfficeOver = errors.Join(raftnode.ErrNotLeader, errors.New("its term of office is over"))

// load fills the memory from the state, at its present moment.
func (t *term) load() {
	s := t.store.Copy(t.events.Reset)
	t.mu.Lock()
	defer t.mu.Unlock()
	for p := range s.Pools() {
		t.loadPool(s, p)
	}
	t.holdAll(s)
	t.due = s.Due()
}

// reload follows a loss of events: which grants and stops the workers have not
// been sent is not known any more, so each says hello again.
func (t *term) reload() {
	t.log.Warn("events were lost: every worker is asked to come again, and the plan is made anew")
	t.endSessions(func(*session) bool { return true }, fmt.Errorf("the leader has lost track of what it sent: %w", ErrInterrupted))
	t.load()
}

// endSessions ends those sessions that match.
func (t *term) endSessions(match func(*session) bool, cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pools {
		for _, m := range p.roster.members {
			if m.session != nil && match(m.session) {
				m.session.end(cause)
			}
		}
	}
}

// propose proposes a command whose outcome shows in the state alone.
func (t *term) propose(what string, c *pb.Command) {
	t.store.ProposeAsync(c, func(_ fsm.Result, err error) {
		if err != nil && t.office.Err() == nil {
			t.log.Debug("proposal not done", "what", what, "error", err)
		}
	})
}
