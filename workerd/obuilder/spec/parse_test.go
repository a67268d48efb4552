package spec

import (
	"errors"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
)

func TestParse(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`((from a))`, `((from a))`},
		{`((from a) (comment "b c") (workdir d) (shell /bin/sh -c) (env E "") (user (gid 2) (uid 1)))`,
			`((from a) (comment "b c") (workdir d) (shell /bin/sh -c) (env E "") (user (uid 1) (gid 2)))`},
		{`((from a) (run (shell "b c") (secrets (s (target /s))) (network host) (cache (d (target /d)) (e (buildkit_options ((f g))) (target /e)))))`,
			`((from a) (run (cache (d (target /d)) (e (target /e) (buildkit_options ((f g))))) (network host) (secrets (s (target /s))) (shell "b c")))`},
		{`((from a) (run (cache) (network) (secrets) (shell b)) (run (network none) (shell c)))`, `((from a) (run (shell b)) (run (shell c)))`},
		{`((from a) (copy (exclude .git x) (dst d/) (src a b) (from context)) (copy (src .) (dst .) (exclude)))`,
			`((from a) (copy (src a b) (dst d/) (exclude .git x)) (copy (src .) (dst .)))`},
		{`((build b ((from c))) (build d ((build e ((from f) (copy (from (build b)) (src g) (dst h)))) (from i) (copy (from (build e)) (src j) (dst k))))
		   (from l) (copy (from (build d)) (src /m) (dst n)))`,
			`((build b ((from c))) (build d ((build e ((from f) (copy (from (build b)) (src g) (dst h)))) (from i) (copy (from (build e)) (src j) (dst k)))) (from l) (copy (from (build d)) (src /m) (dst n)))`},
	} {
		s, err := Parse(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := oneLineSpec(s); got != c.want {
			t.Errorf("%s was read as\n%s, want\n%s", c.text, got, c.want)
		}
	}
}

func oneLineSpec(s *Spec) string {
	var parts []string
	for _, b := range s.Builds {
		parts = append(parts, "(build "+sexp.Quote(b.Name)+" "+oneLineSpec(b.Spec)+")")
	}
	parts = append(parts, oneLine(list("from", s.From)))
	for _, step := range s.Steps {
		parts = append(parts, step.String())
	}
	return "(" + strings.Join(parts, " ") + ")"
}

// badInput is what is refused: the text, where, and what the message must say.
var badInput = []struct {
	text         string
	line, column int
	says         string
}{
	{"run", 1, 1, "found run instead of a spec"},
	{"(run (shell a))", 1, 1, "in another pair of parentheses after (from IMAGE)"},
	{"(from a)", 1, 1, "in another pair of parentheses"},
	{"()", 1, 2, "the base is missing: add (from IMAGE)"},
	{"((build a ((from b))))", 1, 22, "the base is missing"},
	{"((run (shell a)))", 1, 2, "the base is missing: add (from IMAGE) before (run ...)"},
	{"((run (shell a))\n (from b))", 1, 2, "(run ...) comes before the base: move (from IMAGE)"},
	{"((from))", 1, 2, "write (from IMAGE): one argument"},
	{"((from \"a b\"))", 1, 8, "no image reference"},
	{"((from a)\n (from b))", 2, 2, "a spec has one base"},
	{"((from a)\n (build b ((from c))))", 2, 2, "must come before (from IMAGE)"},
	{"((build a) (from b))", 1, 2, "(build NAME SPEC)"},
	{"((build \"\" ((from b))) (from b))", 1, 9, "name of a build is empty"},
	{"((build a b) (from b))", 1, 11, "found b instead of a spec"},
	{"((from a)\n\n  (rnu (shell b)))", 3, 3, "unknown operation rnu: did you mean run?"},
	{"((from a) (entrypoint b))", 1, 11, "unknown operation entrypoint: use one of comment, workdir, shell, env, user, run, copy"},
	{"((from a) b)", 1, 11, "found b instead of an operation"},
	{"((from a) ((run (shell b))))", 1, 11, "found this list instead of an operation"},
	{"((from a) (comment b c))", 1, 11, "write (comment TEXT)"},
	{"((from a) (comment (b)))", 1, 20, "is a list"},
	{"((from a) (comment \"\\000\"))", 1, 20, "zero byte"},
	{"((from a) (comment \"\\200\"))", 1, 20, "UTF-8"},
	{"((from a) (workdir \"\"))", 1, 20, "the directory is empty"},
	{"((from a) (shell))", 1, 11, "the shell is empty"},
	{"((from a) (env b))", 1, 11, "write (env NAME VALUE)"},
	{"((from a) (env b c d))", 1, 11, "double quotes"},
	{"((from a) (env b=c d))", 1, 16, "no name of a variable"},
	{"((from a) (user (name b)))", 1, 11, "users by name are for Windows"},
	{"((from a) (user (uid 1)))", 1, 11, "(gid ...) is missing"},
	{"((from a) (user (uid 1) (gid 4294967295)))", 1, 30, "write a number from 0 to 4294967294"},
	{"((from a) (user (uid -1) (gid 1)))", 1, 22, "-1 is no uid"},
	{"((from a) (user (uid 1) (uid 2) (gid 1)))", 1, 25, "user has the field uid twice"},
	{"((from a) (user b))", 1, 17, "fields are lists that begin with uid or gid"},
	{"((from a) (run \"b c\"))", 1, 16, "found \"b c\" instead of a field of run: fields are lists that begin with cache, network, secrets or shell"},
	{"((from a) (run (network host)))", 1, 11, "write (run (shell COMMAND))"},
	{"((from a) (run (shell b c)))", 1, 16, "one argument, in double quotes"},
	{"((from a) (run (shel b)))", 1, 16, "run has no field shel: did you mean shell?"},
	{"((from a) (run (network lan) (shell b)))", 1, 16, "unknown network lan: write (network host)"},
	{"((from a) (run (network host host) (shell b)))", 1, 16, "unknown network"},
	{"((from a) (run (cache b) (shell c)))", 1, 23, "a cache is (NAME (target PATH))"},
	{"((from a) (run (cache (b)) (shell c)))", 1, 23, "write (b (target PATH))"},
	{"((from a) (run (cache (b (target c))) (shell c)))", 1, 34, "write an absolute path"},
	{"((from a) (run (cache (b (target /c/..))) (shell c)))", 1, 34, "below /"},
	{"((from a) (run (cache (b (target /c))) (secrets (d (target /c/))) (shell c)))", 1, 11, "two caches or secrets have the target /c"},
	{"((from a) (run (secrets (b (path /c))) (shell c)))", 1, 28, "secret b has no field path"},
	{"((from a) (run (cache (b (target /c) (buildkit_options (d e)))) (shell c)))", 1, 57, "(buildkit_options ((NAME VALUE) ...))"},
	{"((from a) (copy (dst b)))", 1, 11, "nothing to copy"},
	{"((from a) (copy (src) (dst b)))", 1, 11, "nothing to copy"},
	{"((from a) (copy (src b)))", 1, 11, "(dst ...) is missing"},
	{"((from a) (copy (src b) (dst \"\")))", 1, 30, "write . for the working directory"},
	{"((from a) (copy (src \"\") (dst b)))", 1, 22, "write . for everything"},
	{"((from a) (copy (src b/../c) (dst d)))", 1, 22, ".. is not allowed"},
	{"((from a) (copy (src b) (dst ../c)))", 1, 30, ".. is not allowed"},
	{"((from a) (copy (src b c) (dst d)))", 1, 32, "write (dst d/)"},
	{"((from a) (copy (from b) (src c) (dst d)))", 1, 17, "write (from (build NAME))"},
	{"((from a) (copy (from (build dev)) (src b) (dst c)))", 1, 23, "add (build dev SPEC) in front of (from IMAGE)"},
	{"((build dev ((from a))) (from a)\n (copy (from (build dve)) (src b) (dst c)))", 2, 14, "unknown build dve: did you mean dev?"},
	{"((build a ((build b ((from c))) (from d))) (from e) (copy (from (build b)) (src f) (dst g)))", 1, 65, "unknown build b: use one of a"},
	{"((build a ((from b) (copy (from (build c)) (src d) (dst e)))) (build c ((from f))) (from g))", 1, 33, "no build comes before this"},
	{"((from a)", 1, 1, "add the missing )"},
}

func TestBadInput(t *testing.T) {
	for _, c := range badInput {
		s, err := Parse(c.text)
		var fault *sexp.Error
		if !errors.As(err, &fault) || s != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if (fault.Pos != sexp.Pos{Line: c.line, Column: c.column}) || !strings.Contains(fault.Text, c.says) {
			t.Errorf("%s\n  says %v\n  want %d:%d %s", c.text, err, c.line, c.column, c.says)
		}
	}
}

func TestNearest(t *testing.T) {
	for _, c := range []struct {
		word, want string
	}{{"rnu", "run"}, {"coppy", "copy"}, {"RUN", "run"}, {"wrokdir", "workdir"}, {"x", ""}, {strings.Repeat("run", 100), ""}} {
		if got, ok := nearest(c.word, operations); got != c.want && ok || ok != (c.want != "") {
			t.Errorf("%s: %q, %v, want %q", c.word, got, ok, c.want)
		}
	}
}
