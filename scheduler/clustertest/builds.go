package clustertest

import (
	"context"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
)

// Builds stands for the programs that jobs run: it does what a job's arguments
// say, and remembers which leases were started, how often and with what log.
//
//	ok BYTES     write so many bytes and succeed
//	fail CODE    write a line and exit with the code
//	hold NAME    write a line, wait until Release(NAME), write another, succeed
//	stream NAME  write a line every few milliseconds until Release(NAME), succeed
type Builds struct {
	mu       sync.Mutex
	started  map[uint64]int
	payload  map[uint64]string // what a lease's build has written
	released map[string]chan struct{}
}

// NewBuilds returns builds that no worker runs yet.
func NewBuilds() *Builds {
	return &Builds{started: map[uint64]int{}, payload: map[uint64]string{}, released: map[string]chan struct{}{}}
}

// Job is the description of a job that does what the arguments say.
func Job(args ...string) *pb.JobSpec {
	return &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: args}}}
}

// Release lets the builds that hold a name go on, now and later.
func (b *Builds) Release(name string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-b.gate(name):
	default:
		close(b.gate(name))
	}
}

func (b *Builds) gate(name string) chan struct{} {
	if b.released[name] == nil {
		b.released[name] = make(chan struct{})
	}
	return b.released[name]
}

// Started returns how often each lease was started.
func (b *Builds) Started() map[uint64]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := map[uint64]int{}
	for lease, n := range b.started {
		all[lease] = n
	}
	return all
}

// Payload returns what the build of a lease has written.
func (b *Builds) Payload(lease uint64) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.payload[lease]
}

// Run is one attempt; see executor.Executor.
func (b *Builds) Run(ctx context.Context, t executor.Task, out io.Writer) (*pb.Outcome, error) {
	b.mu.Lock()
	b.started[t.Lease]++
	b.mu.Unlock()
	argv := t.Spec.GetCommand().GetArgv()
	if len(argv) != 2 {
		return nil, fmt.Errorf("run %q: want a verb and an argument", argv)
	}
	if err := b.write(t, out, fmt.Sprintf("job %s attempt %d\n", t.Job, t.Attempt)); err != nil {
		return nil, err
	}
	switch argv[0] {
	case "ok":
		n, err := strconv.Atoi(argv[1])
		if err != nil {
			return nil, err
		}
		return succeeded(), b.write(t, out, filler(t.Job, n))
	case "fail":
		code, err := strconv.Atoi(argv[1])
		return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_FAILED, ExitCode: int32(code)}, err
	case "hold":
		return b.hold(ctx, t, out, argv[1])
	case "stream":
		return b.stream(ctx, t, out, argv[1])
	}
	return nil, fmt.Errorf("run %q: unknown verb", argv)
}

func succeeded() *pb.Outcome { return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED} }

func (b *Builds) await(name string) <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.gate(name)
}

func (b *Builds) stream(ctx context.Context, t executor.Task, out io.Writer, name string) (*pb.Outcome, error) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for i := 0; ; i++ {
		if err := b.write(t, out, fmt.Sprintf("line %d\n", i)); err != nil {
			return nil, err
		}
		select {
		case <-b.await(name):
			return succeeded(), nil
		case <-ticker.C:
		case <-ctx.Done():
			return executor.Ended(ctx)
		}
	}
}

func (b *Builds) hold(ctx context.Context, t executor.Task, out io.Writer, name string) (*pb.Outcome, error) {
	gate := b.await(name)
	select {
	case <-gate:
		return succeeded(), b.write(t, out, "released\n")
	case <-ctx.Done():
		return executor.Ended(ctx)
	}
}

func (b *Builds) write(t executor.Task, out io.Writer, text string) error {
	b.mu.Lock()
	b.payload[t.Lease] += text
	b.mu.Unlock()
	_, err := io.WriteString(out, text)
	return err
}

// filler is n bytes of lines that are different for each job.
func filler(job string, n int) string {
	var s strings.Builder
	for i := 0; s.Len() < n; i++ {
		fmt.Fprintf(&s, "job %s line %d\n", job, i)
	}
	return s.String()[:n]
}
