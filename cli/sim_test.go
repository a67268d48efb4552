package cli

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func runSim(t *testing.T, script string, flags ...string) (code int, stdout, stderr string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "test.sim")
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t, append([]string{"sim", file}, flags...)...)
}

func TestSimPrintsDecisions(t *testing.T) {
	code, out, said := runSim(t, `costs cached=2s uncached=10s
worker w1 slots=1
submit a client=alice hint=x
submit b client=alice hint=x
submit c client=bob
finish a
finish c
`)
	want := `start a w1
end a succeeded
start c w1
end c succeeded
start b w1
`
	if code != exitOK || out != want || said != "" {
		t.Errorf("exit code %d, printed\n%s%s; want\n%s", code, out, said, want)
	}
}

func TestSimPrintsTimes(t *testing.T) {
	_, out, _ := runSim(t, "worker w1\nsubmit a client=c takes=1s/90s\nadvance 2m\n", "--times")
	if want := "0s start a w1\n1m30s end a succeeded\n"; out != want {
		t.Errorf("printed\n%swant\n%s", out, want)
	}
}

func TestSimShowsThePool(t *testing.T) {
	_, out, said := runSim(t, "costs cached=2s uncached=10s\nworker w1 slots=4\nsubmit a client=c\nsubmit b client=c slots=5\nshow\n")
	for _, want := range []string{
		"jobs       1 queued, 1 running, 0 finished", "2.0s cached, 10s uncached",
		"WORKER  STATE  RUNNING", "w1      ready  1/4",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("printed\n%s%s\nwithout %q", out, said, want)
		}
	}
}

func TestSimNamesTheLineOfAnError(t *testing.T) {
	code, out, said := runSim(t, "worker w1\nsubmit a client=c\nsubmitt b client=c\n")
	if code != exitUsage || !strings.Contains(said, `test.sim: line 3: unknown word "submitt"`) {
		t.Errorf("exit code %d, said %q", code, said)
	}
	if out != "start a w1\n" {
		t.Errorf("printed %q; what was decided before the error is to be seen", out)
	}
	if code, _, said := run(t, "sim", "no such file"); code != exitUsage || !strings.Contains(said, "no such file") {
		t.Errorf("exit code %d, said %q", code, said)
	}
}

func TestSimReadsStandardInput(t *testing.T) {
	var out, errOut bytes.Buffer
	code := Main(t.Context(), []string{"sim", "-"}, strings.NewReader("worker w1\nsubmit a client=c\n"), &out, &errOut)
	if code != exitOK || out.String() != "start a w1\n" {
		t.Errorf("exit code %d, printed %q, said %q", code, out.String(), errOut.String())
	}
}

const smallLoad = `{
  "lasts": "6h", "seeds": [1, 2, 3],
  "workers": [{"count": 2, "slots": 1}],
  "clients": [
    {"name": "long", "rate": 1, "streams": [{"every": "1h", "min": 3, "max": 3, "uncached": "30m"}]},
    {"name": "short", "rate": 1, "streams": [{"every": "10m", "after": "5m", "uncached": "10s"}]}
  ]
}`

func TestSimComparesPolicies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "load.json")
	if err := os.WriteFile(file, []byte(smallLoad), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, said := run(t, "sim", "--workload", file, "--seeds", "2")
	for _, want := range []string{"2 seeds", "CHANGE", "jobs", "54", "utilisation", "short p95", "+0.00 %"} {
		if code != exitOK || !strings.Contains(out, want) {
			t.Fatalf("exit code %d, printed\n%s%s\nwithout %q", code, out, said, want)
		}
	}
	picture := filepath.Join(t.TempDir(), "load.svg")
	if code, _, said := run(t, "sim", "--workload", file, "--seeds", "1", "--chart", picture); code != exitOK {
		t.Fatalf("exit code %d, said %q", code, said)
	}
	drawn, err := os.ReadFile(picture)
	for _, want := range []string{"<svg", "Jobs that wait", "Busy slots", "learn=off,steal=off", "learn=on,steal=on"} {
		if err != nil || !strings.Contains(string(drawn), want) {
			t.Errorf("the chart (%v) has no %q", err, want)
		}
	}
	_, one, _ := run(t, "sim", "--workload", file, "--policy", "learn=off")
	if strings.Contains(one, "CHANGE") || !strings.Contains(one, "learn=off") {
		t.Errorf("one policy printed\n%s", one)
	}
	for args, says := range map[string]string{
		"--chart load.gif": "ends in .svg or .png", "--policy lern=on": `unknown word "lern=on"`, "--workload nowhere.json": "nowhere.json", "extra": "unknown command",
	} {
		code, _, said := run(t, append([]string{"sim", "--workload", file}, strings.Fields(args)...)...)
		if code != exitUsage || !strings.Contains(said, says) {
			t.Errorf("%s: exit code %d, said %q; want %q", args, code, said, says)
		}
	}
}
