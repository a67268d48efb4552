package obuilder_test

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder/fetch"
)

// crashEnv makes this test binary the engine that is killed: the mirror, the
// kind of store, the root and the step.
const crashEnv = "WEIR_TEST_CRASHING_ENGINE"

// TestCrashingEngine is no test: it builds until it is killed.
func TestCrashingEngine(t *testing.T) {
	args := strings.SplitN(os.Getenv(crashEnv), "|", 4)
	if len(args) != 4 {
		t.Skip("it is run by TestCrash")
	}
	mirror, err := fetch.ParseMirror(args[0])
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{T: t, root: args[2], mirror: mirror}
	b.open(args[1])
	fmt.Println("engine opened")
	id, log := b.build(b.request(args[3]))
	t.Fatalf("the build ended: %s\n%s", id, log)
}

// A killed engine leaves a running container, mounts and half a result. The next
// one removes them, keeps the steps that were complete, and builds the rest.
func TestCrash(t *testing.T) {
	for kind := range stores {
		t.Run(kind, func(t *testing.T) {
			b := newBench(t, kind)
			b.close() // only the directory is wanted
			g := newGate(t)
			steps := `(run (cache (c (target /c))) (shell "echo kept > /c/f; echo complete"))` +
				strings.Replace(g.step("echo ended"), "(run ", "(run (cache (c (target /c))) ", 1)
			engine := exec.Command(os.Args[0], "-test.run=^TestCrashingEngine$", "-test.v")
			engine.Env = append(os.Environ(), crashEnv+"="+strings.Join([]string{"docker.io=http://" + b.mirror.Host, kind, b.root, steps}, "|"))
			engine.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			out, err := engine.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := engine.Start(); err != nil {
				t.Fatal(err)
			}
			for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "engine opened"; {
			}
			at := g.arrival()
			if err := engine.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = engine.Wait()
			if _, err := at.Write([]byte("x")); err != nil {
				t.Errorf("the container did not outlive its engine, so that nothing is tested: %v", err)
			}
			b.open(kind)
			b.nothingLeft()
			_ = at.Close()
			if b.Count() != 2 {
				t.Errorf("%d results, want the base and the first step", b.Count())
			}
			go g.openAll()
			_, log := b.build(b.request(steps))
			if strings.Count(log, "from cache") != 2 || strings.Count(log, "ended\n---> saved") != 1 {
				t.Errorf("the log is\n%s", log)
			}
			_, log = b.build(b.request(`(run (cache (c (target /c))) (shell "cat /c/f"))`))
			if !strings.Contains(log, "\nkept\n") {
				t.Errorf("the cache was lost:\n%s", log)
			}
		})
	}
}
