package state

import (
	"errors"
	"testing"

	"github.com/weirbuild/weir/fsm"
)

func entry(events ...int) (results []fsm.Result) {
	for _, n := range events {
		results = append(results, fsm.Result{Events: make([]fsm.Event, n)})
	}
	return results
}

// A reader that reads on from each place that it is told hears everything once,
// whatever it takes at a time; one that is too slow is told where to begin again.
func TestHistory(t *testing.T) {
	h, st := newHistory(), fsm.New()
	_, at, wait, err := h.read(Position{Index: 1}, 10)
	if err != nil || wait == nil || at != (Position{Index: 1}) {
		t.Fatalf("of an empty history: %v, %v, %v", at, wait, err)
	}
	h.add(5, entry(2, 0, 3), st)
	select {
	case <-wait:
	default:
		t.Error("the reader was not woken")
	}
	h.add(6, entry(0), st)
	h.add(9, entry(4), st)
	for most := 1; most < 11; most++ {
		at, got := Position{Index: 1}, []Past(nil)
		for {
			found, next, wait, err := h.read(at, most)
			if err != nil {
				t.Fatal(err)
			}
			if got, at = append(got, found...), next; wait != nil {
				break
			}
		}
		if len(got) != 9 || got[4].Index != 5 || got[4].Position != 4 || got[5].Index != 9 || got[5].Position != 0 || at != (Position{Index: 10}) {
			t.Errorf("%d at a time: %v, then at %v", most, got, at)
		}
	}
	if found, _, _, _ := h.read(Position{5, 3}, 10); len(found) != 6 || found[0].Position != 3 {
		t.Errorf("from the middle of an entry: %v", found)
	}

	for i := range uint64(maxHistory/4 + 10) {
		h.add(10+i, entry(4), st)
	}
	var gone *GoneError
	if _, _, _, err := h.read(Position{Index: 5}, 10); !errors.As(err, &gone) || gone.First != 20 {
		t.Fatalf("of what is too old: %v", err)
	}
	if found, _, _, err := h.read(Position{Index: gone.First}, 1); err != nil || found[0].Index != gone.First {
		t.Errorf("from where it said: %v, %v", found, err)
	}
	if h.events > maxHistory {
		t.Errorf("%d events are kept", h.events)
	}
	h.restart(90_000)
	if _, _, _, err := h.read(Position{Index: 90_000}, 1); !errors.As(err, &gone) || gone.First != 90_001 {
		t.Errorf("before a snapshot: %v", err)
	}
}
