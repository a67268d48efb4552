package cli

import (
	"bytes"
	"strings"
	"testing"
)

// The command runs for every worker, also when it fails for one, and says for which.
func TestExecRunsForEachWorker(t *testing.T) {
	var out, said bytes.Buffer
	e := &env{stdout: &out, stderr: &said}
	script := `echo $1 on $2; [ $2 != w2 ]`
	err := e.execEach(t.Context(), []string{"w1", "w2", "w3"}, []string{"sh", "-c", script, "sh", "uname", "{}"})
	if err == nil || !strings.HasSuffix(err.Error(), "failed for 1 of 3 workers: w2") || out.String() != "uname on w1\nuname on w2\nuname on w3\n" {
		t.Errorf("%v, and %q", err, out.String())
	}
	if !strings.Contains(said.String(), "w2: exit status 1") {
		t.Errorf("said %q", said.String())
	}
	out.Reset()
	if err := e.execEach(t.Context(), []string{"w1"}, []string{"echo", "{}.example.org {}"}); err != nil || out.String() != "w1.example.org w1\n" {
		t.Errorf("%v, and %q", err, out.String())
	}
}
