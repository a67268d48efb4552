package docker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// record is one of BuildKit's records.
func record(t *testing.T, vertices, logs []map[string]any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"vertexes": vertices, "logs": logs})
	if err != nil {
		t.Fatal(err)
	}
	return string(text) + "\n"
}

func vertex(id string, more map[string]any) map[string]any {
	v := map[string]any{"digest": id, "name": "[1/2] RUN " + id, "started": time.Unix(1, 0)}
	for key, value := range more {
		v[key] = value
	}
	return v
}

func says(id, text string) map[string]any { return map[string]any{"vertex": id, "data": []byte(text)} }

// Steps that run side by side: every change of the step is seen, and no line is
// made of two steps' text. The records come in pieces of any size.
func TestNarratorTellsStepsApart(t *testing.T) {
	type m = map[string]any
	input := record(t, []m{vertex("a", nil), vertex("b", nil)}, nil) +
		record(t, nil, []m{says("a", "one "), says("a", "line\n"), says("b", "half"), says("a", "two\n"), says("b", "done\n")}) +
		record(t, []m{vertex("a", m{"completed": time.Unix(2, 0), "error": "context canceled"}), vertex("b", m{"completed": time.Unix(2, 0), "error": "broke"})}, nil) +
		"Dockerfile:2\nerror: failed to solve: broke\nand more\n"
	want := "[1/2] RUN a\n[1/2] RUN b\n[1/2] RUN a\none line\n[1/2] RUN b\nhalf\n[1/2] RUN a\ntwo\n[1/2] RUN b\ndone\nDockerfile:2\nerror: failed to solve: broke\nand more\n"
	for _, size := range []int{1, 7, 4096} {
		var out bytes.Buffer
		n := &narrator{out: &out}
		for rest := []byte(input); len(rest) > 0; {
			k := min(size, len(rest))
			if _, err := n.Write(rest[:k]); err != nil {
				t.Fatal(err)
			}
			rest = rest[k:]
		}
		if out.String() != want {
			t.Errorf("in pieces of %d:\n%s\nwant\n%s", size, out.String(), want)
		}
		var failure *Failure
		if err := n.fault(); !errors.As(err, &failure) || failure.Text != "broke" {
			t.Errorf("%v", err)
		}
	}
}

func TestFaults(t *testing.T) {
	for said, want := range map[string]string{
		`error: failed to solve: process "/bin/sh -c curl x: connection refused" did not complete successfully: exit code: 7`:                "failure 7",
		"error: failed to solve: dockerfile parse error on line 2: unknown instruction: RNU":                                                 "failure 0",
		"error: failed to solve: r/app:1: not found":                                                                                         "failure 0",
		"error: failed to solve: r/app:1: failed to do request: Head \"http://r/v2/app\": dial tcp 10.0.0.1:80: connect: connection refused": "stumble",
		"error: failed to solve: unexpected status from PUT request to http://r:5/v2/x/blobs: 503 Service Unavailable":                       "stumble",
		"error: failed to solve: unexpected status from HEAD request to https://r/v2/x: 401 Unauthorized":                                    "failure 0",
		"error: listing workers for Build: failed to list workers: Unavailable: connection error":                                            "ours",
		"error: failed to solve: Unavailable: error reading from server: EOF":                                                                "ours",
		"": "ours",
	} {
		got := "ours"
		var failure *Failure
		var stumble *Stumble
		switch err := (&narrator{said: said}).fault(); {
		case errors.As(err, &failure):
			got = fmt.Sprint("failure ", failure.ExitCode)
		case errors.As(err, &stumble):
			got = "stumble"
		}
		if got != want {
			t.Errorf("%s\nis %s, want %s", said, got, want)
		}
	}
}

// The logs used longest ago go first, and a limit is kept also over a restart.
func TestStepLogsArePruned(t *testing.T) {
	dir := t.TempDir()
	l, err := openStepLogs(dir, 10_000)
	if err != nil {
		t.Fatal(err)
	}
	log := []byte(strings.Repeat("x", 2000))
	for i := range 4 {
		key := fmt.Sprint(i)
		if err := l.save(key, "s", log); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(time.Duration(i-100) * time.Hour)
		if err := os.Chtimes(l.file(key), old, old); err != nil {
			t.Fatal(err)
		}
	}
	if got, same := l.load("0", "s"); !bytes.Equal(got, log) || !same {
		t.Errorf("%d bytes, %v", len(got), same)
	}
	if _, same := l.load("0", "other"); same {
		t.Error("other sources are said to be the same")
	}
	if err := l.save("4", "s", log); err != nil {
		t.Fatal(err)
	}
	if l, err = openStepLogs(dir, 10_000); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]bool{"0": true, "1": false, "3": true, "4": true} {
		if got, _ := l.load(key, "s"); (got != nil) != want {
			t.Errorf("log %s: kept is %v", key, got != nil)
		}
	}
}

func TestRepositories(t *testing.T) {
	for reference, want := range map[string]string{"r:5000/a/b:1": "r:5000/a/b", "r:5000/a": "r:5000/a", "a:1": "a", "a": "a"} {
		if got := repository(reference); got != want {
			t.Errorf("%s is of %s, want %s", reference, got, want)
		}
	}
	allowed, err := repositories([]string{"docker.io/me", "r.example.org/team/", "localhost:5000"})
	if err != nil {
		t.Fatal(err)
	}
	e := &Executor{allowed: allowed}
	for reference, want := range map[string]bool{
		"me/app:1": true, "docker.io/me/app:1": true, "index.docker.io/me/app": true, "you/app:1": false, "me:1": false,
		"r.example.org/team:1": true, "r.example.org/team/a/b:1": true, "r.example.org/team2:1": false, "r.example.org/other:1": false,
		"localhost:5000/any:1": true, "localhost:50000/any:1": false, "r.example.org:443/team:1": false, "": true,
		"r.example.org/team/../other:1": false, "r.example.org/team@sha256:00": false,
	} {
		if got := e.mayPush(reference) == nil; got != want {
			t.Errorf("%s: allowed is %v", reference, got)
		}
	}
	for _, bad := range []string{"", "A/b", "x y"} {
		if _, err := repositories([]string{bad}); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
