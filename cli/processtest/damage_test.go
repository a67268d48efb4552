package processtest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/cli/local"
)

// damage is what happens to a node's data while it is down.
type damage struct {
	name string
	do   func(t *testing.T, data string)
	file string // must be named
}

// TestDamagedStores starts a node on stores that something else has written to:
// it says which file is damaged and what to do, and neither panics nor goes on
// as if nothing were the matter.
func TestDamagedStores(t *testing.T) {
	t.Parallel()
	shared := []damage{
		{"stable store cut off", cutOff("stable.db"), "stable.db"},
		{"stable store overwritten", overwrite("stable.db", 0, 1<<20), "stable.db"},
		{"stable store gone", remove("stable.db"), "stable.db"},
		{"node id", overwrite("node-id", 0, 8), "node-id"},
		{"node id gone", remove("node-id"), "node-id"},
		{"cluster id", overwrite("cluster-id", 0, 8), "cluster-id"},
	}
	for store, damages := range map[string][]damage{
		"bolt": append([]damage{
			{"log cut off", cutOff("log.db"), "log.db"},
			{"both heads of the log", overwrite("log.db", 0, 8192), "log.db"},
			{"all of the log but its heads", overwrite("log.db", 8192, 1<<30), "log.db"},
			{"log emptied", truncate("log.db", 0), "log.db"},
			{"log gone", remove("log.db"), "log.db"},
		}, shared...),
		"wal": append([]damage{
			{"segment overwritten", overwrite("log/*.wal", 0, 1<<20), "log"},
			{"middle of a segment", overwrite("log/*.wal", 2000, 200), "log"},
			{"segment cut off", truncate("log/*.wal", 1000), "log"},
			{"segment gone", remove("log/*.wal"), "log"},
			{"meta store overwritten", overwrite("log/wal-meta.db", 0, 1<<20), "log"},
			{"meta store cut off", cutOff("log/wal-meta.db"), "log"},
			{"log gone", remove("log"), "log"},
		}, shared...),
	} {
		t.Run(store, func(t *testing.T) {
			w := start(t, local.Config{Nodes: 1, LogStore: store})
			node := w.cluster.Nodes[0]
			for i := range 50 {
				w.pool(fmt.Sprint("pool-", i), nil)
			}
			w.must(node.Process.Stop())
			node.Process = nil
			for _, d := range damages {
				t.Run(strings.ReplaceAll(d.name, " ", "-"), func(t *testing.T) { startDamaged(t, w, node, d) })
			}
			// What was not damaged is as it was.
			w.revive(node)
			if out := w.ok(w.adminAt, "pool", "list"); strings.Count(out, "pool-") != 50 {
				t.Errorf("pools after a restart: %s", out)
			}
		})
	}
}

// startDamaged starts a copy of the node, damaged.
func startDamaged(t *testing.T, w *world, node *local.Node, d damage) {
	data := filepath.Join(w.cluster.Dir, "damaged", t.Name())
	w.must(os.MkdirAll(filepath.Dir(data), 0o700))
	w.must(exec.Command("cp", "-a", node.DataDir(), data).Run())
	d.do(t, data)
	own := w.in(t)
	c := own.begin("", "server", "--name", node.Name, "--data-dir", data, "--listen", node.Address, "--http-listen", "",
		"--tls-dir", node.TLSDir(), "--bootstrap-expect", "1", "--profile", "local", "--log-store", w.cluster.LogStore)
	own.until("the node to end, or to go on", func() bool { return c.over() || c.err.has("entering follower state") })
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // it should have ended
	a := c.wait()
	last := a.err[strings.LastIndex(strings.TrimSpace(a.err), "\n")+1:]
	t.Logf("exit code %d: %s", a.code, strings.TrimSpace(last))
	if a.code != 7 || !strings.HasPrefix(last, "weir: ") || !strings.Contains(last, filepath.Join(data, d.file)) || !strings.Contains(last, "start empty") {
		t.Errorf("exit code %d, and not a line with the file and what to do: %s", a.code, a.err)
	}
	for _, word := range []string{"panic", "goroutine ", "SIGSEGV", "SIGBUS"} {
		if strings.Contains(a.err, word) {
			t.Errorf("it says %q: %s", word, a.err)
		}
	}
}

func one(t *testing.T, data, pattern string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(data, pattern))
	if err != nil || len(found) != 1 {
		t.Fatalf("%s: %v, %v", pattern, found, err)
	}
	return found[0]
}

func truncate(pattern string, size int64) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		if err := os.Truncate(one(t, data, pattern), size); err != nil {
			t.Fatal(err)
		}
	}
}

// cutOff leaves the first third of a file.
func cutOff(pattern string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		file := one(t, data, pattern)
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		truncate(pattern, info.Size()/3)(t, data)
	}
}

// overwrite writes over some bytes of a file, at most to its end.
func overwrite(pattern string, from, size int) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		file := one(t, data, pattern)
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		to := min(from+size, len(content))
		copy(content[from:to], bytes.Repeat([]byte("damaged "), (to-from)/8+1))
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func remove(pattern string) func(*testing.T, string) {
	return func(t *testing.T, data string) {
		if err := os.RemoveAll(one(t, data, pattern)); err != nil {
			t.Fatal(err)
		}
	}
}
