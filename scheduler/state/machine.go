package state

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
)

// machine is fsm.State as a Raft node keeps it.
type machine struct {
	log   hclog.Logger
	clock *clock
	mono  func() time.Duration // this machine's monotonic clock
	subs  *subscriptions

	history *history

	cloning sync.Mutex // Clone needs the state alone, and two may come at once
	state   *fsm.State // guarded by the node's lock
}

var _ raftnode.Machine = (*machine)(nil)

// Apply returns a *fsm.Result for each command.
func (m *machine) Apply(index uint64, commands [][]byte) []any {
	results := make([]fsm.Result, len(commands))
	boxed := make([]any, len(commands))
	defer m.stopOn(index)
	m.state.Begin()
	for i, data := range commands {
		results[i] = m.apply(data)
		boxed[i] = &results[i]
	}
	m.clock.observe(m.state.Now(), m.mono())
	m.subs.publish(results)
	m.history.add(index, results, m.state)
	return boxed
}

// stopOn tells why this node cannot go on. A command that this program does not
// understand stops it: to skip the command would make this node differ from the
// others for ever.
func (m *machine) stopOn(index uint64) {
	if r := recover(); r != nil {
		m.log.Error("this node cannot apply an entry of the log and stops, so as not to differ from the others; upgrade this node and start it again",
			"index", index, "reason", r)
		panic(fmt.Sprintf("entry %d of the log: %v", index, r))
	}
}

func (m *machine) apply(data []byte) fsm.Result {
	c := &pb.Command{}
	if err := c.UnmarshalVT(data); err != nil {
		panic(fmt.Sprintf("the command is not readable (%v): upgrade this node", err))
	}
	return m.state.ApplyNext(c)
}

// clone is the state as it is now, for reading without a lock. Call it within a
// View.
func (m *machine) clone() *fsm.State {
	m.cloning.Lock()
	defer m.cloning.Unlock()
	return m.state.Clone()
}

func (m *machine) Snapshot() raftnode.Snapshot { return snapshot{m.clone()} }

// RestoredAt says which entry of the log the restored state has as its last.
func (m *machine) RestoredAt(index uint64) { m.history.restart(index) }

func (m *machine) Restore(r io.Reader) error {
	next := fsm.New()
	if err := next.Restore(r); err != nil {
		return err
	}
	m.state = next
	m.clock.observe(next.Now(), m.mono())
	m.subs.lose()
	return nil
}

type snapshot struct{ state *fsm.State }

func (s snapshot) WriteTo(w io.Writer) (int64, error) { return s.state.WriteTo(w) }
func (s snapshot) Release()                           {}
