package fsm_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
)

var update = flag.Bool("update", false, "rewrite the expected output of testdata/*.txt")

const divider = "----"

// TestScripts runs testdata/*.txt: blocks of commands, each followed by ---- and
// what they print, up to an empty line. After every command the state is checked.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { runScript(t, file) })
	}
}

func runScript(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	r := &script{t: t, state: fsm.New()}
	var out strings.Builder
	for block := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n\n") {
		input, want, _ := strings.Cut(block+"\n", "\n"+divider+"\n")
		input = strings.TrimSuffix(input, "\n")
		got := r.block(input)
		if !*update && got != want {
			t.Errorf("%s:\n%s\nprinted\n%swanted\n%s", file, input, got, want)
		}
		fmt.Fprintf(&out, "%s\n%s\n%s\n", input, divider, got)
	}
	if *update {
		if err := os.WriteFile(file, []byte(strings.TrimRight(out.String(), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

type script struct {
	t     *testing.T
	state *fsm.State
	now   int64
}

func (r *script) block(input string) string {
	var out strings.Builder
	for line := range strings.SplitSeq(input, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		text, err := r.line(line)
		if err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
		out.WriteString(text)
		if err := r.state.Check(); err != nil {
			r.t.Fatalf("%s: %v", line, err)
		}
	}
	return out.String()
}

// line runs one line: at MS, show .., ahead JOB, trimmable POOL MAX, restart, or a
// command.
func (r *script) line(line string) (string, error) {
	words := strings.Fields(line)
	switch words[0] {
	case "at":
		ms, err := strconv.ParseInt(words[1], 10, 64)
		r.now = ms
		return "", err
	case "show":
		return show(r.state, words[1:])
	case "ahead":
		id, _ := strconv.ParseUint(words[1], 10, 64)
		j, err := r.state.Job(fsm.JobID(id))
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("%d\n", r.state.Ahead(j)), nil
	case "trimmable":
		most, err := strconv.Atoi(words[2])
		return fmt.Sprintf("%d\n", r.state.Trimmable(r.now, words[1], most)), err
	case "restart":
		return r.restart()
	}
	c, err := fsmtest.Parse(line)
	if err != nil {
		return "", err
	}
	return fsmtest.Render(r.state.Apply(fsmtest.At(r.now, c))), nil
}

// restart goes on with a state restored from a snapshot.
func (r *script) restart() (string, error) {
	var snapshot bytes.Buffer
	if _, err := r.state.WriteTo(&snapshot); err != nil {
		return "", err
	}
	restored := fsm.New()
	if err := restored.Restore(&snapshot); err != nil {
		return "", err
	}
	if restored.Hash() != r.state.Hash() {
		return "", errors.New("the restored state differs")
	}
	r.state = restored
	return "", nil
}

// show prints a part of the state: job ID, jobs, queue POOL, pools, workers,
// hints POOL HINT, costs, clients, shares, caps, or counters.
func show(s *fsm.State, words []string) (string, error) {
	var b strings.Builder
	switch words[0] {
	case "job":
		id, _ := strconv.ParseUint(words[1], 10, 64)
		j, err := s.Job(fsm.JobID(id))
		if err != nil {
			return fmt.Sprintf("%s: %v\n", err.(*fsm.Refusal).Kind, err), nil
		}
		fmt.Fprintln(&b, fsmtest.RenderJob(j))
	case "jobs":
		for j := range s.AllJobs() {
			fmt.Fprintln(&b, fsmtest.RenderJob(j))
		}
	case "queue":
		for j := range s.Queue(words[1]) {
			fmt.Fprintln(&b, fsmtest.RenderJob(j))
		}
	case "pools":
		for p := range s.Pools() {
			fmt.Fprintf(&b, "%s queued=%d backoff=%d running=%d settled=%d workers=%d hints=%d%s\n",
				p.Name, p.Queued, p.Backoff, p.Running, p.Settled, p.Workers, p.Hints, showPause(p.Pause))
		}
	case "workers":
		for w := range s.Workers("") {
			fmt.Fprintf(&b, "%s/%s slots=%d used=%d leases=%d labels=%v since=%d%s\n",
				w.Pool, w.Name, w.Slots, w.Used, w.Leases, w.Labels, w.FirstSeen, showPause(w.Pause))
		}
	case "hints":
		for h := range s.HintWorkers(words[1], words[2]) {
			fmt.Fprintf(&b, "%s used=%d\n", h.Worker, h.Used)
		}
	case "costs":
		for c := range s.Costs("") {
			fmt.Fprintf(&b, "%s client=%s hint=%s plain=%v cached=%d uncached=%d used=%d\n", c.Pool, c.Client, c.Hint, c.Plain, c.Cached, c.Uncached, c.Used)
		}
	case "clients":
		for c := range s.Clients() {
			fmt.Fprintf(&b, "%s rate=%v\n", c.Name, c.Rate)
		}
	case "shares":
		for h := range s.Shares("") {
			fmt.Fprintf(&b, "%s/%s next=%d waiting=%d running=%d\n", h.Pool, h.Client, h.Next, h.Waiting, h.Running)
		}
	case "caps":
		for c := range s.Capabilities() {
			fmt.Fprintf(&b, "%s %v client=%s pools=%v revoked=%d\n", c.ID, c.Kind, c.Client, c.Pools, c.Revoked)
		}
	case "counters":
		fmt.Fprintf(&b, "now=%d level=%d epoch=%d last-job=%d due=%d\n", s.Now(), s.FeatureLevel(), s.Epoch(), s.LastJob(), s.Due())
	default:
		return "", fmt.Errorf("show what? %v", words)
	}
	return b.String(), nil
}

func showPause(p *fsm.Pause) string {
	if p == nil {
		return ""
	}
	return fmt.Sprintf(" paused=%d reason=%q", p.Since, p.Reason)
}
