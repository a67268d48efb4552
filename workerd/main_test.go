package workerd

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/supervise"
)

// The roles in which the test binary starts itself again.
const (
	envRole     = "WEIR_TEST_ROLE"
	roleWorker  = "worker"
	roleEnviron = "environ"
)

func TestMain(m *testing.M) {
	supervise.Main()
	switch os.Getenv(envRole) {
	case roleWorker:
		os.Exit(beWorker())
	case roleEnviron:
		os.Exit(beEnviron())
	default:
		os.Exit(m.Run())
	}
}

// beWorker is a worker process that can be killed and stopped.
func beWorker() int {
	cfg := Default()
	cfg.Connect, cfg.StateDir = os.Getenv("WEIR_TEST_CAP"), os.Getenv("WEIR_TEST_STATE")
	cfg.Name, cfg.Pool, cfg.AllowCommand, cfg.JobUser, cfg.MetricsListen = "w", "p", true, "nobody", ""
	if err := cfg.Complete(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	w, err := Open(cfg, scripted(newScript()), hclog.New(&hclog.LoggerOptions{Level: hclog.Debug}))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	if err := w.Run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 3
	}
	return 0
}

// beEnviron prints what the process still shows of its environment once the
// capability was taken out of it.
func beEnviron() int {
	if _, err := takeCapability(""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	b, err := os.ReadFile("/proc/self/environ")
	fmt.Printf("%s\n%s\n%v", b, strings.Join(os.Environ(), "\n"), err)
	return 0
}

// script is an executor that does what the first word of a job's argv says.
type script struct {
	started chan uint64 // leases, as their jobs begin
	release chan struct{}
}

func newScript() *script {
	return &script{started: make(chan uint64, 100), release: make(chan struct{})}
}

func scripted(s *script) Build {
	return func(Env) (map[string]executor.Executor, error) {
		return map[string]executor.Executor{"command": s}, nil
	}
}

// Run implements executor.Executor.
func (s *script) Run(ctx context.Context, t executor.Task, out io.Writer) (*pb.Outcome, error) {
	s.started <- t.Lease
	if _, err := fmt.Fprintln(out, "output of", t.Job); err != nil {
		return nil, err
	}
	switch t.Spec.GetCommand().Argv[0] {
	case "ok":
		return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}, nil
	case "fail":
		return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_FAILED, ExitCode: 7, Message: "exit code 7\nand \xff more"}, nil
	case "break":
		return nil, fmt.Errorf("clone repository: no route to host")
	case "panic":
		panic("a bug")
	case "wait": // ends politely when asked, or when released
		select {
		case <-ctx.Done():
			return executor.Ended(ctx)
		case <-s.release:
			return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}, nil
		}
	case "chatty": // prints more than a small disk holds
		line := []byte(strings.Repeat("x", 8<<10-1) + "\n")
		for range 1 << 10 {
			if _, err := out.Write(line); err != nil {
				return nil, err
			}
		}
		select {
		case <-ctx.Done():
			return executor.Ended(ctx)
		case <-s.release:
			return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}, nil
		}
	case "stubborn": // ends only when killed
		<-t.Kill
		return executor.Ended(ctx)
	}
	return nil, fmt.Errorf("no such script")
}
