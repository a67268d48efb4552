package custom

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/command"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/supervise"
)

func TestMain(m *testing.M) {
	supervise.Main()
	os.Exit(m.Run())
}

// runner runs programs as a worker does, as another user where this is root.
func runner(t *testing.T) (run *command.Executor, dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-custom-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := supervise.New(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	var user *supervise.User
	if os.Geteuid() == 0 {
		user = &supervise.User{Name: "nobody", UID: 65534, GID: 65534}
	}
	run, err = command.New(command.Config{WorkDir: filepath.Join(dir, "work"), Runner: r, JobUser: user, Grace: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	return run, dir
}

func TestKind(t *testing.T) {
	run, dir := runner(t)
	for name, c := range map[string]struct {
		script, payload string
		log, output     string
		code            int32
	}{
		"payload":     {"cat; pwd | grep -c /checkout$; echo $# $WEIR_KIND $WEIR_POOL", "a\x00b\n", "a\x00b\n1\n0 deploy p\n", "", 0},
		"not read":    {"echo x", strings.Repeat("x", 200_000), "x\n", "", 0},
		"output":      {"echo first >&3; echo log; echo err >&2; echo last >&3", "", "log\nerr\n", "last", 0},
		"no newline":  {"printf 'a\\nb' >&3", "", "", "b", 0},
		"empty lines": {"printf 'a\\n\\n \\n' >&3", "", "", "a", 0},
		"failure":     {"echo why >&3; exit 7", "", "", "why", 7},
		"long line":   {"head -c 100000 /dev/zero | tr '\\0' x >&3; echo >&3", "", "", strings.Repeat("x", maxOutput), 0},
		"much output": {"i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done >&3", "", "", "line 19999", 0},
		"background":  {"(sleep 1000 &); echo done >&3", "", "", "done", 0},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+c.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			kind, err := ParseKind("deploy=" + program)
			if err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			o, err := New(kind, run).Run(t.Context(), task("deploy", c.payload), &out)
			if err != nil {
				t.Fatal(err)
			}
			if o.ExitCode != c.code || o.Output != c.output || out.String() != c.log || (o.Kind == pb.OutcomeKind_OUTCOME_SUCCEEDED) != (c.code == 0) {
				t.Errorf("%v\n%s", o, out.String())
			}
		})
	}
	if _, err := New(Kind{Name: "other", Program: "/bin/true"}, run).Run(t.Context(), task("deploy", ""), &bytes.Buffer{}); err == nil {
		t.Error("it runs a job of another kind")
	}
}

func task(kind, payload string) executor.Task {
	return executor.Task{Lease: 1, Job: "7", Attempt: 1, Pool: "p",
		Spec: &pb.JobSpec{Kind: &pb.JobSpec_Custom{Custom: &pb.CustomJob{Kind: kind, Payload: []byte(payload)}}}}
}

func TestParseKind(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for text, says := range map[string]string{
		"deploy=/bin/sh": "", "deploy": "write KIND=", "=/bin/sh": "write KIND=", "deploy=sh": "write KIND=",
		"deploy=/nosuch": "no such file", "deploy=/etc": "cannot be executed", "deploy=" + plain: "chmod +x",
	} {
		_, err := ParseKind(text)
		if says == "" && err != nil || says != "" && (err == nil || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", text, err, says)
		}
	}
}
