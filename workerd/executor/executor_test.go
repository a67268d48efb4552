package executor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// executorFunc plays the part of a kind of job.
type executorFunc func(ctx context.Context, t Task, out io.Writer) (*pb.Outcome, error)

func (f executorFunc) Run(ctx context.Context, t Task, out io.Writer) (*pb.Outcome, error) {
	return f(ctx, t, out)
}

var succeeded = &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}

func says(text string, o *pb.Outcome, err error) Executor {
	return executorFunc(func(_ context.Context, _ Task, out io.Writer) (*pb.Outcome, error) {
		if _, err := io.WriteString(out, text); err != nil {
			return nil, err
		}
		return o, err
	})
}

func TestLoggedBeginsAndEnds(t *testing.T) {
	for _, c := range []struct {
		text    string
		outcome *pb.Outcome
		err     error
		want    string
	}{
		{"", succeeded, nil, "Building on w1\nJob succeeded\n"},
		{"all\nfine\n", succeeded, nil, "Building on w1\nall\nfine\nJob succeeded\n"},
		{"no newline", succeeded, nil, "Building on w1\nno newline\nJob succeeded\n"},
		{"", Failed("exited with code %d", 3), nil, "Building on w1\nJob failed: exited with code 3\n"},
		{"", Failed("two\nlines\r\n"), nil, "Building on w1\nJob failed: two; lines\n"},
		{"", &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_CANCELLED, Message: "x"}, nil, "Building on w1\nJob cancelled\n"},
		{"x", nil, errors.New("disk\nfull"), "Building on w1\nx\nJob stopped by its worker: disk; full\n"},
	} {
		var log bytes.Buffer
		o, err := Logged(says(c.text, c.outcome, c.err), "w1").Run(t.Context(), Task{}, &log)
		if log.String() != c.want || o != c.outcome || !errors.Is(err, c.err) {
			t.Errorf("log %q, want %q; %v, %v", log.String(), c.want, o, err)
		}
	}
}

type fullDisk struct{ left int }

var errFull = errors.New("disk full")

func (d *fullDisk) Write(p []byte) (int, error) {
	if d.left--; d.left < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestLogThatCannotBeWritten(t *testing.T) {
	for left := range 3 {
		if _, err := Standard(says("text\n", succeeded, nil), "w1").Run(t.Context(), Task{}, &fullDisk{left}); !errors.Is(err, errFull) {
			t.Errorf("after %d writes: %v", left, err)
		}
	}
}

func TestLimitedKeepsTheFirstBytes(t *testing.T) {
	const line = "\n[log limit of 10 bytes reached: the rest of this job's output was dropped]\n"
	for _, c := range []struct{ writes, want string }{
		{"0123456789", "0123456789"},
		{"01234|56789", "0123456789"},
		{"0123456789|a", "0123456789" + line},
		{"0123456|789a|b|c", "0123456789" + line},
		{"0123456789abcdef", "0123456789" + line},
		{"01234||56789|", "0123456789"},
	} {
		var log bytes.Buffer
		next := executorFunc(func(_ context.Context, _ Task, out io.Writer) (*pb.Outcome, error) {
			for _, w := range strings.Split(c.writes, "|") {
				if n, err := out.Write([]byte(w)); n != len(w) || err != nil {
					t.Errorf("write %q: %d, %v", w, n, err)
				}
			}
			return succeeded, nil
		})
		if _, err := Limited(next).Run(t.Context(), Task{LogLimit: 10}, &log); err != nil || log.String() != c.want {
			t.Errorf("%q became %q, want %q; %v", c.writes, log.String(), c.want, err)
		}
	}
	w := &limitedWriter{to: io.Discard, limit: DefaultLogLimit, left: DefaultLogLimit}
	if n, err := w.Write(make([]byte, 1<<20)); n != 1<<20 || err != nil || w.left != DefaultLogLimit-1<<20 {
		t.Errorf("%d, %v, %d left", n, err, w.left)
	}
}

// untilDone runs until its context ends, as a real build does.
var untilDone = executorFunc(func(ctx context.Context, _ Task, out io.Writer) (*pb.Outcome, error) {
	for i := 0; ctx.Err() == nil; i++ {
		fmt.Fprintf(out, "%d\n", i)
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	return Ended(ctx)
})

func TestTimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		began := time.Now()
		o, err := Standard(untilDone, "w1").Run(t.Context(), Task{TimeLimit: 2500 * time.Millisecond}, &log)
		if took := time.Since(began); err != nil || o.GetKind() != pb.OutcomeKind_OUTCOME_TIMED_OUT || took != 2500*time.Millisecond {
			t.Errorf("%v, %v after %s", o, err, took)
		}
		want := "Building on w1\n0\n1\n2\n\nTime limit of 2.5s reached: stopping the job\nJob failed: time limit of 2.5s reached\n"
		if log.String() != want {
			t.Errorf("log %q", log.String())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(ErrCancelled) })
		o, err := Timed(untilDone).Run(ctx, Task{TimeLimit: time.Hour}, io.Discard)
		if err != nil || o.GetKind() != pb.OutcomeKind_OUTCOME_CANCELLED {
			t.Errorf("%v, %v", o, err)
		}
		if o, err := Timed(says("", succeeded, nil)).Run(t.Context(), Task{TimeLimit: time.Nanosecond}, io.Discard); o != succeeded || err != nil {
			t.Errorf("a build that ended anyway: %v, %v", o, err)
		}
	})
}

func TestEndedAndGrace(t *testing.T) {
	for cause, want := range map[error]struct {
		kind  pb.OutcomeKind
		grace time.Duration
	}{
		ErrCancelled:                           {pb.OutcomeKind_OUTCOME_CANCELLED, time.Minute},
		fmt.Errorf("by ann: %w", ErrCancelled): {pb.OutcomeKind_OUTCOME_CANCELLED, time.Minute},
		&TimeLimitError{time.Second}:           {pb.OutcomeKind_OUTCOME_TIMED_OUT, time.Minute},
		ErrFenced:                              {},
		ErrKilled:                              {},
		ErrUnrenewed:                           {},
		context.Canceled:                       {},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		o, err := Ended(ctx)
		if o.GetKind() != want.kind || (want.kind == 0) != errors.Is(err, cause) || Grace(cause, time.Minute) != want.grace {
			t.Errorf("%v: %v, %v, grace %s", cause, o, err, Grace(cause, time.Minute))
		}
	}
	if o := Failed("%s", strings.Repeat("é", 2000)); len(o.GetMessage()) > maxMessage || !strings.HasSuffix(o.GetMessage(), "...") {
		t.Errorf("a long message has %d bytes", len(o.GetMessage()))
	}
}
