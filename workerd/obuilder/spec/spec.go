// Package spec is OBuilder's language for builds: reading it, writing it, and
// translating it to a Dockerfile.
//
// It promises that what it accepted can be run as far as the text alone can
// tell: operations, fields, names and paths are checked, and an error names the
// place and what to write instead. What it prints reads back as the same spec.
// It refuses to look at anything but the text.
package spec

import "github.com/weirbuild/weir/workerd/obuilder/sexp"

// Spec is how to make one root file system: begin with an image, then do one
// step after the other.
type Spec struct {
	Builds []Build // come first; steps may copy from them
	From   string  // an image reference
	Steps  []Step

	from span
	end  sexp.Pos
}

// Secrets are the ids of the secrets that the spec asks for, in order.
func (s *Spec) Secrets() []string {
	var ids []string
	for _, b := range s.Builds {
		ids = append(ids, b.Spec.Secrets()...)
	}
	for _, step := range s.Steps {
		if run, ok := step.Op.(Run); ok {
			for _, m := range run.Secrets {
				ids = append(ids, m.ID)
			}
		}
	}
	return ids
}

// Build is a nested spec with a name.
type Build struct {
	Name string
	Spec *Spec
	at   span
}

// Step is an operation and its place in the text.
type Step struct {
	Op
	at span
}

// Place is where the step begins.
func (s Step) Place() sexp.Pos { return s.at.start }

type span struct{ start, end sexp.Pos }

func spanOf(n sexp.Node) span { return span{n.Start, n.End} }

// Op is one of the operations below. String is its canonical text on one line.
type Op interface {
	node() sexp.Node
	String() string
}

// Comment is logged and means nothing else.
type Comment struct{ Text string }

// Workdir changes the directory that later steps start in.
type Workdir struct{ Dir string }

// Shell is what runs the commands of later steps.
type Shell struct{ Args []string }

// Env sets a variable of later commands.
type Env struct{ Name, Value string }

// User is who later commands run as and who owns what later steps copy.
type User struct{ UID, GID uint32 }

// Run runs a command in the shell.
type Run struct {
	Caches  []Mount
	Network string // empty: only the loopback interface; or HostNetwork
	Secrets []Mount
	Command string
}

// HostNetwork is the network of the machine itself.
const HostNetwork = "host"

// Mount is a cache or a secret and where a command finds it.
type Mount struct {
	ID      string
	Target  string
	Options []Option // for Dockerfiles only
}

// Option is an option of BuildKit's --mount.
type Option struct{ Name, Value string }

// Copy copies files from the context, or from a nested build.
type Copy struct {
	From    string // a nested build; empty: the context
	Sources []string
	Dest    string // with a final slash: the directory to copy into
	Exclude []string
}
