// Package metricsdoc keeps the documents that list metrics true: a test compares
// the table in the document with what is registered, and rewrites it on demand.
// It knows no metric.
package metricsdoc

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update-metrics", false, "rewrite the table of metrics in the document")

const head = "| metric | labels | is |\n|---|---|---|\n"

// Check compares the table at the end of a document with every metric of ours that
// the registry has, also those that have no value yet.
func Check(t testing.TB, registry *prometheus.Registry, file string) {
	t.Helper()
	doc, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	text, _, found := bytes.Cut(doc, []byte(head))
	if !found {
		t.Fatalf("%s has no table that begins with %q", file, head)
	}
	want := append(text, table(registry)...)
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for i, line := range lines(want) {
		if have := lines(doc); i >= len(have) || have[i] != line {
			t.Fatalf("%s:%d does not list the metrics that there are: it should say\n%s\nrun this test with -update-metrics", file, i+1, line)
		}
	}
	if len(doc) != len(want) {
		t.Fatalf("%s lists metrics that are gone: run this test with -update-metrics", file)
	}
}

func lines(b []byte) []string { return strings.Split(string(b), "\n") }

var description = regexp.MustCompile(`fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*").*variableLabels: \{(.*)\}\}$`)

func table(registry *prometheus.Registry) string {
	descs := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descs)
		close(descs)
	}()
	var rows []string
	for d := range descs {
		m := description.FindStringSubmatch(d.String())
		if m == nil {
			panic("metricsdoc: the library says a metric in another way: " + d.String())
		}
		name, help := unquote(m[1]), unquote(m[2])
		if !strings.HasPrefix(name, "weir_") {
			continue // the runtime's own
		}
		rows = append(rows, fmt.Sprintf("| `%s` | %s | %s |\n", name, strings.ReplaceAll(m[3], ",", ", "), help))
	}
	slices.Sort(rows)
	return head + strings.Join(slices.Compact(rows), "")
}

func unquote(s string) string {
	text, err := strconv.Unquote(s)
	if err != nil {
		panic(err)
	}
	return text
}
