package logs

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// term is one term of office: the logs that come in, and who has how much of
// them. All of it is rebuilt by the next leader from what the workers offer.
type term struct {
	*Service
	ctx   context.Context
	began int64 // the state's time; leases from before may have bytes elsewhere
	since time.Time

	streams   sync.WaitGroup // of workers, and pulls
	wakeSync  chan struct{}
	wakePlace chan struct{}

	mu       sync.Mutex
	over     bool
	flows    map[logstore.Key]*flow
	peers    []*replicator // the nodes that get copies
	quorum   int
	unsynced []*flow // complete here, not known to be on disk
	unplaced []*flow // from before: ask the other nodes first
	recent   int     // bytes of packed pieces that the flows hold
}

// Lead does the leader's part until the term ends: it takes logs from workers,
// copies them to other nodes, has them sealed, and looks after the copies of
// sealed ones.
func (s *Service) Lead(ctx context.Context) error {
	office := ctx
	g, ctx := errgroup.WithContext(office)
	t := &term{
		Service: s, ctx: ctx, since: time.Now(),
		wakeSync: make(chan struct{}, 1), wakePlace: make(chan struct{}, 1),
		flows: make(map[logstore.Key]*flow),
	}
	s.Store.View(func(st *fsm.State) { t.began = st.Now() })
	_, t.quorum = s.others()
	g.Go(func() error { return t.replicate(ctx) })
	g.Go(func() error { return t.syncLoop(ctx) })
	g.Go(func() error { return t.placeLoop(ctx) })
	g.Go(func() error { return t.careLoop(ctx) })
	g.Go(func() error { return t.yieldLoop(ctx) })
	s.setTerm(t)
	err := g.Wait()
	s.setTerm(nil)
	t.mu.Lock()
	t.over = true
	t.mu.Unlock()
	t.streams.Wait()
	if office.Err() != nil {
		return nil
	}
	return err
}

// run starts a goroutine that the term waits for; false: the term is over.
func (t *term) run(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.over {
		return false
	}
	t.streams.Go(f)
	return true
}

// flow is one log on its way to being sealed. Its fields are guarded by term.mu,
// but key, lease, limit and the channels.
type flow struct {
	key   logstore.Key
	lease uint64

	holder *pb.Holder // who may seal it; absent until it is offered
	ship   *shipment  // who hears of it; nil: its worker is not connected
	gapped bool       // bytes were asked for again and have not come
	end    int64      // stored here
	final  *final     // the worker's end marker
	stage  stage
	copies []replica
	only   *replicator // the one peer that gets it, for now; nil: all do
	recent recent
	again  bool // it has been started over, and will not be once more

	limit   atomic.Int64  // bytes it may have; 0: not looked up yet
	placed  chan struct{} // closed once no other node can have more of it than this one
	settled chan error    // of a sealed log that is copied again; nil for a worker's
}

// final is what a complete log must be.
type final struct {
	bytes  int64
	digest logstore.Digest
	at     time.Time
}

// stage is how far a log has come.
type stage uint8

const (
	growing  stage = iota // not all bytes are here
	whole                 // all are, and fit the digest
	durable               // and are on this node's disk
	proposed              // and on a majority's: the cluster is told
	closed                // sealed, or given up
)

// replica is one peer's copy of a flow.
type replica struct {
	to     *replicator
	sent   int64     // unknown: ask the peer first
	asked  bool      // and it was asked
	ended  bool      // the end marker was sent
	since  time.Time // it was asked, or sent the end marker
	drop   bool      // it must forget what it has, first
	again  bool      // it was told to, once
	failed bool      // it cannot be a holder
	whole  bool      // all is on its disk
	queued bool
}

const unknown = -1

func (f *flow) replica(r *replicator) *replica {
	for i := range f.copies {
		if f.copies[i].to == r {
			return &f.copies[i]
		}
	}
	return nil
}

// holders are the nodes that have all of it on disk.
func (f *flow) holders(self raftnode.NodeID) []string {
	ids := []string{string(self)}
	for i := range f.copies {
		if f.copies[i].whole {
			ids = append(ids, string(f.copies[i].to.id))
		}
	}
	return ids
}

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// open finds or begins the flow of a log; called with mu held. fresh says that
// its lease is of this term, so that no other node has any of it.
func (t *term) open(key logstore.Key, lease uint64, fresh bool) *flow {
	if f := t.flows[key]; f != nil {
		return f
	}
	f := &flow{key: key, lease: lease, end: t.stat(key).Size, placed: closedChannel}
	if !fresh && len(t.peers) > 0 {
		f.placed = make(chan struct{})
		t.unplaced = append(t.unplaced, f)
		poke(t.wakePlace)
	}
	for _, r := range t.peers {
		f.copies = append(f.copies, replica{to: r, sent: startOf(fresh)})
	}
	t.flows[key] = f
	t.feed(f)
	return f
}

func startOf(fresh bool) int64 {
	if fresh {
		return 0
	}
	return unknown
}

// close takes a flow out of the term, once: a copy that was given up may still
// be answered. Called with mu held, also by whoever commits: it never waits.
func (t *term) close(f *flow, err error) {
	if f.stage == closed {
		return
	}
	f.stage = closed
	t.forgetRecent(f)
	if t.flows[f.key] == f {
		delete(t.flows, f.key)
	}
	if f.ship != nil {
		delete(f.ship.flows, f.lease)
	}
	if f.settled != nil {
		f.settled <- err
	}
}

// restart has a log grow again from an offset; called with mu held.
func (t *term) restart(f *flow, end int64) {
	f.stage, f.final, f.end, f.only = growing, nil, end, nil
	t.forgetRecent(f)
}

// appoint has one peer alone get a log that has become whole before any of it
// was copied, if a majority needs no more: many logs are small, and a copy that
// nobody counts on costs as much as the one that matters. The peers take turns.
// Called with mu held.
func (t *term) appoint(f *flow) {
	if t.quorum != 2 || len(f.copies) < 2 || f.end > pieceBytes {
		return
	}
	for i := range f.copies {
		if c := &f.copies[i]; c.sent != 0 || c.ended || c.asked || c.drop || !c.to.down.IsZero() {
			return
		}
	}
	f.only = f.copies[f.key.Job%uint64(len(f.copies))].to
}

// release has all peers get the log; called with mu held.
func (t *term) release(f *flow) {
	f.only = nil
	t.feed(f)
}

// feed gives the flow a turn at every peer that lacks something of it; called
// with mu held.
func (t *term) feed(f *flow) {
	for i := range f.copies {
		c := &f.copies[i]
		if !c.queued && c.to.down.IsZero() && f.owes(c) {
			c.queued = true
			c.to.push(f)
		}
	}
}

// owes says whether the peer should be sent something.
func (f *flow) owes(c *replica) bool {
	switch {
	case c.whole || c.failed || f.only != nil && f.only != c.to:
		return false
	case c.drop:
		return true
	case c.sent == unknown:
		return !c.asked && (f.end > 0 || f.stage >= whole)
	}
	return c.sent < f.end || (f.stage >= whole && !c.ended)
}
