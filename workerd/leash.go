package workerd

import (
	"time"

	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/session"
)

const (
	// leashEvery bounds how late a leash is noticed to be over where timers stood
	// still, as in a machine that slept.
	leashEvery = 100 * time.Millisecond
	// maxLeashMargin is the most that a kill comes before the end of the leash; of a
	// short leash it is an eighth.
	maxLeashMargin = 2 * time.Second
)

// leash kills an attempt of a job with a concurrency key when no renewal was
// acknowledged for the time that its grant says, less a margin: the cluster gives
// the key to another job some time after that. The function that it returns ends it.
func (w *Worker) leash(a *attempt) (unleash func()) {
	length := ms(a.grant.LeashMs)
	if length <= 0 {
		return func() {}
	}
	length -= min(length/8, maxLeashMargin)
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(leashEvery)
		defer tick.Stop()
		for session.Boottime()-w.session.Renewed() < length {
			select {
			case <-over:
				return
			case <-tick.C:
			}
		}
		w.log.Warn("killing a job with a concurrency key: the cluster has not acknowledged a renewal of its lease for too long",
			"lease", a.lease, "job", a.grant.Job, "limit", length)
		a.stop(executor.ErrUnrenewed)
	}()
	return func() {
		close(over)
		<-ended
	}
}
