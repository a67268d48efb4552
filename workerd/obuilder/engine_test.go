package obuilder_test

import (
	"context"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/workerd/obuilder"
)

var anID = regexp.MustCompile(`[0-9a-f]{64}`)

// The same log again, with another note for each step.
func TestCachedStepsReplayTheirLogs(t *testing.T) {
	onEach(t, func(b *bench) {
		r := b.request(`(comment "two lines
here") (run (shell "echo one; cat /proc/sys/kernel/random/uuid")) (workdir /x) (run (shell "pwd; printf end"))`)
		id, log := b.build(r)
		want := regexp.MustCompile(`^\(from busybox\)
busybox is sha256:ID
---> saved as "ID"
\(shell /bin/sh -c\)
\(comment "two lines\\nhere"\)
\(run \(shell "echo one; cat /proc/sys/kernel/random/uuid"\)\)
one
[0-9a-f-]{36}
---> saved as "ID"
\(workdir /x\)
\(run \(shell "pwd; printf end"\)\)
/x
end
---> saved as "ID"
$`)
		if got := anID.ReplaceAllString(log, "ID"); !want.MatchString(got) {
			b.Errorf("the log is\n%s", got)
		}
		if hits, misses := b.count("cache_hits_total"), b.count("cache_misses_total"); hits != 0 || misses != 3 || b.Count() != 3 {
			b.Errorf("%d hits, %d misses, %d results", hits, misses, b.Count())
		}
		again, replayed := b.build(r)
		cached := regexp.MustCompile(`---> using ("[0-9a-f]{64}") from cache`).ReplaceAllString(replayed, "---> saved as $1")
		if again != id || cached != log || strings.Contains(replayed, "saved") {
			b.Errorf("result %s, then %s; the log\n%s\nthen\n%s", id, again, log, replayed)
		}
		if hits, misses := b.count("cache_hits_total"), b.count("cache_misses_total"); hits != 3 || misses != 3 {
			b.Errorf("%d hits, %d misses", hits, misses)
		}
	})
}

func TestContext(t *testing.T) {
	b := newBench(t, "overlay")
	_, log := b.build(b.request(`
		(run (shell "echo $ORIGIN $PATH; pwd; id -u"))
		(env ORIGIN "not $PATH") (workdir a) (workdir b/c) (user (uid 7) (gid 8))
		(run (shell "echo $ORIGIN; pwd; id -u; id -g"))
		(workdir /d) (shell /bin/sh -c "echo by $0: $1" x)
		(run (shell "a b"))`))
	for _, want := range []string{"\nbusybox /bin\n/\n0\n", "\nnot $PATH\n/a/b/c\n7\n8\n", "\nby x: a b\n"} {
		if !strings.Contains(log, want) {
			b.Errorf("no %q in\n%s", want, log)
		}
	}
}

// What may change without a new result, and what may not.
func TestWhatResultsDependOn(t *testing.T) {
	b := newBench(t, "overlay")
	const run = `(run (network host) (shell "echo a"))`
	id, _ := b.build(b.request(run))
	for steps, same := range map[string]bool{
		run + `(comment x)(env A b)`: true,
		`(comment x)` + run:          true,
		`(workdir /)` + run:          true,
		`(run (network host) (cache (c (target /c))) (shell "echo a"))`: true,
		`(run (shell "echo a"))`:              false,
		`(env A b)` + run:                     false,
		`(workdir /x)` + run:                  false,
		`(user (uid 1) (gid 0))` + run:        false,
		`(shell /bin/busybox sh -c)` + run:    false,
		`(run (network host) (shell "true"))`: false,
	} {
		if other, _ := b.build(b.request(steps)); (other == id) != same {
			b.Errorf("%s has the same result: %v", steps, !same)
		}
	}
}

// Passed variables are seen, count for nothing, and never win.
func TestPassedVariables(t *testing.T) {
	b := newBench(t, "overlay")
	r := b.request(`(env SET spec) (run (shell "echo $PASSED, $SET, $PATH"))`)
	r.Passed = []string{"PASSED=1 2", "SET=worker", "PATH=/nowhere"}
	id, log := b.build(r)
	if !strings.Contains(log, "\n1 2, spec, /bin\n") {
		b.Error(log)
	}
	r.Passed = nil
	if again, _ := b.build(r); again != id {
		b.Error("a passed variable is part of the result")
	}
}

func TestNestedBuilds(t *testing.T) {
	onEach(t, func(b *bench) {
		// From the base, from an earlier step and from the last one: a copy sees them all.
		_, log := b.build(obuilder.Request{Spec: b.parse(`
			((build one ((from busybox) (shell /bin/sh -c) (env LEAK x) (workdir /leak)
			   (run (shell "mkdir /d; echo 1 > /d/early; echo gone > /d/gone"))
			   (run (shell "echo 2 > /d/late; rm /d/gone"))))
			 (build two ((build inner ((from busybox) (shell /bin/sh -c) (copy (from (build one)) (src d) (dst /e))))
			   (from busybox) (shell /bin/sh -c) (copy (from (build inner)) (src /e /etc/passwd) (dst /f/))))
			 (from busybox) (shell /bin/sh -c)
			 (copy (from (build two)) (src f) (dst g))
			 (run (shell "pwd; echo \"[$LEAK]\"; cd g; find . -type f | sort; cat e/early e/late")))`)})
		if !strings.Contains(log, "\n/\n[]\n./e/early\n./e/late\n./passwd\n1\n2\n") ||
			!strings.Contains(log, `(build "one" ...)`) || !strings.Contains(log, `---> finished "two"`) {
			b.Errorf("the log is\n%s", log)
		}
	})
}

func TestFailuresAreNotKept(t *testing.T) {
	onEach(t, func(b *bench) {
		r := b.request(`(run (shell "echo before; exit 3"))`)
		for range 2 {
			out := newOutput()
			_, err := b.Build(b.Context(), r, out)
			f, ok := err.(*obuilder.Failure)
			if !ok || f.Text != "line 1: the command exited with code 3" || f.ExitCode != 3 || !strings.Contains(out.String(), "\nbefore\n") {
				b.Errorf("%v; log:\n%s", err, out)
			}
		}
		if b.Count() != 1 || b.count("cache_misses_total") != 3 {
			b.Errorf("%d results, %d misses", b.Count(), b.count("cache_misses_total"))
		}
		b.nothingLeft()
		b.fails(obuilder.Request{Spec: b.parse("((from " + b.mirror.Host + "/nosuch))")}, "/nosuch is not in its registry")
		b.fails(obuilder.Request{Spec: b.parse("((from busybox) (run (shell true)))")}, "the program cannot be started") // it has no bash
		r = b.request(`(run (shell "x=xxxxxxxx; while :; do x=$x$x; done"))`)
		r.Limits.Memory = 32 << 20
		b.fails(r, "more memory than its limit of 33554432 bytes")
	})
}

func TestCaches(t *testing.T) {
	onEach(t, func(b *bench) {
		const use = `(user (uid 5) (gid 6)) (run (cache (a (target /var/cache/a)) (b/../c (target /b))) (shell "`
		b.build(b.request(use + `ls -lnd /b | tr -s ' ' | cut -d ' ' -f 3,4; echo 1 >> /var/cache/a/f; echo 1 > /b/f"))`))
		b.fails(b.request(use+`echo 2 >> /var/cache/a/f; rm /b/f; exit 1"))`), "exited with code 1")
		_, log := b.build(b.request(use + `cat /var/cache/a/f; ls /b; touch /b/g"))`))
		if !strings.Contains(log, ")\n1\n2\n---> saved") {
			b.Errorf("a failed step's changes to caches are lost:\n%s", log)
		}
		id, _ := b.build(b.request(`(run (shell "ls /var /b 2>&1; true"))`))
		v, err := b.store.Open(id)
		if err != nil {
			b.Fatal(err)
		}
		defer v.Close()
		if _, err := os.Stat(v.Dir() + "/var/cache/a/f"); err == nil {
			b.Error("a cache is part of a result")
		}
	})
}

func TestSecrets(t *testing.T) {
	b := newBench(t, "overlay")
	r := b.request(`(run (shell "echo ran")) (run (secrets (pw (target /run/pw))) (shell "cat /run/pw; printf hun; printf ter2; echo"))`)
	b.fails(r, `the secret "pw" has no value`)
	if b.Count() != 0 {
		b.Errorf("it built %d steps first", b.Count())
	}
	r.Secrets = map[string][]byte{"pw": []byte("hunter2\n")}
	id, log := b.build(r)
	if strings.Contains(log, "hunter2") || !strings.Contains(log, "\n***\n***\n") {
		b.Errorf("the log is\n%s", log)
	}
	if again, _ := b.build(r); again != id {
		b.Error("the same secret made another result")
	}
	r.Secrets["pw"] = []byte("other")
	if other, _ := b.build(r); other == id {
		b.Error("another secret made the same result")
	}
	other := newBench(b.T, "copy")
	r.Secrets["pw"] = []byte("hunter2\n")
	if there, _ := other.build(r); there == id {
		b.Error("the id tells the secret: it is the same with another key")
	}
}

func TestPrune(t *testing.T) {
	onEach(t, func(b *bench) {
		b.build(b.request(`(run (shell "echo 1")) (run (shell "echo 2"))`))
		b.build(b.request(`(run (shell "echo 3"))`))
		b.build(b.request(`(run (shell "echo 1"))`))
		if n, err := b.Prune(b.Context(), time.Now().Add(-time.Hour), 10); n != 0 || err != nil {
			b.Errorf("pruned %d, %v", n, err)
		}
		// The least recently used leaf first: step 2, though step 1 is older.
		if n, err := b.Prune(b.Context(), time.Now().Add(time.Hour), 1); n != 1 || err != nil || b.Count() != 3 {
			b.Errorf("pruned %d of %d, %v", n, b.Count(), err)
		}
		_, log := b.build(b.request(`(run (shell "echo 1")) (run (shell "echo 2"))`))
		if strings.Count(log, "from cache") != 2 || strings.Count(log, "saved as") != 1 {
			b.Errorf("the log is\n%s", log)
		}
		if n, err := b.Prune(b.Context(), time.Now().Add(time.Hour), 10); n != 4 || err != nil || b.Count() != 0 {
			b.Errorf("pruned %d, left %d, %v", n, b.Count(), err)
		}
		if left, err := b.store.List(); err != nil || len(left) != 0 {
			b.Errorf("left: %v, %v", left, err)
		}
	})
}

func TestMakeRoom(t *testing.T) {
	b := newBench(t, "overlay")
	b.build(b.request(`(run (shell "echo 1")) (run (shell "echo 2")) (run (shell "echo 3"))`))
	for _, c := range []struct {
		room    obuilder.Room
		removed int
		enough  bool
	}{
		{obuilder.Room{}, 0, true},
		{obuilder.Room{Results: 2}, 2, true},
		{obuilder.Room{Free: obuilder.Space{Bytes: 0.001, Inodes: 0.001}}, 0, true},
		{obuilder.Room{Free: obuilder.Space{Bytes: 101}}, 2, false},
	} {
		if removed, enough, err := b.MakeRoom(t.Context(), c.room); removed != c.removed || enough != c.enough || err != nil {
			t.Errorf("%+v: removed %d, enough %v, %v", c.room, removed, enough, err)
		}
	}
}

func TestHealthcheckAndDelete(t *testing.T) {
	b := newBench(t, "overlay")
	for range 2 {
		if err := b.Healthcheck(t.Context()); err != nil || b.Count() != 0 {
			t.Errorf("%v, %d results", err, b.Count())
		}
	}
	if misses := b.count("cache_misses_total"); misses != 0 {
		t.Errorf("%d misses: a check asks for no base", misses)
	}
	ended, end := context.WithCancelCause(t.Context())
	end(errors.New("the worker stops"))
	if err := b.Healthcheck(ended); err == nil || !strings.Contains(err.Error(), "the worker stops") {
		t.Errorf("a check that is stopped: %v", err)
	}
	if free, err := b.Free(); err != nil || free.Bytes <= 0 || free.Bytes >= 100 || free.Inodes <= 0 {
		t.Errorf("%+v, %v", free, err)
	}
	id, _ := b.build(b.request(""))
	b.build(b.request(`(run (shell "echo 1")) (run (shell "echo 2"))`))
	if err := b.Delete(id); err != nil || b.Count() != 0 {
		t.Errorf("%v, %d results", err, b.Count())
	}
}
