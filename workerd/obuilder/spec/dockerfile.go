package spec

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
)

// Dockerfile translates a spec. With buildKit its runs have caches and secrets.
//
// What a Dockerfile cannot say is lost: what a copy excludes, and networks. A
// spec that never names a shell means bash; Docker takes the image's own.
func (s *Spec) Dockerfile(buildKit bool) (string, error) {
	d := &dockerfile{buildKit: buildKit, used: map[string]bool{}}
	if err := d.stage(s, "", nil); err != nil {
		return "", err
	}
	return d.out.String(), nil
}

// dockerfile is one that is being written.
type dockerfile struct {
	out      strings.Builder
	buildKit bool
	used     map[string]bool // names of stages
}

func (d *dockerfile) line(format string, args ...any) {
	fmt.Fprintf(&d.out, format+"\n", args...)
}

// stage writes a spec's builds and then itself. stages has the names that the
// builds in scope got here: a Dockerfile has but one scope.
func (d *dockerfile) stage(s *Spec, name string, stages map[string]string) error {
	inner := map[string]string{}
	for build, stage := range stages {
		inner[build] = stage
	}
	for _, b := range s.Builds {
		stage := d.name(b.Name)
		if err := d.stage(b.Spec, stage, inner); err != nil {
			return err
		}
		inner[b.Name] = stage
		d.line("")
	}
	if name != "" {
		name = " as " + name
	}
	d.line("FROM %s%s", s.From, name)
	c := &stage{dockerfile: d, stages: inner, shell: []string{"/usr/bin/env", "bash", "-c"}}
	for _, step := range s.Steps {
		if err := c.step(step); err != nil {
			return err
		}
	}
	return nil
}

// name makes a build's name one of a stage that nothing else has.
func (d *dockerfile) name(build string) string {
	base := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(build))
	if base[0] < 'a' || base[0] > 'z' {
		base = "stage-" + base
	}
	name := base
	for i := 2; d.used[name]; i++ {
		name = base + "-" + strconv.Itoa(i)
	}
	d.used[name] = true
	return name
}

// stage is one whose steps are being written.
type stage struct {
	*dockerfile
	stages map[string]string
	user   User
	shell  []string
}

func (c *stage) step(s Step) error {
	switch op := s.Op.(type) {
	case Comment:
		for text := range strings.SplitSeq(op.Text, "\n") {
			c.line("%s", strings.TrimRight("# "+text, " \r"))
		}
	case Workdir:
		if strings.ContainsAny(op.Dir, "\n\r") {
			return inexpressible(s, "a directory with a line break")
		}
		c.line("WORKDIR %s", literal(op.Dir))
	case Shell:
		c.shell = op.Args
		c.line("SHELL %s", array(op.Args))
	case Env:
		if strings.ContainsAny(op.Value, "\n\r") || strings.ContainsAny(op.Name, " \t\n\r\"'\\$") {
			return inexpressible(s, "this variable")
		}
		c.line(`ENV %s="%s"`, op.Name, literal(op.Value))
	case User:
		c.user = op
		c.line("USER %d:%d", op.UID, op.GID)
	case Run:
		return c.run(s, op)
	case Copy:
		c.copy(op)
	}
	return nil
}

func inexpressible(s Step, what string) error {
	return sexp.Errorf(s.at.start, "a Dockerfile cannot say %s: change it, or build this spec as it is", what)
}

func (c *stage) copy(op Copy) {
	var flags string
	if c.user != (User{}) {
		flags += fmt.Sprintf("--chown=%d:%d ", c.user.UID, c.user.GID)
	}
	if op.From != "" {
		flags += "--from=" + c.stages[op.From] + " "
	}
	words := append(op.Sources[:len(op.Sources):len(op.Sources)], op.Dest)
	bare := true
	for i, w := range words {
		words[i] = strings.ReplaceAll(w, "$", `\$`)
		bare = bare && !strings.ContainsAny(w, " \t\n\r\"'\\$[<")
	}
	if bare {
		c.line("COPY %s%s", flags, strings.Join(words, " "))
	} else {
		c.line("COPY %s%s", flags, array(words))
	}
}

// literal keeps Docker from expanding text.
func literal(text string) string {
	return strings.NewReplacer(`\`, `\\`, `"`, `\"`, "$", `\$`).Replace(text)
}

// array is the JSON form of words.
func array(words []string) string {
	var quoted []string
	for _, w := range words {
		var b strings.Builder
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		_ = e.Encode(w) // a string always encodes
		quoted = append(quoted, strings.TrimSuffix(b.String(), "\n"))
	}
	return "[ " + strings.Join(quoted, ", ") + " ]"
}
