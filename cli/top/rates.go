package top

import (
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// rateWindow is over how long events are counted.
const rateWindow = time.Minute

// Rate is jobs a minute.
type Rate struct{ Queued, Started, Ended, Failed float64 }

// counts is events of the latest window, by pool and second.
type counts struct {
	begun   time.Time
	seconds map[string][]second
}

type second struct {
	at                             int64 // in seconds since the epoch
	queued, started, ended, failed int
}

func newCounts(now time.Time) *counts {
	return &counts{begun: now, seconds: map[string][]second{}}
}

func (c *counts) add(now time.Time, e *pb.Event) {
	if c == nil {
		return
	}
	list := c.seconds[e.Pool]
	if len(list) == 0 || list[len(list)-1].at != now.Unix() {
		for len(list) > 0 && list[0].at <= now.Add(-rateWindow).Unix() {
			list = list[1:]
		}
		list = append(list, second{at: now.Unix()})
	}
	s := &list[len(list)-1]
	switch e.Kind {
	case "job-queued":
		s.queued++
	case "job-started":
		s.started++
	case "job-ended":
		s.ended++
		if e.Outcome != pb.OutcomeKind_OUTCOME_SUCCEEDED && e.Outcome != pb.OutcomeKind_OUTCOME_CANCELLED {
			s.failed++
		}
	}
	c.seconds[e.Pool] = list
}

// perMinute is the rates by pool; nil: not known.
func (c *counts) perMinute(now time.Time) map[string]Rate {
	if c == nil {
		return nil
	}
	span := max(min(now.Sub(c.begun), rateWindow), time.Second)
	scale := float64(time.Minute) / float64(span)
	rates := map[string]Rate{}
	for pool, list := range c.seconds {
		var r Rate
		for _, s := range list {
			if s.at <= now.Add(-rateWindow).Unix() {
				continue
			}
			r.Queued += float64(s.queued) * scale
			r.Started += float64(s.started) * scale
			r.Ended += float64(s.ended) * scale
			r.Failed += float64(s.failed) * scale
		}
		rates[pool] = r
	}
	return rates
}
