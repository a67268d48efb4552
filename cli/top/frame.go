package top

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// minWidth is the narrowest frame; a narrower terminal cuts it off.
const minWidth = 80

// Frame is a sample in lines. height is how many lines there may be; 0: as many as
// it takes. The lists share what is left of it: pools, workers, the queue.
func Frame(s Sample, width, height int) []string {
	width = max(width, minWidth)
	lines := heading(s)
	pools, workers, queue := poolLines(s), workerLines(s, width), queueLines(s)
	if height > 0 {
		left := height - len(lines) - 2 // two empty lines between
		share := fair(left, len(pools), len(workers), len(queue))
		pools, workers, queue = fit(pools, share[0]), fit(workers, share[1]), fit(queue, share[2])
	}
	for i, list := range [][]string{pools, workers, queue} {
		if i > 0 {
			lines = append(lines, "")
		}
		lines = append(lines, list...)
	}
	for i, line := range lines {
		lines[i] = clip(strings.TrimRight(ui.Clean(line), " "), width)
	}
	return lines
}

// fair divides lines among lists: none gets more than it needs.
func fair(left int, needs ...int) []int {
	share := make([]int, len(needs))
	for left > 0 {
		given := false
		for i := range needs {
			if share[i] < needs[i] && left > 0 {
				share[i]++
				left--
				given = true
			}
		}
		if !given {
			break
		}
	}
	return share
}

// fit cuts a list to n lines, of which the last then says what is missing.
func fit(list []string, n int) []string {
	if len(list) <= n {
		return list
	}
	if n <= 1 {
		return list[:max(n, 0)]
	}
	return append(slices.Clone(list[:n-1]), fmt.Sprintf("  and %d more", len(list)-n+1))
}

func heading(s Sample) []string {
	leader, well := "none", 0
	for _, m := range s.Members {
		if m.Leader {
			leader = m.Name
		}
		if m.Health == "" || m.Health == "ok" {
			well++
		}
	}
	connected, slots, used := 0, 0, 0
	for _, w := range s.Workers {
		if w.Connected {
			connected++
			slots += int(w.Slots)
		}
		used += int(w.Running)
	}
	var waiting, running int64
	for _, p := range s.Pools {
		waiting += p.Queued
		running += p.Running
	}
	lines := []string{
		fmt.Sprintf("weir top  %s   leader %s, %d of %s well", s.At.Format("15:04:05"), leader, well, ui.Count(len(s.Members), "node", "nodes")),
		fmt.Sprintf("%s waiting, %d running on %d of %s, %s", ui.Count(int(waiting), "job", "jobs"), running, connected, ui.Count(len(s.Workers), "worker", "workers"),
			ui.Count(slots, "slot", "slots")),
	}
	if s.Err != nil {
		lines = append(lines, fmt.Sprintf("NOT NEW, of %s ago: %s", ui.Short(time.Since(s.At)), client.Message(s.Err)))
	}
	return append(lines, "")
}

func poolLines(s Sample) []string {
	lines := []string{fmt.Sprintf("%-16s %8s %8s %-21s %7s %7s %6s", "POOL", "WAITING", "RUNNING", "SLOTS", "START/m", "END/m", "FAIL/m")}
	for _, p := range s.Pools {
		free, all := int(p.FreeSlots), 0
		for _, w := range s.Workers {
			if w.Pool == p.Name && w.Connected {
				all += int(w.Slots)
			}
		}
		r, known := s.Rates[p.Name], s.Rates != nil
		name := p.Name
		if p.Pause != nil {
			name += " (paused)"
		}
		lines = append(lines, fmt.Sprintf("%-16s %8d %8d %-21s %7s %7s %6s", ui.Clip(name, 16), p.Queued, p.Running,
			gauge(max(all-free, 0), all), perMinute(r.Started, known), perMinute(r.Ended, known), perMinute(r.Failed, known)))
	}
	if len(s.Pools) == 0 {
		lines = append(lines, "no pool: weir pool create makes one")
	}
	return lines
}

func perMinute(n float64, known bool) string {
	if !known {
		return "-"
	}
	return fmt.Sprintf("%.1f", n)
}

// gauge shows how many of so many slots are taken, in gaugeWidth columns at most.
func gauge(used, all int) string {
	numbers := fmt.Sprintf("%d/%d", used, all)
	width := max(min(10, gaugeWidth-len(numbers)-len("[] ")), 0)
	full := 0
	if all > 0 {
		full = min((used*width+all-1)/all, width)
	}
	return fmt.Sprintf("[%s%s] %s", strings.Repeat("#", full), strings.Repeat(".", width-full), numbers)
}

const gaugeWidth = 21

func workerLines(s Sample, width int) []string {
	list := slices.Clone(s.Workers)
	slices.SortStableFunc(list, func(a, b *pb.Worker) int {
		return cmp.Or(-cmp.Compare(a.Running, b.Running), cmp.Compare(a.Pool, b.Pool), cmp.Compare(a.Name, b.Name))
	})
	lines := []string{fmt.Sprintf("%-22s %-14s %-14s %8s %6s %s", "WORKER", "POOL", "STATE", "RUNNING", "HEARD", "VERSION")}
	for _, w := range list {
		heard := "-"
		if w.Connected {
			heard = ui.Short(time.Duration(w.LastHeardMsAgo) * time.Millisecond)
		}
		lines = append(lines, fmt.Sprintf("%-22s %-14s %-14s %8s %6s %s", ui.Clip(w.Name, 22), ui.Clip(w.Pool, 14), ui.Clip(state(w), 14),
			fmt.Sprintf("%d/%d", w.Running, w.Slots), heard, ui.Clip(w.Version, width-69)))
	}
	return lines
}

func state(w *pb.Worker) string {
	if w.Pause != nil && w.State != "paused" {
		return w.State + ", paused"
	}
	return w.State
}

// queueLines lists what waits, of all pools in turn, urgent and early jobs first.
func queueLines(s Sample) []string {
	lines := []string{fmt.Sprintf("%-8s %-10s %-10s %6s %s", "QUEUED", "POOL", "CLIENT", "AGE", "WHY IT WAITS")}
	more := int64(0)
	for _, p := range s.Pools {
		more += p.Queued
	}
	for i := range queueShown {
		for _, p := range s.Pools {
			view := s.Queue[p.Name]
			if i >= len(view.GetQueue()) {
				continue
			}
			q := view.Queue[i]
			why := q.Why
			if q.Slots > 1 {
				why = ui.Count(int(q.Slots), "slot", "slots") + "; " + why
			}
			if q.Urgent {
				why = "urgent; " + why
			}
			age := ui.Short(s.At.Sub(time.UnixMilli(q.SubmittedMs)))
			lines = append(lines, fmt.Sprintf("%-8d %-10s %-10s %6s %s", q.Job, ui.Clip(p.Name, 10), ui.Clip(q.Client, 10), age, why))
			more--
		}
	}
	if len(lines) == 1 {
		return []string{"nothing waits"}
	}
	if more > 0 {
		lines = append(lines, fmt.Sprintf("  and %d more", more))
	}
	return lines
}

func clip(text string, n int) string {
	if runes := []rune(text); len(runes) > n {
		return string(runes[:max(n-1, 0)]) + "…"
	}
	return text
}
