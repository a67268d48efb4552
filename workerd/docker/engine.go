package docker

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// Engine builds images.
type Engine interface {
	// Build builds the image of a request. What its steps print goes to out, as
	// they run. A *Failure is the build's own, a *Stumble may be over in a moment,
	// any other error is the machine's. When ctx is done the build is stopped.
	Build(ctx context.Context, r Request, out io.Writer) error
	// Push pushes the image that Build has built, and gives its digest there.
	Push(ctx context.Context, r Request, out io.Writer) (digest string, err error)
	// Forget removes the image that Build has built, where the engine would keep it
	// until somebody removes it.
	Forget(ctx context.Context, r Request) error
}

// Request is one build.
type Request struct {
	Context    string // a directory that only the worker can reach
	Dockerfile string // a file, in the context or not
	Job        *pb.DockerJob
	Hide       [][]byte // values that nothing which is kept of the build may show
	Sources    string   // what the context and the arguments are made of
	Scratch    string   // a private directory of the build
	Secrets    []string // ids of the secrets that the build's steps may ask for
	SecretDir  string   // a private directory in memory, with a file for each; "": there are none

	CgroupParent string // of the steps; "": the engine's own

	Grace func(cause error) time.Duration // see supervise.Command
	Kill  <-chan struct{}
}

// ConfigDir is the private configuration directory of docker programs.
func (r Request) ConfigDir() string {
	if r.SecretDir != "" {
		return filepath.Join(r.SecretDir, ".config") // no secret's id begins so
	}
	return filepath.Join(r.Scratch, "config")
}

// Failure says why a build failed for a reason of its own.
type Failure struct {
	Text     string
	ExitCode int // of the step's program; 0 where it was not that
}

func (f *Failure) Error() string { return f.Text }

func failed(format string, args ...any) *Failure { return &Failure{Text: fmt.Sprintf(format, args...)} }

// Stumble is an error of a registry, or of the way to it, that may be over in a
// moment.
type Stumble struct{ Text string }

func (s *Stumble) Error() string { return s.Text }
