package fsm

import "github.com/weirbuild/weir/proto/pb"

// FeatureLevel is the newest meaning of the log that this binary understands.
const FeatureLevel = 4

// State is the whole replicated state. Make one with New.
type State struct {
	now        int64 // ms; only moves forward
	level      uint32
	lastJob    JobID
	epoch      uint64
	lastLease  uint64 // the counter within the epoch
	lastCap    uint64
	lastChange uint64
	adminMade  bool // an admin capability exists or existed
	admins     int  // admin capabilities that are good

	jobs  dict[JobID, *Job]
	pools dict[string, *Pool]

	clients dict[string, *Client]
	shares  table[*Share]
	workers table[*Worker]
	caps    dict[uint64, *Capability]
	hints   table[*Hint]
	keys    table[*requestKey]
	costs   table[*Cost]
	changes dict[uint64, *pb.Change] // the audit, by number

	// What follows is derived from the above, and rebuilt by Restore.

	backlog       table[*Job]              // queued, in the order of the queues
	backoff       table[*Job]              // by the time at which they return
	patience      table[*Job]              // waiting jobs with a limit on that, by the time at which they give up
	running       table[*Job]              // by pool, worker and lease
	leases        dict[LeaseID, JobID]     // of every attempt that is kept
	settled       table[settledJob]        // by pool and age
	byClient      table[clientJob]         // by client and id
	pending       table[*pendingHint]      // by pool and hint
	hintsByUse    table[*Hint]             // by pool, least recently used first
	hintsByWorker table[*Hint]             // by pool and worker
	costsByUse    table[*Cost]             // by pool, least recently measured first
	capsByToken   dict[string, uint64]     // by the hash of the secret
	revoked       table[revokedCapability] // by the time of revocation
	keysByAge     table[*requestKey]       // oldest first
	keyCounts     dict[string, int]        // by client
	semaphores    table[*Semaphore]        // by pool and concurrency key
	holds         dict[LeaseID, JobID]     // of attempts that hold their key after their lease

	batch   uint64   // of commands that are applied with nobody looking in between
	probe   lookups  // what Apply looks for
	holders []string // of the latest log that was sealed

	events []Event // of the latest commands; nothing in it is ever changed
}

type settledJob struct {
	pool string
	at   int64
	id   JobID
}

type clientJob struct {
	client string
	id     JobID
}

// pendingHint counts the waiting jobs of a pool that have a hint.
type pendingHint struct {
	pool, hint string
	jobs       int
}

type revokedCapability struct {
	at     int64
	number uint64
}

// lookups are the keys of Apply's own lookups. Each would be garbage otherwise:
// the trees compare through a function, so the compiler cannot tell that they
// keep none.
type lookups struct {
	worker Worker
	share  Share
	key    requestKey
}

// New returns the empty state that every cluster begins with.
func New() *State {
	return &State{
		level:         1,
		jobs:          newDict[JobID, *Job](),
		pools:         newDict[string, *Pool](),
		clients:       newDict[string, *Client](),
		shares:        newTable(shareLess),
		workers:       newTable(workerLess),
		caps:          newDict[uint64, *Capability](),
		hints:         newTable(hintLess),
		keys:          newTable(keyLess),
		costs:         newTable(costLess),
		changes:       newDict[uint64, *pb.Change](),
		backlog:       newTable(queueLess),
		backoff:       newTable(backoffLess),
		patience:      newTable(patienceLess),
		running:       newTable(runningLess),
		leases:        newDict[LeaseID, JobID](),
		settled:       newTable(settledLess),
		byClient:      newTable(clientJobLess),
		pending:       newTable(pendingLess),
		hintsByUse:    newTable(hintUseLess),
		hintsByWorker: newTable(hintWorkerLess),
		costsByUse:    newTable(costUseLess),
		capsByToken:   newDict[string, uint64](),
		revoked:       newTable(revokedLess),
		keysByAge:     newTable(keyAgeLess),
		keyCounts:     newDict[string, int](),
		semaphores:    newTable(semaphoreLess),
		holds:         newDict[LeaseID, JobID](),
	}
}

// Clone returns an independent copy in O(1): copy on write. It needs the state
// alone, as Apply does; afterwards the two never touch each other's nodes, so
// that the copy may be read while the original changes.
func (s *State) Clone() *State {
	c := *s
	c.events = nil
	c.jobs = s.jobs.copy()
	c.pools = s.pools.copy()
	c.clients = s.clients.copy()
	c.shares = s.shares.copy()
	c.workers = s.workers.copy()
	c.caps = s.caps.copy()
	c.hints = s.hints.copy()
	c.keys = s.keys.copy()
	c.costs = s.costs.copy()
	c.changes = s.changes.copy()
	c.backlog = s.backlog.copy()
	c.backoff = s.backoff.copy()
	c.patience = s.patience.copy()
	c.running = s.running.copy()
	c.leases = s.leases.copy()
	c.settled = s.settled.copy()
	c.byClient = s.byClient.copy()
	c.pending = s.pending.copy()
	c.hintsByUse = s.hintsByUse.copy()
	c.hintsByWorker = s.hintsByWorker.copy()
	c.costsByUse = s.costsByUse.copy()
	c.capsByToken = s.capsByToken.copy()
	c.revoked = s.revoked.copy()
	c.keysByAge = s.keysByAge.copy()
	c.keyCounts = s.keyCounts.copy()
	c.semaphores = s.semaphores.copy()
	c.holds = s.holds.copy()
	return &c
}

// Now is the state's own time in milliseconds: the latest that a command
// carried.
func (s *State) Now() int64 { return s.now }

// FeatureLevel is what the cluster has agreed to use.
func (s *State) FeatureLevel() uint32 { return s.level }

// Epoch counts the restores from backup.
func (s *State) Epoch() uint64 { return s.epoch }

// LastJob is the id of the newest job; 0 before the first.
func (s *State) LastJob() JobID { return s.lastJob }

// AdminMade says whether the cluster has, or had, an admin capability.
func (s *State) AdminMade() bool { return s.adminMade }
