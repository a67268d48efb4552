package ui

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second:                   "0.0s",
		1200 * time.Millisecond:        "1.2s",
		42 * time.Second:               "42s",
		4*time.Minute + 10*time.Second: "4m10s",
		2*time.Hour + 5*time.Minute:    "2h05m",
		76 * time.Hour:                 "3d04h",
	} {
		if got := Short(d); got != want {
			t.Errorf("Short(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestCleanKeepsTheTerminalSafe(t *testing.T) {
	if got := Clean("a\x1b[2Jb\nc\u009bd\te"); strings.ContainsAny(got, "\x1b\n\u009b\t") {
		t.Errorf("%q still moves the cursor", got)
	}
	if got := Clip("0123456789", 5); got != "0123…" {
		t.Errorf("Clip gave %q", got)
	}
}

func TestWords(t *testing.T) {
	lost := &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_WORKER_LOST}
	failed := &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_FAILED, ExitCode: 7}
	killed := &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_FAILED, Signal: "SIGKILL"}
	for o, want := range map[*pb.Outcome]string{nil: "running", lost: "worker lost", failed: "failed (exit code 7)", killed: "failed (SIGKILL)"} {
		if got := Outcome(o); got != want {
			t.Errorf("Outcome(%v) = %q, want %q", o, got, want)
		}
	}
	running := &pb.Job{State: pb.JobState_JOB_STATE_RUNNING, CancelRequested: true}
	if got := State(running); got != "cancelling" {
		t.Errorf("a job that is being cancelled reads %q", got)
	}
}

func TestPrinters(t *testing.T) {
	job := &pb.Job{Id: 18446744073709551615, Pool: "linux", State: pb.JobState_JOB_STATE_QUEUED}
	var text, raw bytes.Buffer
	row := func(table *Table) { table.Row("ID", "POOL"); table.Row(job.Id, job.Pool) }
	if err := (Text{W: &text}).Print(job, row); err != nil {
		t.Fatal(err)
	}
	if want := "ID                    POOL\n18446744073709551615  linux\n"; text.String() != want {
		t.Errorf("text is %q, want %q", text.String(), want)
	}
	if err := (JSON{W: &raw}).Print(job, row); err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(raw.Bytes(), &got); err != nil || got["id"] != "18446744073709551615" {
		t.Errorf("JSON is %s: %v", raw.String(), err)
	}
}
