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

// Update tells a worker to end its jobs, update itself and start again; over says
// that the process that is meant is gone. Telling it again does no harm, and after
// a change of leader nobody knows whether it was told: whoever waits tells it
// again.
func (l *Leader) Update(pool, worker, boot string) (over bool, err error) {
	t, err := l.current()
	if err != nil {
		return false, err
	}
	s, why := t.sessionOf(pool, worker)
	switch {
	case s == nil:
		return false, &fsm.Refusal{Kind: fsm.NotFound, Message: why}
	case s.boot != boot:
		return true, nil
	case !s.update.takes:
		return false, &fsm.Refusal{Kind: fsm.Refused, Message: fmt.Sprintf(
			"worker %s of pool %s takes no updates: start it with --update-command, or update it on its machine", worker, pool)}
	}
	s.check(s.out.order(boot))
	return false, nil
}
