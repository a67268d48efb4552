package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

var update = flag.Bool("update", false, "rewrite the scripts' expected output")

// TestScripts runs testdata/*.txt: blocks of a script's lines, a line of dashes,
// and what they print. Each block goes on where the one before has ended.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { runFile(t, path) })
	}
}

func runFile(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var printed []string
	s := newScript(t, &printed)
	var out []string
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		lines, want, _ := strings.Cut(block, "\n----")
		printed = nil
		for line := range strings.SplitSeq(lines, "\n") {
			if err := s.Line(line); err != nil {
				printed = append(printed, "error: "+err.Error())
			}
		}
		if err := s.cluster.state.Check(); err != nil {
			t.Fatalf("after\n%s\nthe state is not sound: %v", lines, err)
		}
		got := strings.Join(printed, "\n")
		if want = strings.TrimPrefix(want, "\n"); want != got && !*update {
			t.Errorf("%s\n---- want\n%s\n---- got\n%s", lines, want, got)
		}
		if got != "" {
			got = "\n" + got
		}
		out = append(out, lines+"\n----"+got)
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(out, "\n\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// newScript makes a script that appends what it prints, with the time when that
// is not 0.
func newScript(t *testing.T, printed *[]string) *Script {
	s, err := NewScript()
	if err != nil {
		t.Fatal(err)
	}
	s.Print = func(at time.Duration, line string) {
		if at > 0 {
			line = fmt.Sprintf("%v %s", at, line)
		}
		*printed = append(*printed, line)
	}
	s.Show = func(_ time.Time, view *pb.PoolView) error {
		p := view.Pool
		*printed = append(*printed, fmt.Sprintf("%d queued, %d running, %d free slots", p.Queued, p.Running, p.FreeSlots))
		for _, v := range view.Workers {
			w := v.Worker
			*printed = append(*printed, fmt.Sprintf("%s: %s, %d of %d slots, %d reserved of %v", w.Name, w.State,
				w.Running, w.Slots, v.ReservedJobs, time.Duration(v.WorkloadMs)*time.Millisecond))
		}
		return nil
	}
	return s
}

// An error names its line.
func TestErrorsNameTheLine(t *testing.T) {
	for _, c := range []struct{ script, says string }{
		{"\nworkr w1\n", `line 2: unknown word "workr"; use one of costs, policy, limits, worker`},
		{"worker w1 slot=2", `line 1: worker w1 slot=2: unknown word "slot=2"`},
		{"worker w1\nworker w2 slots=0", `line 2: worker w2 slots=0: slots=0 is not a positive number`},
		{"worker w1 slots=9999", `9999 slots are out of range`},
		{"worker w1 labels=os", `"os" is not a label, as os=linux`},
		{"submit a", "say whose it is: client=NAME"},
		{"submit a client=c\nsubmit a client=c", "line 2: submit a client=c: there is a job a already"},
		{"submit a client=c takes=3s", "give both times"},
		{"submit a client=", "client= has no value"},
		{"finish a", "there is no job a"},
		{"submit a client=c\nfinish a", "it does not run: it is queued"},
		{"advance soon", `"soon" is not a time`},
		{"advance", "it needs a time"},
		{"advance 1s 2s", `unknown word "2s"`},
		{"rate c fast", `"fast" is not a rate`},
		{"rate c 0", "rate 0 is not allowed"},
		{"leave w1", "there is no worker w1"},
		{"worker w1\nleave w1\nleave w1", "line 3: leave w1: worker w1 is not connected"},
		{"forget w1", `there is no worker "w1"`},
		{"worker w1\nsubmit a client=c\nforget w1", "holds 1 leases"},
		{"costs cached=1s", "give both"},
		{"policy learn=maybe", "learn=maybe is neither on nor off"},
		{"policy lern=on", `unknown word "lern=on"`},
		{"failover now", `unknown word "now"`},
	} {
		var printed []string
		err := newScript(t, &printed).Run(strings.NewReader(c.script))
		if err == nil || !strings.HasPrefix(err.Error(), "line ") || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q: %v; want a line and %q", c.script, err, c.says)
		}
	}
}
