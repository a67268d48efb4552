package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/weirbuild/weir/fsm"
)

var update = flag.Bool("update", false, "rewrite the scripts' expected output")

// TestScripts runs testdata/*.txt: blocks of commands, a line of dashes, and
// what they print.
func TestScripts(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) { runScript(t, path) })
	}
}

func runScript(t *testing.T, path string) {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s := newScript(t)
	var out []string
	for block := range strings.SplitSeq(strings.TrimSpace(string(text)), "\n\n") {
		commands, want, _ := strings.Cut(block, "\n----")
		got := s.runBlock(commands)
		if want = strings.TrimPrefix(want, "\n"); want != got && !*update {
			t.Errorf("%s\n%s\n---- want\n%s\n---- got\n%s", path, commands, want, got)
		}
		if got != "" {
			got = "\n" + got
		}
		out = append(out, commands+"\n----"+got)
	}
	if *update {
		if err := os.WriteFile(path, []byte(strings.Join(out, "\n\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

type script struct {
	t           *testing.T
	pool        *Pool
	known       fakeHints
	jobs        map[fsm.JobID]Job
	holder      map[fsm.JobID]string
	suggestions map[string]*Suggestion
}

// fakeHints is which workers have which hint, the latest first.
type fakeHints map[string][]string

// fixed is a book that has measured nothing.
type fixed struct {
	fakeHints
	costs Costs
}

// Look implements Book.
func (f fixed) Look(_, hint string) ([]string, Costs) { return f.fakeHints[hint], f.costs }

func newScript(t *testing.T) *script {
	s := &script{
		t: t, known: fakeHints{}, jobs: map[fsm.JobID]Job{},
		holder: map[fsm.JobID]string{}, suggestions: map[string]*Suggestion{},
	}
	s.pool = New(Policy{}, fixed{s.known, Costs{Cached: 10_000, Uncached: 600_000}})
	s.pool.Resume()
	return s
}

func (s *script) runBlock(commands string) string {
	var out []string
	for line := range strings.SplitSeq(commands, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		if printed := s.command(parseArgs(line)); printed != "" {
			out = append(out, printed)
		}
		for _, g := range s.pool.Take() {
			s.holder[g.Job] = g.Worker
			place := ""
			if g.InPlaceOf != 0 {
				place = fmt.Sprintf(" for %d", g.InPlaceOf)
			}
			out = append(out, fmt.Sprintf("grant %d -> %s%s", g.Job, g.Worker, place))
		}
	}
	return strings.Join(out, "\n")
}

func (s *script) command(a args) string {
	id := a.job()
	switch a.verb {
	case "worker":
		s.pool.Join(Worker{Name: a.subject(), Slots: uint32(a.num("slots", 1)), Labels: a.labels(), Kinds: a.list("kinds"), Inactive: a.str("inactive")})
	case "leave":
		s.pool.Leave(a.subject())
	case "inactive":
		s.pool.SetInactive(a.subject(), a.str("why"))
	case "known":
		s.known[a.subject()] = strings.Split(a.str("workers"), ",")
	case "queue":
		s.jobs[id] = a.asJob(id)
		s.pool.Queue(s.jobs[id])
	case "cancel":
		s.pool.Remove(id)
	case "start": // the grant became a lease of the same number
		s.pool.Hold(s.lease(id))
		s.pool.Settle(id, false)
	case "lost": // the lease is over, and takes its key
		s.pool.Keep(fsm.LeaseID(id), s.jobs[id].Concurrency, s.jobs[id].AtMost)
		s.pool.Release(fsm.LeaseID(id))
	case "free":
		s.pool.Free(fsm.LeaseID(id))
	case "limits":
		s.pool.SetPolicy(Policy{MaxRunning: a.num("pool", 0), MaxRunningPerClient: a.num("client", 0), WideAfter: int64(a.num("wide", 0))})
	case "advance":
		s.pool.Advance(int64(a.num("to", 0)))
	case "client":
		s.pool.SetClientLimit(a.subject(), a.num("most", 0))
	case "end":
		s.pool.Release(fsm.LeaseID(id))
	case "refuse": // the grant was refused, and the job still waits
		s.pool.Settle(id, true)
	case "suggest":
		s.suggestions[a.subject()] = s.pool.Suggest(a.asJob(0))
		return fmt.Sprintf("suggest %s: %q", a.subject(), s.suggestions[a.subject()].Worker())
	case "withdraw":
		s.pool.Withdraw(s.suggestions[a.subject()])
	case "explain":
		r := s.pool.Explain(id, a.num("ahead", 0))
		return strings.Join(append([]string{r.Why}, r.Details...), "\n  ")
	case "reset":
		s.pool.Reset()
	case "resume":
		s.pool.Resume()
	case "show":
		return s.show()
	default:
		s.t.Fatalf("unknown command %q", a.verb)
	}
	return ""
}

func (s *script) lease(id fsm.JobID) Lease {
	j := s.jobs[id]
	return Lease{
		ID: fsm.LeaseID(id), Worker: s.holder[id], Job: id, Slots: j.Need.Slots, Client: j.Client,
		Key: j.Concurrency, AtMost: j.AtMost,
	}
}

func (s *script) show() string {
	var names []string
	for name := range s.pool.workers {
		names = append(names, name)
	}
	slices.Sort(names)
	out := []string{fmt.Sprintf("queued %d, free slots %d", s.pool.Queued(), s.pool.FreeSlots())}
	for _, name := range names {
		w := s.pool.workers[name]
		cost, jobs := s.pool.Workload(name)
		line := fmt.Sprintf("%s: %d of %d free, %d reserved, workload %d s", name, w.free(), w.slots, jobs, cost/1000)
		if w.claim != nil {
			line += fmt.Sprintf(", gathers for %d", w.claim.id)
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

// args is one line: a verb, a subject, and words that may have a value.
type args struct {
	verb  string
	words []string
}

func parseArgs(line string) args {
	words := strings.Fields(line)
	return args{words[0], words[1:]}
}

func (a args) subject() string {
	if len(a.words) == 0 {
		return ""
	}
	return a.words[0]
}

func (a args) job() fsm.JobID {
	n, _ := strconv.ParseUint(a.subject(), 10, 64)
	return fsm.JobID(n)
}

func (a args) has(word string) bool { return slices.Contains(a.words, word) }

func (a args) str(name string) string {
	for _, w := range a.words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return strings.ReplaceAll(v, "_", " ")
		}
	}
	return ""
}

func (a args) num(name string, otherwise int) int {
	n, err := strconv.Atoi(a.str(name))
	if err != nil {
		return otherwise
	}
	return n
}

func (a args) asJob(id fsm.JobID) Job {
	return Job{
		ID: id, Urgent: a.has("urgent"), FairStart: int64(a.num("fair", 0)), Hint: a.str("hint"), Need: a.need(),
		Client: a.str("client"), Priority: uint32(a.num("priority", 0)), Concurrency: a.str("key"), AtMost: uint32(a.num("most", 1)),
	}
}

func (a args) need() Need {
	return Need{Kind: a.str("kind"), Slots: uint32(a.num("slots", 1)), Labels: a.labels(), Avoid: a.list("avoid")}
}

func (a args) list(name string) []string {
	return slices.DeleteFunc(strings.Split(a.str(name), ","), func(s string) bool { return s == "" })
}

func (a args) labels() []fsm.Label {
	var labels []fsm.Label
	for pair := range strings.SplitSeq(a.str("labels"), ",") {
		if name, value, ok := strings.Cut(pair, ":"); ok {
			labels = append(labels, fsm.Label{Name: name, Value: value})
		}
	}
	return labels
}
