package supervise

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sync/errgroup"
)

func TestReportsHowItEnded(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runner) {
		for script, want := range map[string]Exit{
			"exit 0":                      {},
			"exit 7":                      {Code: 7},
			"exit 255":                    {Code: 255},
			"kill -KILL $$":               {Code: -1, Signal: syscall.SIGKILL},
			"kill -SEGV $$":               {Code: -1, Signal: syscall.SIGSEGV},
			"sh -c 'kill -TERM $$'; true": {},
		} {
			if got, _ := run(t, r, shell("m", script)); got != want {
				t.Errorf("%q: got %v, want %v", script, got, want)
			}
		}
	})
}

func TestOutputIsOneStreamInOrder(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runner) {
		var want strings.Builder
		for i := range 200 {
			fmt.Fprintf(&want, "out %d\nerr %d\n", i, i)
		}
		_, got := run(t, r, shell("m", `i=0; while [ $i -lt 200 ]; do echo out $i; echo err $i >&2; i=$((i+1)); done`))
		if got != want.String() {
			t.Errorf("got %q", got)
		}
	})
}

func TestStartsCleanly(t *testing.T) {
	// Some callers ignore a signal that only the C library uses.
	if errno := setAction(firstReserved, &kernelAction{handler: sigIgn}, nil); errno != 0 {
		t.Fatal(errno)
	}
	defer setAction(firstReserved, &kernelAction{}, nil)
	eachMode(t, func(t *testing.T, r *Runner) {
		_, out := run(t, r, shell("m", `env | sort
			echo fds $(ls /proc/self/fd)
			echo stdin $(readlink /proc/self/fd/0)
			echo umask $(umask) core $(ulimit -c)
			grep -E 'NoNewPrivs|SigIgn|SigBlk|CapAmb' /proc/self/status
			[ $(cut -d' ' -f6 /proc/$$/stat) = $$ ] && echo own session
			cut -d' ' -f7 /proc/$$/stat | sed 's/^/tty /'`))
		for _, want := range []string{
			"PATH=/usr/bin:/bin\nPWD=/\nSUPERVISE_TEST_MARK=m\nfds 0 1 2 3\n", // 3 is ls's own
			"stdin /dev/null\n", "umask 0022 core 0\n", "own session\n", "tty 0\n",
			"NoNewPrivs:\t1\n", "SigIgn:\t0000000000000000\n", "SigBlk:\t0000000000000000\n", "CapAmb:\t0000000000000000\n",
		} {
			if !strings.Contains(out, want) {
				t.Errorf("%q is not in %q", want, out)
			}
		}
	})
}

func TestOwnProcAndNoCapabilities(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runner) {
		_, out := run(t, r, shell("m", `set -- /proc/[0-9]*; echo $#; grep CapEff /proc/self/status`))
		fields := strings.Fields(out)
		if r.Mode.Hides() && len(fields[0]) > 1 {
			t.Errorf("%s processes show in a private /proc", fields[0])
		}
		if os.Geteuid() != 0 && fields[2] != "0000000000000000" {
			t.Errorf("the command has capabilities %s", fields[2])
		}
	})
}

func TestInheritedFilesAreClosed(t *testing.T) {
	f, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	leak, err := syscall.Dup(int(f.Fd())) // without close-on-exec, as a careless parent leaves it
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(leak)
	eachMode(t, func(t *testing.T, r *Runner) {
		if _, out := run(t, r, shell("m", "echo $(ls /proc/self/fd)")); out != "0 1 2 3\n" {
			t.Errorf("open files: %q", out)
		}
	})
}

func TestCannotBeStarted(t *testing.T) {
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"plain": 0o644, "no-interpreter": 0o755} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/no/such/interpreter\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	eachMode(t, func(t *testing.T, r *Runner) {
		for argv0, want := range map[string]int{
			"no-such-program": 127, "./no-such": 127, "/no/such": 127, "./no-interpreter": 127,
			"./plain": 126, "plain": 126, "/usr": 126,
		} {
			c := Command{Argv: []string{argv0}, Dir: dir, Env: []string{"PATH=/usr/bin:" + dir}}
			_, err := r.Run(t.Context(), c, io.Discard)
			var fault *StartError
			if !errors.As(err, &fault) || fault.Code() != want {
				t.Errorf("%s: %v, want a StartError of code %d", argv0, err, want)
			}
		}
		huge := shell("m", "true")
		huge.Env = append(huge.Env, "HUGE="+strings.Repeat("x", 1<<20))
		var fault *StartError
		if _, err := r.Run(t.Context(), huge, io.Discard); !errors.As(err, &fault) || fault.Errno != syscall.E2BIG {
			t.Errorf("a huge variable: %v", err)
		}
	})
}

func TestRefusesNonsense(t *testing.T) {
	r := &Runner{Mode: Subreaper}
	t.Cleanup(r.Close)
	for _, c := range []Command{
		{Dir: "/"}, {Argv: []string{""}, Dir: "/"}, {Argv: []string{"true"}, Dir: "relative"},
		{Argv: []string{"true", "a\x00b"}, Dir: "/"}, {Argv: []string{"true"}, Env: []string{"A=\x00"}, Dir: "/"},
		{Argv: []string{"true"}, Dir: "/no/such/directory"},
	} {
		if _, err := r.Run(t.Context(), c, io.Discard); err == nil {
			t.Errorf("%+v was run", c)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("gone")
	cancel(gone)
	if _, err := r.Run(ctx, shell("m", "true"), io.Discard); !errors.Is(err, gone) {
		t.Errorf("a context that is over: %v", err)
	}
	hooked.Store(false)
	defer hooked.Store(true)
	if _, err := r.Run(t.Context(), shell("m", "true"), io.Discard); err == nil {
		t.Error("ran without the hook in main")
	}
}

func TestFailedOutputKillsTheCommand(t *testing.T) {
	full := errors.New("disk full")
	eachMode(t, func(t *testing.T, r *Runner) {
		mark := newMark(t)
		_, err := r.Run(t.Context(), shell(mark, "trap '' TERM; while :; do echo more; done"), writeFunc(func([]byte) (int, error) { return 0, full }))
		if !errors.Is(err, full) {
			t.Errorf("got %v", err)
		}
		if left := alive(mark); len(left) > 0 {
			t.Errorf("still alive: %v", left)
		}
	})
}

type writeFunc func([]byte) (int, error)

func (f writeFunc) Write(p []byte) (int, error) { return f(p) }

// TestAStrangerHoldsThePipe: the output ends with the command even if a process
// that is not the command's keeps the pipe open, and nothing written is lost.
func TestAStrangerHoldsThePipe(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	eachMode(t, func(t *testing.T, r *Runner) {
		held := make(chan []int, 1)
		go func() { held <- takeFile(l) }()
		exe, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if os.Geteuid() != 0 {
			exe = copyOf(t, "/proc/self/exe")
		}
		c := Command{Argv: []string{exe}, Dir: "/", Env: append(self("give-out").Env, "SOCKET="+socket)}
		_, out := run(t, r, c)
		fds := <-held
		if len(fds) != 1 {
			t.Fatalf("the stranger got %v", fds)
		}
		defer syscall.Close(fds[0])
		if out != "given\n" {
			t.Errorf("output %q", out)
		}
	})
}

func takeFile(l net.Listener) []int {
	conn, err := l.Accept()
	if err != nil {
		return nil
	}
	defer conn.Close()
	oob := make([]byte, 64)
	_, n, _, _, err := conn.(*net.UnixConn).ReadMsgUnix(make([]byte, 1), oob)
	if err != nil {
		return nil
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return nil
	}
	fds, _ := syscall.ParseUnixRights(&messages[0])
	_, _ = conn.Write([]byte("y"))
	return fds
}

func TestHiddenDirectories(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"mine", "theirs"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, dir, "file"), []byte(dir), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	eachMode(t, func(t *testing.T, r *Runner) {
		if !r.Mode.Hides() {
			t.Skip("not in this mode")
		}
		c := shell("m", "ls $ROOT; cat mine/file; echo changed > mine/new; touch $ROOT/new 2>/dev/null && echo writable; umount $ROOT 2>/dev/null && echo unmounted; true")
		c.Env = append(c.Env, "ROOT="+root)
		c.Dir, c.Hide, c.Keep = root, []string{root}, []string{filepath.Join(root, "mine")}
		want := "mine\nmine"
		if os.Geteuid() == 0 {
			c.Argv[2] = strings.Replace(c.Argv[2], "umount $ROOT 2>/dev/null && echo unmounted;", "", 1)
		}
		if _, out := run(t, r, c); out != want {
			t.Errorf("got %q, want %q", out, want)
		}
		if _, err := os.Stat(filepath.Join(root, "mine", "new")); err != nil {
			t.Errorf("what it made in its own directory: %v", err)
		}
		entries, err := os.ReadDir(root)
		if err != nil || len(entries) != 2 {
			t.Errorf("outside: %v, %v", entries, err)
		}
	})
}

func TestUsers(t *testing.T) {
	if _, err := LookupUser("no-such-user-here"); err == nil {
		t.Error("found a user that is not there")
	}
	if _, err := LookupUser("root"); err == nil {
		t.Error("root may be a job user")
	}
	u, err := LookupUser("65534")
	if err != nil || u.UID != nobody {
		t.Fatalf("nobody: %+v, %v", u, err)
	}
	if os.Geteuid() != 0 {
		if _, err := LookupUser("daemon"); err == nil {
			t.Error("nobody may become daemon")
		}
		return
	}
	eachMode(t, func(t *testing.T, r *Runner) {
		c := shell("m", "id -u; id -g; id -G; grep -E 'Cap(Eff|Prm|Amb)' /proc/self/status; kill -KILL $PPID 2>/dev/null && echo killed; cat /proc/$PPID/environ 2>/dev/null; true")
		c.User = u
		_, out := run(t, r, c)
		none := "0000000000000000\n"
		if want := "65534\n65534\n65534\nCapPrm:\t" + none + "CapEff:\t" + none + "CapAmb:\t" + none; out != want {
			t.Errorf("got %q, want %q", out, want)
		}
	})
}

func TestNewTakesTheBestMode(t *testing.T) {
	r, err := New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	if !slices.Contains(modes(), r.Mode) || (r.Lesser != nil) != (r.Mode == Subreaper) {
		t.Errorf("mode %s, because %v", r.Mode, r.Lesser)
	}
	t.Logf("%s", r.Mode)
}

// TestWithoutChildrenFiles compares the two ways to find a process's children.
func TestWithoutChildrenFiles(t *testing.T) {
	cmd := exec.Command("sleep", "1000")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	for _, list := range []func(int) []int{children, childrenByScan} {
		if found := list(os.Getpid()); !slices.Contains(found, cmd.Process.Pid) {
			t.Errorf("%d is not in %v", cmd.Process.Pid, found)
		}
	}
}

// TestSupervisorsAreUsedAgain: one command after the other has one supervisor,
// commands at the same time have one each, and Close ends them all.
func TestSupervisorsAreUsedAgain(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runner) {
		r.Close() // the probe's
		r = &Runner{Mode: r.Mode}
		supervisors := func() int { return len(children(os.Getpid())) }
		before := supervisors()
		for i := range 20 {
			mark := newMark(t)
			exit, out := run(t, r, shell(mark, fmt.Sprintf("sleep 1000 & echo %d; exit %d", i, i)))
			if exit != (Exit{Code: i}) || out != fmt.Sprintf("%d\n", i) || len(alive(mark)) > 0 {
				t.Errorf("command %d: %v, %q, alive: %v", i, exit, out, alive(mark))
			}
		}
		if n := supervisors() - before; n != 1 {
			t.Errorf("20 commands one after the other had %d supervisors", n)
		}
		var group errgroup.Group
		for range 4 {
			group.Go(func() error {
				_, err := r.Run(t.Context(), shell("m", "sleep 0.5"), io.Discard)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Error(err)
		}
		if n := supervisors() - before; n < 1 || n > 4 {
			t.Errorf("4 commands at a time left %d supervisors", n)
		}
		r.Close()
		if n := supervisors() - before; n != 0 {
			t.Errorf("%d supervisors are left after Close", n)
		}
		if _, err := r.Run(t.Context(), shell("m", "true"), io.Discard); !errors.Is(err, errClosed) {
			t.Errorf("run after Close: %v", err)
		}
	})
}

// TestDeadSupervisor: one that was killed fails its own command and no later one.
func TestDeadSupervisor(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runner) {
		mine := children(os.Getpid())
		_, err := r.Run(t.Context(), shell("m", "echo ready; exec sleep 1000"), &onFirstWrite{do: func() {
			for _, pid := range mine {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}})
		if err == nil {
			t.Error("no error from a command whose supervisor died")
		}
		if exit, out := run(t, r, shell("m", "echo fine")); !exit.Ok() || out != "fine\n" {
			t.Errorf("the next command: %v, %q", exit, out)
		}
	})
}

// A command gets its input, and a fourth file for its result, where it is given them.
func TestInputAndResult(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runner) {
		for _, c := range []struct{ in, result bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
			command := shell("m", `cat; if [ -e /proc/self/fd/3 ]; then echo result >&3; fi`)
			want, wantResult := "", ""
			if c.in {
				want = "input\n"
				command.Stdin = tempFile(t, want)
			}
			if c.result {
				wantResult = "result\n"
				command.Result = tempFile(t, "")
			}
			if exit, out := run(t, r, command); !exit.Ok() || out != want {
				t.Errorf("%+v: %v, output %q", c, exit, out)
			}
			if c.result {
				if got, err := os.ReadFile(command.Result.Name()); err != nil || string(got) != wantResult {
					t.Errorf("%+v: result %q, %v", c, got, err)
				}
			}
		}
	})
}

// tempFile is a file that is read from its beginning.
func tempFile(t *testing.T, content string) *os.File {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "")
	if err == nil {
		t.Cleanup(func() { f.Close() })
		_, err = f.WriteString(content)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		t.Fatal(err)
	}
	return f
}
