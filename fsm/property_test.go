package fsm_test

import (
	"bytes"
	"fmt"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
	"github.com/weirbuild/weir/fsm/fsmtest/model"
	"github.com/weirbuild/weir/proto/pb"
)

// TestModel runs random commands through the state and the naive model: every
// answer, event and view must agree, and the state must be sound after each.
func TestModel(t *testing.T) {
	seeds, commands := 8, 1200
	if testing.Short() {
		seeds, commands = 3, 500
	}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprintf("seed%d", seed), func(t *testing.T) {
			t.Parallel()
			s, m, g := fsm.New(), model.New(), fsmtest.NewGenerator(seed)
			for n := range commands {
				c := g.Next(s)
				got, want := s.Apply(proto.CloneOf(c)), m.Apply(proto.CloneOf(c))
				if got.Refusal != nil {
					got.Refusal.Message = ""
				}
				if g, w := fsmtest.Render(got), fsmtest.Render(want); g != w {
					t.Fatalf("command %d: %v\nanswered\n%sand should have\n%s", n, c, g, w)
				}
				if err := s.Check(); err != nil {
					t.Fatalf("command %d: %v\n%v", n, c, err)
				}
				if n%10 != 0 {
					continue
				}
				if err := m.Diff(s); err != nil {
					t.Fatalf("command %d: %v\n%v", n, c, err)
				}
			}
		})
	}
}

// record makes a log of random commands and the results of applying it.
func record(t *testing.T, seed uint64, commands int) (log [][]byte, results []string, end *fsm.State) {
	t.Helper()
	s, g := fsm.New(), fsmtest.NewGenerator(seed)
	for range commands {
		data, err := proto.Marshal(g.Next(s))
		if err != nil {
			t.Fatal(err)
		}
		log = append(log, data)
		results = append(results, fsmtest.Render(s.Apply(decode(t, data))))
	}
	return log, results, s
}

func decode(t *testing.T, data []byte) *pb.Command {
	t.Helper()
	c := new(pb.Command)
	if err := proto.Unmarshal(data, c); err != nil {
		t.Fatal(err)
	}
	return c
}

// replay applies a part of a log and compares the results.
func replay(t *testing.T, s *fsm.State, log [][]byte, results []string) {
	t.Helper()
	for i, data := range log {
		if got := fsmtest.Render(s.Apply(decode(t, data))); got != results[i] {
			t.Fatalf("command %d answered\n%sand before\n%s", i, got, results[i])
		}
	}
}

func snapshot(t testing.TB, s *fsm.State) []byte {
	t.Helper()
	var b bytes.Buffer
	n, err := s.WriteTo(&b)
	if err != nil || n != int64(b.Len()) {
		t.Fatalf("wrote %d of %d bytes: %v", n, b.Len(), err)
	}
	return b.Bytes()
}

func restore(t testing.TB, data []byte) *fsm.State {
	t.Helper()
	s := fsm.New()
	if err := s.Restore(bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestReplay applies the same log twice, and the tail of it to snapshots taken on
// the way: results and bytes must be the same.
func TestReplay(t *testing.T) {
	log, results, end := record(t, 42, 3000)
	want := snapshot(t, end)
	again := fsm.New()
	replay(t, again, log, results)
	if !bytes.Equal(snapshot(t, again), want) || again.Hash() != end.Hash() {
		t.Fatal("the same log twice gives different states")
	}
	head := fsm.New()
	for k := range log {
		if k%250 == 0 {
			data := snapshot(t, head)
			tail := restore(t, data)
			if !bytes.Equal(snapshot(t, tail), data) {
				t.Fatalf("the snapshot at %d changes when it is restored and written again", k)
			}
			replay(t, tail, log[k:], results[k:])
			if !bytes.Equal(snapshot(t, tail), want) {
				t.Fatalf("the snapshot at %d and the rest of the log give another state", k)
			}
		}
		replay(t, head, log[k:k+1], results[k:k+1])
	}
}

// TestSplits cuts one log into entries in many ways, each entry applied to a
// clone that then takes the original's place, as a node does around a snapshot.
// Commands see nothing of their entry, so results and states must be the same.
func TestSplits(t *testing.T) {
	log, results, end := record(t, 7, 1200)
	want := end.Hash()
	for _, size := range []int{1, 2, 7, 64, len(log)} {
		s := fsm.New()
		for from := 0; from < len(log); from += size {
			to := min(from+size, len(log))
			s = s.Clone()
			replay(t, s, log[from:to], results[from:to])
		}
		if s.Hash() != want {
			t.Errorf("entries of %d commands give another state", size)
		}
	}
}
