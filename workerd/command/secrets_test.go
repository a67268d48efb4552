package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/supervise"
)

// TestJobFindsNoSecret is a root worker with a token in its environment and a key
// in its state directory, and a job that looks everywhere.
func TestJobFindsNoSecret(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	eachMode(t, func(t *testing.T, r *supervise.Runner) {
		base := openDir(t)
		state := filepath.Join(base, "state")
		if err := os.Mkdir(state, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(state, "key"), []byte(secret), 0o644); err != nil {
			t.Fatal(err)
		}
		look := `exec 2>&1; id -u; env; ls -la ` + state + `; cat ` + state + `/*; cat /proc/[0-9]*/environ 2>/dev/null | tr '\0' '\n'
			for p in $PPID $(cut -d' ' -f4 /proc/$PPID/stat); do # its supervisor, the worker
				[ $p -gt 0 ] || continue
				cat /proc/$p/environ /proc/$p/mem /proc/$p/maps /proc/$p/fd/*
				kill -9 $p && echo done away with $p
			done
			ls -la ..; ls -la ` + base + `/work; echo looked`
		var out bytes.Buffer
		if err := startWorker(t, r.Mode, base, look, &out); err != nil {
			t.Fatalf("%v: %s", err, out.String())
		}
		if !strings.HasPrefix(out.String(), "65534\n") || !strings.Contains(out.String(), "looked\noutcome OUTCOME_SUCCEEDED") {
			t.Fatalf("the job did not look: %s", out.String())
		}
		for _, word := range []string{secret, "done away"} {
			if strings.Contains(out.String(), word) {
				t.Errorf("the job found %q:\n%s", word, out.String())
			}
		}
		// The same worker's secret is there for who may see it.
		out.Reset()
		if err := startWorker(t, r.Mode, base, "cat "+state+"/key || echo denied", &out); err != nil || !strings.Contains(out.String(), "denied") {
			t.Errorf("%v: %s", err, out.String())
		}
	})
}

// TestJobsDoNotSeeEachOther: two at a time, the same user.
func TestJobsDoNotSeeEachOther(t *testing.T) {
	eachMode(t, func(t *testing.T, r *supervise.Runner) {
		if !r.Mode.Hides() {
			t.Skip("jobs of one user share what that user may reach in this mode")
		}
		e := newExecutor(t, r)
		look := script(`echo private > "$HOME/mine"; echo $(ls "$WEIR_CHECKOUT/../.." 2>&1 | wc -l); cat "$WEIR_CHECKOUT"/../../*/home/mine; set -- /proc/[0-9]*; [ $# -lt 6 ] && echo few; sleep 0.3`)
		var logs [2]bytes.Buffer
		var group errgroup.Group
		for i := range logs {
			group.Go(func() error {
				_, err := e.Run(t.Context(), task(look), &logs[i])
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		for i := range logs {
			if got := logs[i].String(); !strings.HasSuffix(got, "few\n") || strings.Count(got, "private") > 1 {
				t.Errorf("job %d saw %q", i, got)
			}
		}
		wantNothingLeft(t, e)
	})
}

// TestStateDirectoryLooksEmpty also where jobs are the worker's own user.
func TestStateDirectoryLooksEmpty(t *testing.T) {
	eachMode(t, func(t *testing.T, r *supervise.Runner) {
		if !r.Mode.Hides() {
			t.Skip("not in this mode")
		}
		e := newExecutor(t, r)
		state := e.hide[1]
		if err := os.WriteFile(filepath.Join(state, "key"), []byte(secret), 0o666); err != nil {
			t.Fatal(err)
		}
		o, log := run(t, e, script("cat "+state+"/key; ls -a "+state))
		if strings.Contains(log, secret) || o.GetKind() == pb.OutcomeKind_OUTCOME_UNSPECIFIED {
			t.Errorf("%v, log %q", o, log)
		}
	})
}
