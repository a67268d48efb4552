package cli

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/supervise"
)

func TestMain(m *testing.M) {
	supervise.Main()
	os.Exit(m.Run())
}

func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errOut bytes.Buffer
	code = Main(t.Context(), args, strings.NewReader(""), &out, &errOut)
	return code, out.String(), errOut.String()
}

func TestWrongCommandLines(t *testing.T) {
	t.Setenv(capabilityEnv, "")
	for _, c := range []struct{ args, says string }{
		{"jobs --nonsense", "see `weir jobs --help`"},
		{"jobs", "no capability: give --connect FILE"},
		{"jobs --state weird --connect x", "use queued, running, settled or failed"},
		{"jobs -o xml --connect x", "use text or json"},
		{"job show abc", "is not a job id"},
		{"submit --pool p --commit c -- true", "--commit needs --repo"},
		{"submit --pool p --repo https://x/y -- true", "--repo needs --commit"},
		{"submit --pool p --env NOVALUE -- true", "want NAME=VALUE"},
		{"submit --pool p --detach --cancel-on-disconnect -- true", "nobody stays connected"},
		{"submit --pool p -o json -- true", "want --detach"},
		{"submit --pool p --label os -- true", "want NAME=VALUE"},
		{"submit --pool p --timeout 500us -- true", "want at least 1s"},
		{"raft add x n2:7070 --connect x", `required flag(s) "name" not set`},
		{"cap create king", "use admin, operator, worker, submit or read"},
		{"server --data-dir " + t.TempDir(), "--tls-dir is missing"},
		{"worker --state-dir " + t.TempDir(), "--connect"},
	} {
		code, _, said := run(t, strings.Fields(c.args)...)
		if code != exitUsage || !strings.Contains(said, c.says) {
			t.Errorf("weir %s: exit code %d, said %q; want %d and %q", c.args, code, said, exitUsage, c.says)
		}
	}
}

// Help fits a terminal of 120 columns, examples and all; and every command has
// a sentence.
func TestHelpOfEveryCommand(t *testing.T) {
	e := &env{stdout: os.Stdout, stderr: os.Stderr}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no short help", c.CommandPath())
		}
		for line := range strings.Lines(c.Long + "\n" + c.Example) {
			if len(line) > 121 {
				t.Errorf("%s: help line of %d characters: %s", c.CommandPath(), len(line), line)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(e))
}

func TestExitCodes(t *testing.T) {
	outcome := func(k pb.OutcomeKind) error { return outcomeError(&pb.Outcome{Kind: k}) }
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, exitOK},
		{outcome(pb.OutcomeKind_OUTCOME_SUCCEEDED), exitOK},
		{outcome(pb.OutcomeKind_OUTCOME_FAILED), exitBuildFailed},
		{outcome(pb.OutcomeKind_OUTCOME_TIMED_OUT), exitBuildFailed},
		{outcome(pb.OutcomeKind_OUTCOME_CANCELLED), exitCancelled},
		{outcome(pb.OutcomeKind_OUTCOME_LOST), exitLost},
		{outcome(pb.OutcomeKind_OUTCOME_WORKER_ERROR), exitLost},
		{usageError("no"), exitUsage},
		{fmt.Errorf("list: %w", &client.UnavailableError{Cause: errors.New("x")}), exitUnreachable},
		{errors.New("disk"), exitInternal},
	} {
		if got := exitCode(c.err); got != c.want {
			t.Errorf("%v: exit code %d, want %d", c.err, got, c.want)
		}
	}
}

func TestTLSCommands(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	if code, _, said := run(t, "tls", "ca", "create", "--dir", dir); code != exitOK {
		t.Fatalf("tls ca create: %d, %s", code, said)
	}
	if code, _, said := run(t, "tls", "cert", "create", "--dir", dir, "--name", "n1", "--host", "127.0.0.1"); code != exitOK {
		t.Fatalf("tls cert create: %d, %s", code, said)
	}
	for file, mode := range map[string]os.FileMode{
		caKeyFile: 0o600, gossipFile: 0o600, filepath.Join("n1", nodeKeyFile): 0o600, filepath.Join("n1", nodeFile): 0o644, filepath.Join("n1", caFile): 0o644,
	} {
		info, err := os.Stat(filepath.Join(dir, file))
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v; want mode %o", file, info, err, mode)
		}
	}
	if code, _, said := run(t, "tls", "ca", "create", "--dir", dir); code == exitOK {
		t.Errorf("a second CA replaced the first: %s", said)
	}
}
