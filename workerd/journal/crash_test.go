package journal

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/go-hclog"
)

// step is a moment in a journal's life: what had been promised when the file had
// this size.
type step struct {
	size    int
	begun   []uint64
	results []uint64 // stored and not settled
}

// history writes a journal and returns its bytes and what was promised when.
func history(t *testing.T) ([]byte, []step) {
	t.Helper()
	dir := t.TempDir()
	j := open(t, dir)
	var steps []step
	var begun, results []uint64
	promise := func() {
		if err := j.Sync(); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step{int(j.size), slices.Clone(begun), slices.Clone(results)})
	}
	for lease := uint64(100); lease < 110; lease++ {
		begin(t, j, lease)
		begun = append(begun, lease)
		promise()
		if lease%2 == 0 {
			finish(t, j, lease, "ended")
			results = append(results, lease)
			promise()
		}
		if lease%4 == 0 {
			j.Settle(lease)
			results = results[:len(results)-1]
			promise()
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return b, steps
}

// reopen opens a journal whose file has these bytes, without syncing for speed.
func reopen(t *testing.T, dir string, b []byte) *Journal {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, fileName), b, 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := Open(dir, Options{Logger: hclog.NewNullLogger()})
	if err != nil {
		t.Fatal(err)
	}
	return j
}

func TestTruncatedAtEveryByte(t *testing.T) {
	b, steps := history(t)
	dir := t.TempDir()
	for size := len(magic); size <= len(b); size++ {
		j := reopen(t, dir, b[:size])
		var last step
		for _, s := range steps {
			if s.size <= size {
				last = s
			}
		}
		keepsPromises(t, j, last)
		if _, fresh := j.Begin(numbered(1000)); !fresh {
			t.Fatalf("cut at %d: a new lease is refused", size)
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		again, err := Open(dir, Options{Logger: hclog.NewNullLogger()})
		if err != nil {
			t.Fatal(err)
		}
		if _, fresh := again.Begin(numbered(1000)); fresh {
			t.Fatalf("cut at %d: what was written after the repair is lost", size)
		}
		keepsPromises(t, again, last)
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// keepsPromises checks everything that was promised at a step. Results may still
// be there after they were settled, never the other way round.
func keepsPromises(t *testing.T, j *Journal, s step) {
	t.Helper()
	for _, lease := range s.begun {
		if !j.state.seen(lease) {
			t.Fatalf("after %d bytes: lease %d was forgotten", s.size, lease)
		}
	}
	for _, lease := range s.results {
		if j.Result(lease) == nil && !has(j.state.settled, lease) {
			t.Fatalf("after %d bytes: the result of %d was forgotten", s.size, lease)
		}
	}
}

func TestDamagedAtEveryByte(t *testing.T) {
	b, steps := history(t)
	final := steps[len(steps)-1]
	dir := t.TempDir()
	for at := range b {
		damaged := slices.Clone(b)
		damaged[at] ^= 0x55
		j := reopen(t, dir, damaged)
		for _, lease := range final.begun[:len(final.begun)-1] { // the last one may be the torn tail
			if _, fresh := j.Begin(numbered(lease)); fresh {
				t.Fatalf("byte %d damaged: lease %d would start a second time", at, lease)
			}
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestATornReplacementIsIgnored(t *testing.T) {
	dir := t.TempDir()
	j := open(t, dir)
	begin(t, j, 3)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fileName+".new"), []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	j = open(t, dir)
	if got := j.Unfinished(); !slices.Equal(got, []Lease{numbered(3)}) {
		t.Errorf("unfinished: %v, want [3]", got)
	}
}
