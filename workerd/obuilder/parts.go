package obuilder

import (
	"context"
	"io"
	"time"

	"github.com/weirbuild/weir/workerd/logins"
	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

// Store keeps file trees by id, and caches by name. It does not know what they
// are for, nor which are in use. Package storetest tests an implementation.
type Store interface {
	// Create begins the tree id as a private copy of the kept tree base, or as an
	// empty one when base is "". It is kept once the draft is committed.
	Create(id, base string) (Draft, error)
	// Open gives the whole of a kept tree to read until it is closed.
	Open(id string) (View, error)
	// List gives the ids of all kept trees.
	List() ([]string, error)
	// Delete forgets a kept tree, on which no other is based and which nobody
	// has open. Deleting what is not there is no error.
	Delete(id string) error
	// Cache gives a private copy of the newest version of a cache; a new cache is
	// an empty directory of the owner's. Committing the draft makes it the newest
	// version, unless there is a newer one than it began with: then it is dropped.
	Cache(name string, owner spec.User) (Draft, error)
	// Sync makes everything kept so far outlast a crash of the machine. Before
	// that it outlasts only a crash of the process.
	Sync() error
	Close() error
}

// Draft is a tree that is being made. It ends with exactly one of Commit and
// Discard.
type Draft interface {
	Dir() string // on the host
	Commit() error
	Discard() error
}

// View is a tree that is being read.
type View interface {
	Dir() string // on the host
	Close() error
}

// Sandbox runs commands. Package sandboxtest tests an implementation.
type Sandbox interface {
	// Run runs a command with root as its root directory until it ends, and leaves
	// no process of it. Its standard input is at its end; both outputs go to out.
	// When ctx is done the command is stopped, and the error is ctx's cause.
	Run(ctx context.Context, root string, c Command, out io.Writer) (Exit, error)
	Close() error
}

// Command is a command and what it finds around it.
type Command struct {
	Argv    []string
	Env     []string // NAME=VALUE
	Dir     string   // made when it is missing
	User    spec.User
	Network string // "": only the loopback interface; or spec.HostNetwork
	Binds   []Bind
	Secrets []Secret
	Limits  Limits

	// Grace answers, for the cause of the context's end, how long the command's
	// processes have between SIGTERM and SIGKILL. Those that do not heed SIGTERM
	// are killed at once. Nil: all are.
	Grace func(cause error) time.Duration
	// Kill, once closed, ends a grace period that runs. Nil never does.
	Kill <-chan struct{}
}

// Bind is a directory of the host that the command may write to.
type Bind struct{ Source, Target string }

// Secret is a file that only the command's user can read.
type Secret struct {
	Target string
	Value  []byte
}

// Limits bound a command. Zero means that the sandbox's own limit applies, and
// nothing goes beyond that.
type Limits struct {
	CPUs   float64
	Memory int64 // bytes
	PIDs   int64
}

// Exit is how a command ended.
type Exit struct {
	Code        int
	OutOfMemory bool // a process was killed at the memory limit
}

// Fetcher gets base images. Package fetchtest tests an implementation.
type Fetcher interface {
	// Fetch unpacks the image that ref names into the empty directory dir. What
	// it tells people goes to out. A *Failure says that the reference is wrong, or
	// that neither the logins nor the machine's own give access to it.
	Fetch(ctx context.Context, ref string, l *logins.Set, dir string, out io.Writer) (Image, error)
	// Private says whether an image is one for these logins, which then not
	// everybody may have. It asks the registry: a *Failure says that they give no
	// access to it.
	Private(ctx context.Context, ref string, l *logins.Set) (bool, error)
}

// Image is a fetched base image.
type Image struct {
	Digest string   // of its manifest: sha256:...
	Env    []string // NAME=VALUE, from its configuration
}
