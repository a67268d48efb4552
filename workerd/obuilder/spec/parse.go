package spec

import (
	"strings"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
)

// Parse reads a spec. Its errors are of type *sexp.Error.
func Parse(text string) (*Spec, error) {
	s, _, err := parse(text)
	return s, err
}

func parse(text string) (*Spec, []sexp.Comment, error) {
	node, comments, err := sexp.Read(text)
	if err != nil {
		return nil, nil, err
	}
	s, err := decode(node, nil)
	return s, comments, err
}

const shape = "a spec is ((build NAME SPEC)... (from IMAGE) OPERATION...)"

// decode reads a spec that may copy from the builds in scope.
func decode(n sexp.Node, scope []string) (*Spec, error) {
	if !n.List {
		return nil, sexp.Errorf(n.Start, "found %s instead of a spec: %s", sexp.Quote(n.Atom), shape)
	}
	s := &Spec{end: n.End}
	rest := n.Items
	for ; len(rest) > 0 && name(rest[0]) == "build"; rest = rest[1:] {
		b, err := decodeBuild(rest[0], scope)
		if err != nil {
			return nil, err
		}
		s.Builds = append(s.Builds, b)
		scope = append(scope[:len(scope):len(scope)], b.Name)
	}
	if len(rest) == 0 || name(rest[0]) != "from" {
		return nil, missingBase(n, rest)
	}
	var err error
	if s.From, err = decodeFrom(rest[0]); err != nil {
		return nil, err
	}
	s.from = spanOf(rest[0])
	for _, item := range rest[1:] {
		op, err := decodeOp(item, scope)
		if err != nil {
			return nil, err
		}
		s.Steps = append(s.Steps, Step{op, spanOf(item)})
	}
	return s, nil
}

// name is the first atom of a list, where there is one.
func name(n sexp.Node) string {
	if n.List && len(n.Items) > 0 && !n.Items[0].List {
		return n.Items[0].Atom
	}
	return ""
}

// missingBase explains a spec in which no (from IMAGE) comes after the builds.
func missingBase(n sexp.Node, rest []sexp.Node) error {
	switch {
	case len(n.Items) > 0 && !n.Items[0].List:
		return sexp.Errorf(n.Start, "this is a single operation: put it in another pair of parentheses after (from IMAGE), as in ((from IMAGE) (run (shell COMMAND)))")
	case len(rest) == 0:
		return sexp.Errorf(n.End, "the base is missing: add (from IMAGE) as the first item, after nested builds")
	}
	for _, item := range rest {
		if name(item) == "from" {
			return sexp.Errorf(rest[0].Start, "%s comes before the base: move (from IMAGE) in front of it", describe(rest[0]))
		}
	}
	return sexp.Errorf(rest[0].Start, "the base is missing: add (from IMAGE) before %s", describe(rest[0]))
}

// describe names an item in a message.
func describe(n sexp.Node) string {
	if word := name(n); word != "" {
		return "(" + sexp.Quote(word) + " ...)"
	}
	if n.List {
		return "this list"
	}
	return sexp.Quote(n.Atom)
}

func decodeBuild(n sexp.Node, scope []string) (Build, error) {
	if len(n.Items) != 3 {
		return Build{}, sexp.Errorf(n.Start, "a nested build is (build NAME SPEC)")
	}
	name, err := atom(n.Items[1], "the name of a build")
	if err == nil && name == "" {
		err = sexp.Errorf(n.Items[1].Start, "the name of a build is empty")
	}
	if err != nil {
		return Build{}, err
	}
	s, err := decode(n.Items[2], scope)
	return Build{Name: name, Spec: s, at: spanOf(n)}, err
}

func decodeFrom(n sexp.Node) (string, error) {
	image, err := only(n, "(from IMAGE)")
	if err == nil && (image == "" || strings.ContainsAny(image, " \t\n\r")) {
		err = sexp.Errorf(n.Items[1].Start, "%s is no image reference: write (from IMAGE), as in (from debian:bookworm)", sexp.Quote(image))
	}
	return image, err
}

var operations = []string{"comment", "workdir", "shell", "env", "user", "run", "copy"}

func decodeOp(n sexp.Node, scope []string) (Op, error) {
	switch name(n) {
	case "comment":
		text, err := only(n, "(comment TEXT)")
		return Comment{text}, err
	case "workdir":
		return decodeWorkdir(n)
	case "shell":
		return decodeShell(n)
	case "env":
		return decodeEnv(n)
	case "user":
		return decodeUser(n)
	case "run":
		return decodeRun(n)
	case "copy":
		return decodeCopy(n, scope)
	case "build":
		return nil, sexp.Errorf(n.Start, "a nested build must come before (from IMAGE): move it there")
	case "from":
		return nil, sexp.Errorf(n.Start, "a spec has one base: this (from ...) is its second; for another image use a nested build, (build NAME SPEC)")
	case "":
		return nil, sexp.Errorf(n.Start, "found %s instead of an operation: write one like (run (shell COMMAND))", describe(n))
	}
	return nil, sexp.Errorf(n.Start, "unknown operation %s%s", sexp.Quote(name(n)), suggest(name(n), operations))
}

// suggest ends a message about an unknown word.
func suggest(word string, known []string) string {
	if near, ok := nearest(word, known); ok {
		return ": did you mean " + sexp.Quote(near) + "?"
	}
	return ": use one of " + strings.Join(known, ", ")
}
