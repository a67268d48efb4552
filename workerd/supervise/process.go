package supervise

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// title is argv[0] of a supervisor, by which Main knows it; its mode follows.
const title = "weir-job-supervisor"

// process is the caller's side of one supervisor.
type process struct {
	conn    *net.UnixConn
	orders  *orderSender
	reports *gob.Decoder
	spoiled atomic.Bool // not fit for another command
	expiry  *time.Timer // while idle

	dead   chan struct{} // closed when the supervisor has ended; then these are set
	err    error
	stderr tail
}

// spawn starts a supervisor. It calls gone once, when there is none any more.
func spawn(m Mode, gone func()) (*process, error) {
	conn, theirs, err := controlSocket()
	if err != nil {
		gone()
		return nil, fmt.Errorf("make control socket: %w", err)
	}
	defer theirs.Close()
	p := &process{conn: conn, orders: newOrderSender(conn), reports: gob.NewDecoder(conn), dead: make(chan struct{})}
	cmd := &exec.Cmd{
		Path:        "/proc/self/exe", // also after an upgrade has replaced the file
		Args:        []string{title, strconv.Itoa(int(m))},
		Env:         []string{},
		Dir:         "/",
		Stderr:      &p.stderr,
		ExtraFiles:  []*os.File{theirs},
		SysProcAttr: m.attributes(),
		WaitDelay:   stragglerWait,
	}
	started := make(chan error)
	go func() {
		defer gone()
		// Pdeathsig watches the thread that forks: it must live as long as the child.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.dead)
		}
	}()
	if err := <-started; err != nil {
		conn.Close()
		return nil, fmt.Errorf("start supervisor: %w", err)
	}
	return p, nil
}

func controlSocket() (ours *net.UnixConn, theirs *os.File, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	near := os.NewFile(uintptr(pair[0]), "control")
	defer near.Close() // FileConn makes a copy
	theirs = os.NewFile(uintptr(pair[1]), "control")
	conn, err := net.FileConn(near)
	if err != nil {
		theirs.Close()
		return nil, nil, err
	}
	return conn.(*net.UnixConn), theirs, nil
}

// alive reports whether the supervisor still runs.
func (p *process) alive() bool {
	select {
	case <-p.dead:
		return false
	default:
		return true
	}
}

// end makes the supervisor kill whatever it still runs, and end.
func (p *process) end() { p.conn.Close() }

// run runs one command from start to end.
func (p *process) run(ctx context.Context, c Command, out io.Writer) (Exit, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return Exit{}, fmt.Errorf("make output pipe: %w", err)
	}
	defer read.Close()
	files := []*os.File{write}
	for _, f := range []*os.File{c.Stdin, c.Result} {
		if f != nil {
			files = append(files, f)
		}
	}
	err = p.orders.send(order{Start: &start{Argv: c.Argv, Env: c.Env, Dir: c.Dir, User: c.User.credential(),
		Stdin: c.Stdin != nil, Result: c.Result != nil, Hide: c.Hide, Keep: c.Keep, Probe: c.probe}}, files...)
	write.Close()
	if err != nil {
		return Exit{}, p.died(err)
	}
	var work sync.WaitGroup
	var outErr error
	ended := make(chan struct{})
	work.Go(func() { outErr = p.copyOutput(read, out) })
	work.Go(func() { p.watch(ctx, c, ended) })
	rep, err := p.await()
	close(ended)
	// All are dead: what is left of the output is in the pipe. Only a stranger
	// that was handed the pipe could still hold it open.
	_ = read.SetReadDeadline(time.Now().Add(stragglerWait))
	work.Wait()
	if outErr != nil {
		return Exit{}, fmt.Errorf("copy output: %w", outErr)
	}
	return rep.Exit, err
}

// await returns when every process of the command is dead.
func (p *process) await() (report, error) {
	var rep report
	if err := p.reports.Decode(&rep); err != nil {
		return rep, p.died(err)
	}
	switch {
	case rep.Broken != "":
		p.spoiled.Store(true)
		return rep, errors.New(rep.Broken)
	case rep.Start != nil:
		return rep, rep.Start
	}
	return rep, nil
}

// watch turns the end of ctx into orders to the supervisor.
func (p *process) watch(ctx context.Context, c Command, ended <-chan struct{}) {
	select {
	case <-ended:
		return
	case <-ctx.Done():
	}
	p.stop(c.grace(context.Cause(ctx)))
	select {
	case <-ended:
	case <-c.Kill:
		p.stop(0)
	}
}

// stop tells the supervisor to end its command. An order that cannot be sent
// means that the supervisor is gone, and its command with it.
func (p *process) stop(grace time.Duration) {
	p.spoiled.Store(true)
	_ = p.orders.send(order{Stop: &stop{Grace: grace}})
}

// died ends a supervisor that broke its protocol, and says why it did.
func (p *process) died(err error) error {
	p.spoiled.Store(true)
	p.end()
	<-p.dead
	if p.err != nil {
		err = p.err
	}
	if said := strings.TrimSpace(string(p.stderr)); said != "" {
		return fmt.Errorf("supervisor ended early: %w: %s", err, said)
	}
	return fmt.Errorf("supervisor ended early: %w", err)
}

// tail keeps the end of what a supervisor says when it breaks.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	*t = (*t)[max(0, len(*t)-4096):]
	return len(p), nil
}
