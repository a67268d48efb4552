package fsm_test

import (
	"reflect"
	"testing"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
)

// TestBatches: commands in batches give what they give one by one, and no record
// that was found between two batches ever changes.
func TestBatches(t *testing.T) {
	single, batched, g := fsm.New(), fsm.New(), fsmtest.NewGenerator(13)
	for size := range 120 {
		seen, was := changing(batched)
		batched.Begin()
		for range size {
			c := g.Next(single)
			want, got := single.Apply(c), batched.ApplyNext(c)
			if !reflect.DeepEqual(want, got) {
				t.Fatalf("%v: alone %+v, in a batch %+v", c, want, got)
			}
		}
		if single.Hash() != batched.Hash() {
			t.Fatalf("a batch of %d gave another state", size)
		}
		for i := range seen {
			if !reflect.DeepEqual(seen[i], was[i]) {
				t.Fatalf("a record changed under its reader: %+v, was %+v", seen[i], was[i])
			}
		}
	}
	if err := batched.Check(); err != nil {
		t.Error(err)
	}
}

// changing are the records that change most, and copies of them.
func changing(s *fsm.State) (seen, was []any) {
	for p := range s.Pools() {
		c := *p
		seen, was = append(seen, p), append(was, &c)
	}
	for h := range s.Shares("") {
		c := *h
		seen, was = append(seen, h), append(was, &c)
	}
	for w := range s.Workers("") {
		c := *w
		seen, was = append(seen, w), append(was, &c)
	}
	return seen, was
}
