package executor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
)

// Neither the log, also where two writes share a value, nor the outcome, nor an error
// shows a secret.
func TestStandardMasksSecrets(t *testing.T) {
	task := Task{Secrets: map[string][]byte{"token": []byte("hunter2"), "other": []byte("hunter")}}
	broken := errors.New("broken: hunter2")
	for _, c := range []struct {
		outcome *pb.Outcome
		err     error
		want    string
	}{
		{&pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED, Output: "hunter2"}, nil, "Building on w1\na *** b\nhun\nJob succeeded\n"},
		{Failed("no hunter2 here"), nil, "Building on w1\na *** b\nhun\nJob failed: no *** here\n"},
		{nil, broken, "Building on w1\na *** b\nhun\nJob stopped by its worker: broken: ***\n"},
	} {
		e := Standard(executorFunc(func(_ context.Context, _ Task, out io.Writer) (*pb.Outcome, error) {
			for _, piece := range []string{"a hunt", "er2 b\n", "hun"} {
				if _, err := io.WriteString(out, piece); err != nil {
					return nil, err
				}
			}
			return c.outcome, c.err
		}), "w1")
		var log bytes.Buffer
		outcome, err := e.Run(t.Context(), task, &log)
		if log.String() != c.want {
			t.Errorf("log %q, want %q", log.String(), c.want)
		}
		if strings.Contains(outcome.String(), "hunter") {
			t.Errorf("outcome %v", outcome)
		}
		if !errors.Is(err, c.err) || err != nil && strings.Contains(err.Error(), "hunter") {
			t.Errorf("error %v", err)
		}
	}
}
