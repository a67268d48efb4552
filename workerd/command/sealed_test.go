package command

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/secretdir"
	"github.com/weirbuild/weir/workerd/supervise"
)

// A job finds its secrets in files that are in memory and gone afterwards, and sees
// nothing of another job's; its log shows no value, however it is written.
func TestSecretsAreFilesInMemory(t *testing.T) {
	eachMode(t, func(t *testing.T, r *supervise.Runner) {
		area, err := secretdir.Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(area.Dir()) })
		e := executor.Standard(newExecutor(t, r, func(c *Config) { c.Secrets = area }), "w1")
		other, err := area.Make(1<<40, map[string][]byte{"other": []byte("x")}, jobUser())
		if err != nil {
			t.Fatal(err)
		}
		run := func(text string, secrets map[string][]byte) string {
			t.Helper()
			var log bytes.Buffer
			job := task(script(text))
			job.Secrets = secrets
			outcome, err := e.Run(t.Context(), job, &log)
			if err != nil || outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
				t.Fatalf("%v, %v; log %q", outcome, err, log.String())
			}
			return log.String()
		}
		log := run(`set -e; cd "$WEIR_SECRETS"; ls; stat -f -c %T .; stat -c %a . token
			wc -c < token; cat token; head -c 3 token; tail -c +4 token
			test ! -w token`, map[string][]byte{"token": []byte("hunter2\n"), "b": []byte("pass phrase")})
		if want := "b\ntoken\ntmpfs\n700\n400\n8\n***\n***\n"; !strings.Contains(log, want) || strings.Contains(log, "hunter2") {
			t.Errorf("log %q, want %q in it", log, want)
		}
		if log = run(`echo "secrets=${WEIR_SECRETS-none}"`, nil); !strings.Contains(log, "secrets=none\n") {
			t.Errorf("a job without secrets: %q", log)
		}
		if r.Mode.Hides() {
			text := "ls " + other + " 2>&1; ls " + area.Dir() + " 2>&1; ls $WEIR_SECRETS"
			log = run(text, map[string][]byte{"own": []byte("some value")})
			if strings.Contains(log, "\nother") || !strings.Contains(log, "No such file") || !strings.Contains(log, "\nown\n") {
				t.Errorf("a job sees another's secrets: %q", log)
			}
		}
		if entries, err := os.ReadDir(area.Dir()); err != nil || len(entries) != 1 {
			t.Errorf("left in memory: %v, %v", entries, err)
		}
	})
}

func TestSecretsWithoutAPlaceForThem(t *testing.T) {
	e := newExecutor(t, &supervise.Runner{Mode: modes()[0]})
	job := task(script("true"))
	job.Secrets = map[string][]byte{"token": []byte("x")}
	if outcome, err := e.Run(t.Context(), job, &bytes.Buffer{}); err == nil || !strings.Contains(err.Error(), "/dev/shm") {
		t.Errorf("%v, %v", outcome, err)
	}
	wantNothingLeft(t, e)
}
