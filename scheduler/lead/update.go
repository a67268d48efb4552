package lead

import (
	"fmt"

	"github.com/weirbuild/weir/fsm"
)

// updates is what a worker said of updates when it came.
type updates struct {
	takes bool   // it has a command for them
	err   string // at what the latest failed
}

// Update tells a worker to end its jobs, update itself and start again; fresh says
// that it was not told before in this session, over that the process that is meant
// is gone. Telling it again does no harm, and after
// a change of leader nobody knows whether it was told: whoever waits tells it
// again.
func (l *Leader) Update(pool, worker, boot string) (fresh, over bool, err error) {
	t, err := l.current()
	if err != nil {
		return false, false, err
	}
	s, why := t.sessionOf(pool, worker)
	switch {
	case s == nil:
		return false, false, &fsm.Refusal{Kind: fsm.NotFound, Message: why}
	case s.boot != boot:
		return false, true, nil
	case !s.update.takes:
		return false, false, &fsm.Refusal{Kind: fsm.Refused, Message: fmt.Sprintf(
			"worker %s of pool %s takes no updates: start it with --update-command, or update it on its machine", worker, pool)}
	}
	s.check(s.out.order(boot))
	return !s.told.Swap(true), false, nil
}
