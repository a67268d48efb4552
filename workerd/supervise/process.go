package supervise

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// title is argv[0] of a supervisor, by which Main knows it.
const title = "weir-job-supervisor"

// process is the caller's side of one supervisor.
type process struct {
	cmd     *exec.Cmd
	control *os.File // socket: orders out, the report in
	output  *os.File // read end of the command's pipe
	orders  *orders
	stderr  tail
	ended   chan struct{}
}

// supervised runs c under a supervisor of its own, from start to end.
func supervised(ctx context.Context, m Mode, c Command, out io.Writer) (Exit, error) {
	// Pdeathsig watches the thread that forks: it must live as long as the child.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p, err := spawn(m, c)
	if err != nil {
		return Exit{}, err
	}
	defer p.close()

	var work sync.WaitGroup
	var outErr error
	work.Go(func() { outErr = p.copyOutput(out) })
	work.Go(func() { p.watch(ctx, c) })
	rep, err := p.converse(m, c)
	waitErr := p.wait()
	close(p.ended)
	work.Wait()

	switch {
	case outErr != nil:
		return Exit{}, fmt.Errorf("copy output: %w", outErr)
	case err != nil:
		return Exit{}, p.died(err, waitErr)
	case rep.Broken != "":
		return Exit{}, errors.New(rep.Broken)
	case rep.Start != nil:
		return Exit{}, rep.Start
	}
	return rep.Exit, nil
}

func spawn(m Mode, c Command) (_ *process, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "control"), os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	read, write, err := os.Pipe()
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("make output pipe: %w", err)
	}
	defer write.Close()

	p := &process{control: ours, output: read, orders: newOrders(ours), ended: make(chan struct{})}
	p.cmd = &exec.Cmd{
		Path:        "/proc/self/exe", // also after an upgrade replaced the file
		Args:        []string{title},
		Env:         []string{},
		Dir:         "/",
		Stderr:      &p.stderr,
		ExtraFiles:  []*os.File{theirs, write},
		SysProcAttr: m.attributes(),
		WaitDelay:   stragglerWait,
	}
	if c.Stdin != nil {
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, c.Stdin)
	}
	if err := p.cmd.Start(); err != nil {
		p.close()
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	return p, nil
}

// converse says what to run and waits for the report. Every process of the
// command but the supervisor may still be alive when it returns an error.
func (p *process) converse(m Mode, c Command) (report, error) {
	s := &start{Mode: m, Argv: c.Argv, Env: c.Env, Dir: c.Dir, User: c.User.credential(),
		Stdin: c.Stdin != nil, Hide: c.Hide, Keep: c.Keep, Probe: c.probe}
	var rep report
	err := p.orders.send(order{Start: s})
	if err == nil {
		err = gob.NewDecoder(p.control).Decode(&rep)
	}
	if err != nil {
		p.control.Close() // a supervisor that still lives kills everything and ends
	}
	return rep, err
}

// watch turns the end of ctx into orders to the supervisor. An order that cannot
// be sent means that the supervisor is gone, and with it the command.
func (p *process) watch(ctx context.Context, c Command) {
	select {
	case <-p.ended:
		return
	case <-ctx.Done():
	}
	grace := c.grace(context.Cause(ctx))
	_ = p.orders.send(order{Stop: &stop{Grace: grace}})
	select {
	case <-p.ended:
	case <-c.Kill:
		_ = p.orders.send(order{Stop: &stop{}})
	}
}

// wait returns when the supervisor has ended. In the namespace modes that is
// when the kernel has killed the rest. Then what is left of the output is in the
// pipe; only a stranger that was handed the pipe could still hold it open.
func (p *process) wait() error {
	err := p.cmd.Wait()
	_ = p.output.SetReadDeadline(time.Now().Add(stragglerWait))
	return err
}

// stragglerWait is how long output is awaited from a pipe that some process
// outside of the command keeps open.
const stragglerWait = 500 * time.Millisecond

// pipeSize is how much a pipe holds at most.
const pipeSize = 64 << 10

// copyOutput copies until no process holds the pipe, or until the command is dead
// and the pipe is empty. After a failed write it kills the command and reads on,
// so that nothing waits for us.
func (p *process) copyOutput(out io.Writer) (failed error) {
	buf := make([]byte, pipeSize)
	for left := -1; left != 0; {
		n, err := p.output.Read(buf)
		if n > 0 && failed == nil {
			if _, failed = out.Write(buf[:n]); failed != nil {
				_ = p.orders.send(order{Stop: &stop{}})
			}
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && left < 0:
			left = pipeSize // out may have been slow: take what the dead have left
		case err != nil:
			return failed
		case left > 0:
			left = max(0, left-n)
		}
		if left > 0 {
			_ = p.output.SetReadDeadline(time.Now().Add(stragglerWait))
		}
	}
	return failed
}

// died explains a supervisor that ended without a report.
func (p *process) died(err, waitErr error) error {
	if waitErr != nil {
		err = waitErr
	}
	if said := strings.TrimSpace(p.stderr.String()); said != "" {
		return fmt.Errorf("supervisor ended early: %w: %s", err, said)
	}
	return fmt.Errorf("supervisor ended early: %w", err)
}

func (p *process) close() {
	p.control.Close()
	p.output.Close()
}

// tail keeps the end of what a supervisor says when it breaks.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p...)
	t.b = t.b[max(0, len(t.b)-4096):]
	return len(p), nil
}

func (t *tail) String() string { return string(t.b) }
