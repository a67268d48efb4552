package plan

import (
	"strconv"

	"github.com/weirbuild/weir/fsm"
)

// Need is what a job asks of the worker that runs it.
type Need struct {
	Kind   string      // of the job, such as "command"; empty: any worker takes it
	Slots  uint32      // at least 1
	Labels []fsm.Label // all of them; sorted by name
	Key    string      // id of the key that its secrets are sealed to; empty: it has none
	Avoid  []string    // workers that should not run it while another can; sorted
	Leash  bool        // its worker must kill it when contact is lost, as it has a concurrency key
}

// Job is what a decision must know of a queued job.
type Job struct {
	ID        fsm.JobID
	Urgent    bool
	FairStart int64 // ms
	Client    string
	Hint      string // cache hint; empty: none
	Priority  uint32 // among its client's jobs
	Need      Need

	Concurrency string // key; empty: none
	AtMost      uint32 // jobs with that key run at once
}

// place says where a job lies.
type place uint8

const (
	nowhere  place = iota
	waiting        // in the backlog
	gated          // it waits for a limit on running jobs
	claiming       // in the backlog, and a worker gathers free slots for it
	reserved       // on one worker's own queue
	granted        // proposed; the outcome is not known yet
)

type job struct {
	id        fsm.JobID
	fairStart int64
	client    string
	hint      string
	class     *class
	worker    *worker // of every place but waiting
	cost      int64   // its part of the worker's workload, while reserved
	place     place
	urgent    bool
	priority  uint32
	key       string // of concurrency; empty: none
	most      int
	lanes     [stages]*lane
	passed    int64     // since when it is passed over, ms; 0: it is not
	inPlaceOf fsm.JobID // it has traded places with this one; 0: with none
}

// before is the order of the backlog.
func before(a, b *job) bool {
	switch {
	case a.urgent != b.urgent:
		return a.urgent
	case a.fairStart != b.fairStart:
		return a.fairStart < b.fairStart
	default:
		return a.id < b.id
	}
}

func (j *job) slots() int { return j.class.slots }

// key names the class of all jobs with the same need.
func (n Need) key() string {
	if len(n.Labels) == 0 && n.Key == "" && !n.Leash && len(n.Avoid) == 0 {
		return n.Kind + "\x00" + strconv.Itoa(n.slots())
	}
	key := append([]byte(n.Kind), 0)
	key = strconv.AppendInt(key, int64(n.slots()), 10)
	for _, l := range n.Labels {
		key = append(key, 0)
		key = append(key, l.Name...)
		key = append(key, '=')
		key = append(key, l.Value...)
	}
	if n.Key != "" {
		key = append(key, "\x00\x00"...)
		key = append(key, n.Key...)
	}
	if n.Leash {
		key = append(key, "\x00\x00\x00"...)
	}
	for _, name := range n.Avoid {
		key = append(key, "\x00!"...)
		key = append(key, name...)
	}
	return string(key)
}

func (n Need) slots() int { return int(max(n.Slots, 1)) }
