package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/pb"
)

// idle measures servers that have nothing to do, empty and with finished jobs.
func (b *bench) idle(ctx context.Context) (err error) {
	r, err := b.newRig(ctx, "idle", local.Config{Profile: "default"}, &pb.PoolConfig{KeepJobs: 100_000})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := b.idleFor(ctx, r, "idle", 40); err != nil {
		return err
	}
	workers, err := b.spawn(ctx, "sim-workers", "--connect", r.workerCap, "--pool", poolName, "--workers", "1", "--slots", "256", "--log-bytes", "100")
	if err != nil {
		return err
	}
	defer workers.stop()
	if err := r.waitWorkers(ctx, 1); err != nil {
		return err
	}
	jobs := b.size(10_000, 2_000)
	clients, err := b.spawn(ctx, "sim-clients", "--connect", r.submitCap, "--pool", poolName, "--jobs", strconv.Itoa(jobs), "--in-flight", "128")
	if err != nil {
		return err
	}
	defer clients.stop()
	var done clientsReport
	if err := clients.next(&done); err != nil {
		return err
	}
	return b.idleFor(ctx, r, fmt.Sprintf("%d finished jobs", jobs), 100)
}

// idleFor watches the servers for a while and shows the worst of them.
func (b *bench) idleFor(ctx context.Context, r *rig, what string, wantMB float64) error {
	watch := time.Duration(b.size(20, 5)) * time.Second
	settle := time.NewTimer(5 * time.Second)
	defer settle.Stop()
	select {
	case <-settle.C:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	before := map[int]time.Duration{}
	for _, n := range r.Nodes {
		cpu, err := cpuTime(n.Process.Pid())
		if err != nil {
			return err
		}
		before[n.Process.Pid()] = cpu
	}
	select {
	case <-time.After(watch):
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	var worstMB, worstCPU float64
	for _, n := range r.Nodes {
		cpu, err := cpuTime(n.Process.Pid())
		if err != nil {
			return err
		}
		worstCPU = max(worstCPU, 100*(cpu-before[n.Process.Pid()]).Seconds()/watch.Seconds())
		mb, err := residentMB(n.Process.Pid())
		if err != nil {
			return err
		}
		worstMB = max(worstMB, mb)
	}
	b.show(atMostNumber(what+", resident", worstMB, wantMB, " MB", "Nomad: 97 MB, with 3,600 finished jobs 519 MB"))
	b.show(atMostNumber(what+", processor", worstCPU, 1, " %", "of a core; the busiest of three nodes"))
	return nil
}

// cpuTime is a process's user and system time, from /proc/PID/stat (fields 14
// and 15, in ticks of 10 ms; proc_pid_stat(5)).
func cpuTime(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("read /proc/%d/stat: too short", pid)
	}
	var ticks int64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return 0, err
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

func residentMB(pid int) (float64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "VmRSS:" {
			kb, err := strconv.ParseFloat(f[1], 64)
			return kb / 1024, err
		}
	}
	return 0, fmt.Errorf("read /proc/%d/status: no VmRSS", pid)
}
