package logs

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/logstore"
)

const (
	scanPage  = 500  // jobs looked at in one view of the state
	auditPage = 1000 // logs asked for at a time
)

// sealedLog is one sealed log of the state.
type sealedLog struct {
	key  logstore.Key
	log  *pb.LogInfo
	over bool // its attempt is
}

// careLoop looks after sealed logs: those whose holders left the cluster are
// copied again, those that every holder evicted are told to be expired.
func (t *term) careLoop(ctx context.Context) error {
	var scanned []string // the members when every log was last looked at
	var audited time.Time
	var cursor fsm.JobID
	for {
		if err := pause(ctx, t.every.care); err != nil {
			return err
		}
		t.prune()
		if now := t.memberIDs(); !slices.Equal(now, scanned) {
			left, err := t.scan(ctx, now)
			if err != nil {
				return err
			}
			if left == 0 {
				scanned = now
			}
		}
		if time.Since(audited) >= t.every.audit {
			audited = time.Now()
			t.mend(ctx, t.oldest(), true)
			var logs []sealedLog
			logs, cursor = t.page(cursor, func(*pb.LogInfo) bool { return true })
			t.mend(ctx, logs, true)
		}
	}
}

// memberIDs are the voters, as text and sorted: what holders are compared with.
func (t *term) memberIDs() (ids []string) {
	for _, m := range t.Peers.Members() {
		if m.Voter {
			ids = append(ids, string(m.ID))
		}
	}
	slices.Sort(ids)
	return ids
}

// held counts the members that are named as holders.
func held(log *pb.LogInfo, members []string) (n int) {
	for _, id := range log.Holders {
		if _, ok := slices.BinarySearch(members, id); ok {
			n++
		}
	}
	return n
}

// scan looks at every sealed log and mends those with too few holders. left is
// how many it could not mend now.
func (t *term) scan(ctx context.Context, members []string) (left int, err error) {
	quorum := len(members)/2 + 1
	for before := fsm.JobID(0); ; {
		var short []sealedLog
		short, before = t.page(before, func(log *pb.LogInfo) bool { return held(log, members) < quorum })
		left += t.mend(ctx, short, false)
		if before == 0 {
			break
		}
		if err := pause(ctx, time.Millisecond); err != nil { // a million jobs are no reason to hurry
			return left, err
		}
	}
	if left > 0 {
		t.Logger.Warn("sealed logs have too few holders; trying again", "logs", left)
	}
	return left, ctx.Err()
}

// page returns the wanted sealed logs of the next jobs, the newest first, and
// where to go on; 0: there are no more.
func (t *term) page(before fsm.JobID, wanted func(*pb.LogInfo) bool) (logs []sealedLog, next fsm.JobID) {
	var jobs []*fsm.Job
	t.Store.View(func(st *fsm.State) {
		jobs, next = st.Jobs(fsm.Filter{Before: before, Limit: scanPage})
	})
	for _, j := range jobs {
		logs = appendSealed(logs, j, wanted)
	}
	return logs, next
}

// oldest returns the sealed logs of the oldest jobs: the first to be evicted.
func (t *term) oldest() (logs []sealedLog) {
	var jobs []*fsm.Job
	t.Store.View(func(st *fsm.State) {
		for j := range st.AllJobs() {
			if jobs = append(jobs, j); len(jobs) == auditPage {
				return
			}
		}
	})
	for _, j := range jobs {
		logs = appendSealed(logs, j, func(*pb.LogInfo) bool { return true })
	}
	return logs
}

func appendSealed(logs []sealedLog, j *fsm.Job, wanted func(*pb.LogInfo) bool) []sealedLog {
	for i := range j.Attempts {
		a := &j.Attempts[i]
		if a.Log != nil && !a.Log.Expired && wanted(a.Log) {
			logs = append(logs, sealedLog{key: keyOf(j.ID, a.No), log: a.Log, over: a.Outcome != nil})
		}
	}
	return logs
}

// copies is who has a sealed log, of the members that answered.
type copies struct {
	have    []raftnode.NodeID
	evicted bool // one said that it dropped it to keep its budget
	all     bool // every member answered
}

// mend asks the members what they have of some sealed logs. A log that too few
// have is copied again, unless they dropped it to keep their budget (audit: only
// then a holder may be short of it); one that nobody has is told to be expired.
func (t *term) mend(ctx context.Context, logs []sealedLog, audit bool) (left int) {
	for some := range slices.Chunk(logs, auditPage) {
		others, quorum := t.others()
		keys := make([]logstore.Key, len(some))
		for i, l := range some {
			keys[i] = l.key
		}
		found := t.ask(ctx, others, keys)
		var short []shortage
		for i, l := range some {
			c := t.copiesOf(l, i, others, found)
			switch {
			case len(c.have) == 0 && c.all:
				t.expire(l, c.evicted)
			case len(c.have) == 0, audit && !c.all:
				left++
			case audit && (len(c.have) >= quorum || c.evicted):
			default:
				short = append(short, shortage{l, c.have, len(c.have) >= quorum})
			}
		}
		left += t.recopy(ctx, short)
	}
	return left
}

func (t *term) copiesOf(l sealedLog, i int, others []raftnode.NodeID, found statuses) copies {
	c := copies{all: len(found) == len(others), evicted: t.stat(l.key).Expired}
	if t.whole(l.key, l.log) {
		c.have = append(c.have, t.Self)
	}
	for id, answers := range found {
		a := answers[i]
		c.evicted = c.evicted || a.Expired
		if a.Sealed && a.Stored == l.log.Bytes {
			c.have = append(c.have, id)
		}
	}
	slices.SortFunc(c.have, func(a, b raftnode.NodeID) int { return cmp.Compare(a, b) })
	return c
}

// expire has the cluster record that nobody has a log any more.
func (t *term) expire(l sealedLog, evicted bool) {
	if !l.over {
		return
	}
	if !evicted {
		t.Logger.Error("sealed log is lost: no member has it, and none dropped it to keep its budget", "job", l.key.Job, "attempt", l.key.Attempt)
	}
	t.metrics.expired.Inc()
	t.Store.ProposeAsync(&pb.Command{Op: &pb.Command_ExpireLog{ExpireLog: &pb.ExpireLog{
		Job: l.key.Job, Attempt: l.key.Attempt,
	}}}, func(fsm.Result, error) {}) // not recorded: the next audit comes by again
}

// prune forgets flows that nothing will come of: opened for a reader, or of logs
// that are over for the cluster.
func (t *term) prune() {
	t.mu.Lock()
	var idle []*flow
	for _, f := range t.flows {
		if f.ship == nil && f.settled == nil && f.stage == growing {
			idle = append(idle, f)
		}
	}
	t.mu.Unlock()
	for _, f := range idle {
		a, log := t.sealedLog(f.key)
		t.mu.Lock()
		if f.ship == nil && (a == nil || log != nil || (f.holder == nil && a.Outcome != nil)) {
			t.close(f, nil)
		}
		t.mu.Unlock()
	}
}
