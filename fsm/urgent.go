package fsm

import (
	"fmt"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// A client's urgent jobs are counted by the minute, and a minute counts until all of
// it is an hour ago: so no hour, wherever it begins, sees more than the limit.
//
// Submits of before feature level 4 are counted in an hour that begins with the
// first of them, in a Share's UrgentSince and Urgents.
const (
	urgentWindow  = 3600 * 1000 // ms
	urgentMinute  = 60 * 1000   // ms
	urgentMinutes = urgentWindow/urgentMinute + 1
)

// urgentHour is the urgent jobs of the last hour. It is never changed, but replaced.
type urgentHour struct{ minutes []minuteCount }

type minuteCount struct{ minute, jobs int64 }

// recent are the minutes that count now, the oldest first.
func (u *urgentHour) recent(now int64) []minuteCount {
	if u == nil {
		return nil
	}
	for i, m := range u.minutes {
		if m.minute > now/urgentMinute-urgentMinutes {
			return u.minutes[i:]
		}
	}
	return nil
}

// add is the hour with n more jobs now.
func (u *urgentHour) add(now, n int64) *urgentHour {
	minute := now / urgentMinute
	next := append([]minuteCount(nil), u.recent(now)...)
	if len(next) > 0 && next[len(next)-1].minute == minute {
		next[len(next)-1].jobs += n
	} else {
		next = append(next, minuteCount{minute, n})
	}
	return &urgentHour{next}
}

// urgentLimit refuses an urgent job beyond the pool's limit on those of a client.
func (h *Share) urgentLimit(now int64, j *Job, l Limits, sliding bool) *Refusal {
	if !j.Urgent || l.MaxUrgentPerHour == 0 || h == nil {
		return nil
	}
	n, since := h.urgents(now)
	again := since + urgentWindow
	if sliding {
		recent := h.Hour.recent(now)
		for _, m := range recent {
			n += m.jobs
		}
		if len(recent) > 0 {
			again = (recent[0].minute + urgentMinutes) * urgentMinute
		}
	}
	if n < l.MaxUrgentPerHour {
		return nil
	}
	return refusal(Full, "client %s has submitted %d urgent jobs to pool %s in this hour, its limit there; submit this one as not urgent, try again in %v, or let an operator raise max_urgent_per_hour",
		j.Client, n, j.Pool, time.Duration(again-now)*time.Millisecond)
}

// urgents is how many urgent jobs count in the hour that began with the first of
// them, and since when.
func (h *Share) urgents(now int64) (n, since int64) {
	if h == nil || h.Urgents == 0 || now-h.UrgentSince >= urgentWindow {
		return 0, now
	}
	return h.Urgents, h.UrgentSince
}

// countUrgent counts an urgent job, where that is limited.
func (s *State) countUrgent(j *Job, l Limits, sliding bool) {
	if !j.Urgent || l.MaxUrgentPerHour == 0 {
		return
	}
	h := s.changeShare(j.Pool, j.Client)
	n, since := h.urgents(s.now)
	if !sliding {
		h.Urgents, h.UrgentSince = n+1, since
		return
	}
	h.Hour = h.Hour.add(s.now, n+1) // with those that were counted the old way
	h.Urgents, h.UrgentSince = 0, 0
}

func (u *urgentHour) pb() []*pb.UrgentMinute {
	if u == nil {
		return nil
	}
	out := make([]*pb.UrgentMinute, len(u.minutes))
	for i, m := range u.minutes {
		out[i] = &pb.UrgentMinute{Minute: m.minute, Jobs: m.jobs}
	}
	return out
}

func hourOf(minutes []*pb.UrgentMinute) *urgentHour {
	if len(minutes) == 0 {
		return nil
	}
	u := new(urgentHour)
	for _, m := range minutes {
		u.minutes = append(u.minutes, minuteCount{m.GetMinute(), m.GetJobs()})
	}
	return u
}

func (u *urgentHour) validate(what string) error {
	if u == nil {
		return nil
	}
	if len(u.minutes) > urgentMinutes {
		return fmt.Errorf("%s: %d minutes of urgent jobs; at most %d", what, len(u.minutes), urgentMinutes)
	}
	for i, m := range u.minutes {
		if m.jobs < 1 || m.minute < 0 || m.minute > maxTime || i > 0 && u.minutes[i-1].minute >= m.minute {
			return fmt.Errorf("%s: a minute of urgent jobs is wrong or out of order", what)
		}
	}
	return nil
}
