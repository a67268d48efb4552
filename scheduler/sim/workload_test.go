package sim

import (
	"os"
	"strings"
	"testing"
	"time"
)

func readExample(t *testing.T, name string) *Workload {
	t.Helper()
	f, err := os.Open("../../examples/sim/" + name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, err := ReadWorkload(f)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A day of the shipped workload: learning helps the health check, and harms nobody.
func TestLearningHelps(t *testing.T) {
	w := readExample(t, "opam-ci.json")
	w.Lasts = Duration(24 * time.Hour)
	figures := map[Policy]*Measured{}
	for _, p := range []Policy{Fixed, Default} {
		m, err := RunWorkload(w, p, 3)
		if err != nil {
			t.Fatal(err)
		}
		figures[p] = m
		t.Logf("%v: mean %v, ci p95 %v, health p95 %v", p, m.All.Mean, m.Clients["ci"].P95, m.Clients["health"].P95)
	}
	fixed, learned := figures[Fixed], figures[Default]
	if fixed.All.Jobs != learned.All.Jobs || fixed.All.Jobs < 10_000 {
		t.Errorf("%d jobs and %d: both policies should meet the same load", fixed.All.Jobs, learned.All.Jobs)
	}
	if learned.Clients["health"].P95*5 > fixed.Clients["health"].P95 {
		t.Errorf("the health check's p95 is %v, with fixed costs %v", learned.Clients["health"].P95, fixed.Clients["health"].P95)
	}
	if learned.Clients["ci"].P95 > fixed.Clients["ci"].P95*102/100 {
		t.Errorf("ci's p95 is %v, with fixed costs %v", learned.Clients["ci"].P95, fixed.Clients["ci"].P95)
	}
}

// The same seed gives the same figures, another one others.
func TestWorkloadsRepeat(t *testing.T) {
	w := readExample(t, "opam-ci.json")
	w.Lasts = Duration(3 * time.Hour)
	measure := func(seed uint64) ClientFigures {
		m, err := RunWorkload(w, Default, seed)
		if err != nil {
			t.Fatal(err)
		}
		m.All.waits = nil
		return m.All
	}
	first, again, other := measure(1), measure(1), measure(2)
	if first.Mean != again.Mean || first.Jobs != again.Jobs {
		t.Errorf("the same seed gives %+v and %+v", first, again)
	}
	if first.Mean == other.Mean && first.Jobs == other.Jobs {
		t.Errorf("two seeds give %+v", first)
	}
}

func TestWorkloadsAreChecked(t *testing.T) {
	const good = `"lasts": "1h", "seeds": [1], "workers": [{"count": 1, "slots": 1}]`
	for _, c := range []struct{ text, says string }{
		{`{`, "read the workload"},
		{`{"last": "1h"}`, `unknown field "last"`},
		{`{"lasts": "soon"}`, `"soon" is not a time`},
		{`{"seeds": [1]}`, "how long it lasts"},
		{`{"lasts": "1h"}`, "no seeds"},
		{`{"lasts": "1h", "seeds": [1]}`, "no workers"},
		{`{` + good + `}`, "no clients"},
		{`{` + good + `, "clients": [{"name": "c", "rate": 1, "streams": [{"every": "1m"}]}]}`, `stream 1 of client "c": it does not say how long a build takes`},
		{`{` + good + `, "clients": [{"name": "c", "rate": 1, "streams": [{"uncached": "1m"}]}]}`, "how often it comes"},
		{`{` + good + `, "clients": [{"name": "c", "rate": 1, "streams": [{"every": "1m", "uncached": "1m", "population": "x"}]}]}`, `no population "x"`},
		{`{` + good + `, "clients": [{"name": "c", "rate": 1, "streams": [{"every": "1m", "uncached": "1m", "min": 2, "max": 1}]}]}`, "no range"},
	} {
		if _, err := ReadWorkload(strings.NewReader(c.text)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v; want %q", c.text, err, c.says)
		}
	}
	never := `{` + good + `, "clients": [{"name": "c", "rate": 1, "streams": [{"every": "1m", "uncached": "1m", "slots": 2}]}]}`
	w, err := ReadWorkload(strings.NewReader(never))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RunWorkload(w, Fixed, 1); err == nil || !strings.Contains(err.Error(), "can never run") {
		t.Errorf("jobs that fit no worker: %v", err)
	}
}

// Where hints come again, the default policy waits for a cache only as long as it
// is worth it.
func TestStealingHelps(t *testing.T) {
	w := readExample(t, "warm.json")
	mean, p95 := map[Policy]time.Duration{}, map[Policy]time.Duration{}
	for _, p := range []Policy{Fixed, Default} {
		for _, seed := range w.Seeds[:2] {
			m, err := RunWorkload(w, p, seed)
			if err != nil {
				t.Fatal(err)
			}
			mean[p] += m.All.Mean
			p95[p] += m.All.P95
		}
	}
	t.Logf("mean %v and p95 %v with fixed costs, %v and %v by default", mean[Fixed]/2, p95[Fixed]/2, mean[Default]/2, p95[Default]/2)
	if mean[Default] > mean[Fixed]*9/10 || p95[Default] > p95[Fixed]*9/10 {
		t.Errorf("the default policy gains less than a tenth")
	}
}
