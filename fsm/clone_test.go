package fsm_test

import (
	"sync"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
)

// TestCloneIsIndependent reads clones while their original changes, as a node
// does that writes a snapshot: each must stay what it was. The race detector
// watches.
func TestCloneIsIndependent(t *testing.T) {
	s, g := fsm.New(), fsmtest.NewGenerator(11)
	var readers sync.WaitGroup
	for range 12 {
		for range 300 {
			s.Apply(g.Next(s))
		}
		clone, want := s.Clone(), s.Hash()
		readers.Go(func() {
			for range 20 {
				if clone.Hash() != want {
					t.Error("the clone has changed")
				}
				if err := clone.Check(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	readers.Wait()
}

// TestCloneMayChange too, without a trace in the original.
func TestCloneMayChange(t *testing.T) {
	s, g := fsm.New(), fsmtest.NewGenerator(12)
	for range 1000 {
		s.Apply(g.Next(s))
	}
	want, clone := s.Hash(), s.Clone()
	for range 1000 {
		clone.Apply(g.Next(clone))
	}
	if s.Hash() != want {
		t.Error("the original has changed")
	}
	for _, state := range []*fsm.State{s, clone} {
		if err := state.Check(); err != nil {
			t.Error(err)
		}
	}
}
