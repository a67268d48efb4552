package sim

import (
	"bufio"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// Script runs the events of a script, a line at a time.
type Script struct {
	// Print is told of each decision, in words.
	Print func(at time.Duration, line string)
	// Show shows the pool.
	Show func(now time.Time, pool *pb.PoolView) error

	cluster *Cluster
	ids     map[string]fsm.JobID
	names   map[fsm.JobID]string
	config  *pb.PoolConfig
	naming  string // the job that is being submitted
}

// NewScript makes a script that has run nothing yet.
func NewScript() (*Script, error) {
	s := &Script{ids: map[string]fsm.JobID{}, names: map[fsm.JobID]string{}, config: roomy()}
	var err error
	s.cluster, err = New(s.config, Observer{Started: s.started, Ended: s.ended})
	return s, err
}

// roomy is a pool as one is created, but for a queue that takes whatever comes.
func roomy() *pb.PoolConfig {
	config := &pb.PoolConfig{MaxQueued: fsm.MaxQueued, MaxQueuedPerClient: fsm.MaxQueued}
	Default.apply(config)
	return config
}

// Run runs all lines. An error names the line.
func (s *Script) Run(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	no := 0
	for lines.Scan() {
		no++
		if err := s.Line(lines.Text()); err != nil {
			return fmt.Errorf("line %d: %w", no, err)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("line %d: %w", no+1, err)
	}
	return nil
}

// Line runs one line.
func (s *Script) Line(line string) error {
	line, _, _ = strings.Cut(line, "#")
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil
	}
	verb, ok := verbs[words[0]]
	if !ok {
		return fmt.Errorf("unknown word %q; use one of %s", words[0], verbNames)
	}
	a := &arguments{verb: words[0], words: words[1:]}
	if err := verb(s, a); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(words, " "), err)
	}
	return nil
}

const verbNames = "costs, policy, limits, worker, leave, pause, unpause, forget, rate, submit, finish, cancel, advance, failover, show"

var verbs = map[string]func(*Script, *arguments) error{
	"costs":    (*Script).costs,
	"policy":   (*Script).policy,
	"limits":   (*Script).limits,
	"worker":   (*Script).worker,
	"leave":    onWorker((*Cluster).Leave),
	"pause":    onWorker(func(c *Cluster, name string) error { return c.SetPaused(name, true) }),
	"unpause":  onWorker(func(c *Cluster, name string) error { return c.SetPaused(name, false) }),
	"forget":   onWorker((*Cluster).Forget),
	"rate":     (*Script).rate,
	"submit":   (*Script).submit,
	"finish":   (*Script).finish,
	"cancel":   (*Script).cancel,
	"advance":  (*Script).advance,
	"failover": (*Script).failover,
	"show":     (*Script).show,
}

func onWorker(do func(*Cluster, string) error) func(*Script, *arguments) error {
	return func(s *Script, a *arguments) error {
		name := a.subject("a worker's name")
		if err := a.done(); err != nil {
			return err
		}
		return do(s.cluster, name)
	}
}

func (s *Script) costs(a *arguments) error {
	cached, uncached := a.duration("cached"), a.duration("uncached")
	if err := a.done(); err != nil {
		return err
	}
	if cached <= 0 || uncached <= 0 {
		return fmt.Errorf("give both: costs cached=2s uncached=10s")
	}
	s.config.CachedCostMs, s.config.UncachedCostMs = cached.Milliseconds(), uncached.Milliseconds()
	Fixed.apply(s.config)
	return s.cluster.Configure(s.config)
}

func (s *Script) policy(a *arguments) error {
	p := policyOf(s.config)
	for _, choice := range p.choices() {
		*choice.on = a.onOff(choice.name, *choice.on)
	}
	if err := a.done(); err != nil {
		return err
	}
	p.apply(s.config)
	return s.cluster.Configure(s.config)
}

// limits are the pool's on running jobs, and how long a wide job is passed over; what
// is not given has its default.
func (s *Script) limits(a *arguments) error {
	s.config.MaxRunning, s.config.MaxRunningPerClient = int64(a.count("running")), int64(a.count("per-client"))
	s.config.WideAfterMs = a.duration("wide-after").Milliseconds()
	if err := a.done(); err != nil {
		return err
	}
	return s.cluster.Configure(s.config)
}

func (s *Script) worker(a *arguments) error {
	name, slots, labels := a.subject("a worker's name"), a.number("slots"), a.labels("labels")
	if err := a.done(); err != nil {
		return err
	}
	return s.cluster.Connect(name, slots, labels)
}

func (s *Script) rate(a *arguments) error {
	client := a.subject("a client's name")
	rate := a.rate()
	if err := a.done(); err != nil {
		return err
	}
	return s.cluster.SetRate(client, rate)
}

func (s *Script) submit(a *arguments) error {
	name := a.subject("a job's name")
	job := Submission{
		Client: a.text("client"), Hint: a.text("hint"), Urgent: a.flag("urgent"), Slots: a.number("slots"),
		Labels: a.labels("labels"), Takes: a.takes("takes"),
		Concurrency: a.concurrency("concurrency"), Priority: a.count("priority"),
	}
	if err := a.done(); err != nil {
		return err
	}
	if _, used := s.ids[name]; used {
		return fmt.Errorf("there is a job %s already", name)
	}
	if job.Client == "" {
		return fmt.Errorf("say whose it is: client=NAME")
	}
	s.naming = name
	id, err := s.cluster.Submit(job)
	if err != nil {
		return err
	}
	s.ids[name], s.names[id] = id, name
	return nil
}

// job finds the job that a line names.
func (s *Script) job(a *arguments) (fsm.JobID, error) {
	name := a.subject("a job's name")
	if a.err != nil {
		return 0, a.err
	}
	id, ok := s.ids[name]
	if !ok {
		return 0, fmt.Errorf("there is no job %s", name)
	}
	return id, nil
}

func (s *Script) finish(a *arguments) error {
	id, err := s.job(a)
	if err != nil {
		return err
	}
	kind := pb.OutcomeKind_OUTCOME_SUCCEEDED
	if a.flag("failed") {
		kind = pb.OutcomeKind_OUTCOME_FAILED
	}
	if err := a.done(); err != nil {
		return err
	}
	return s.cluster.Finish(id, kind)
}

func (s *Script) cancel(a *arguments) error {
	id, err := s.job(a)
	if err != nil {
		return err
	}
	if err := a.done(); err != nil {
		return err
	}
	return s.cluster.Cancel(id)
}

func (s *Script) advance(a *arguments) error {
	by := a.subject("a time, as 30s")
	if err := a.done(); err != nil {
		return err
	}
	d, err := parseDuration(by)
	if err != nil {
		return err
	}
	return s.cluster.Advance(d)
}

func (s *Script) failover(a *arguments) error {
	if err := a.done(); err != nil {
		return err
	}
	return s.cluster.Failover()
}

func (s *Script) show(a *arguments) error {
	if err := a.done(); err != nil {
		return err
	}
	return s.Show(time.UnixMilli(s.cluster.now), s.cluster.Show())
}

func (s *Script) started(j *fsm.Job, a *fsm.Attempt) {
	s.Print(s.cluster.Now(), "start "+s.nameOf(j.ID)+" "+a.Worker)
}

func (s *Script) ended(j *fsm.Job) {
	s.Print(s.cluster.Now(), "end "+s.nameOf(j.ID)+" "+fsm.OutcomeName(j.Outcome.GetKind()))
}

// nameOf is the script's name of a job; one that starts while it is submitted
// has no other yet.
func (s *Script) nameOf(id fsm.JobID) string {
	if name, ok := s.names[id]; ok {
		return name
	}
	return s.naming
}
