package state_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/state/statetest"
)

func createPool(name string) *pb.Command {
	return &pb.Command{Op: &pb.Command_CreatePool{CreatePool: &pb.CreatePool{Name: name}}}
}

func TestPropose(t *testing.T) {
	s := statetest.Start(t, nil)
	if _, ok := s.Leading(); !ok {
		t.Fatal("in office, but not leading")
	}
	sub := s.Subscribe("test", fsm.PoolChanged)
	defer sub.Close()
	before := time.Now().UnixMilli()
	if _, err := s.Propose(t.Context(), createPool("p")); err != nil {
		t.Fatal(err)
	}
	if events, _ := sub.Take(nil); len(events) != 1 || events[0].Pool != "p" {
		t.Errorf("events: %v", events)
	}
	err := s.Read(t.Context(), func(st *fsm.State) {
		if p, ok := st.Pool("p"); !ok || p.Created < before-1000 || p.Created > s.Now()+1000 {
			t.Errorf("pool: %+v, %v", p, ok)
		}
	})
	if err != nil {
		t.Fatal(err)
	}

	_, err = s.Propose(t.Context(), createPool("no spaces allowed"))
	if r, ok := errors.AsType[*fsm.Refusal](err); !ok || r.Kind != fsm.Invalid {
		t.Errorf("a bad name: %v", err)
	}
}

// What is proposed together is answered together, each with its own result.
func TestProposeAsync(t *testing.T) {
	s := statetest.Start(t, nil)
	names := []string{"a", "b", "bad name", "c", "a b"}
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Add(1)
		s.ProposeAsync(createPool(name), func(_ fsm.Result, err error) { errs[i] = err; wg.Done() })
	}
	wg.Wait()
	for i, err := range errs {
		if refused := len(names[i]) > 1; (err != nil) != refused {
			t.Errorf("%q: %v", names[i], err)
		}
	}
}

// The state is on disk: another process finds it.
func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s, stop := statetest.Run(t, dir, nil)
	if _, err := s.Propose(t.Context(), createPool("p")); err != nil {
		t.Fatal(err)
	}
	stop()
	if _, ok := s.Leading(); ok {
		t.Error("a stopped node leads")
	}
	if _, err := s.Propose(t.Context(), createPool("q")); !errors.Is(err, raftnode.ErrClosed) {
		t.Errorf("a stopped node proposes: %v", err)
	}

	s, stop = statetest.Run(t, dir, nil)
	defer stop()
	var now int64
	s.View(func(st *fsm.State) {
		if _, ok := st.Pool("p"); !ok {
			t.Error("the pool is gone")
		}
		now = st.Now()
	})
	if got := s.Now(); got < now {
		t.Errorf("cluster time went back: %d after %d", got, now)
	}
}

func TestWaitForAndCopy(t *testing.T) {
	s := statetest.Start(t, nil)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	waited := make(chan error, 1)
	go func() {
		waited <- s.WaitFor(ctx, func(st *fsm.State) bool { _, ok := st.Pool("p"); return ok })
	}()
	old := s.Copy(nil)
	if _, err := s.Propose(ctx, createPool("p")); err != nil {
		t.Fatal(err)
	}
	if err := <-waited; err != nil {
		t.Error(err)
	}
	if _, ok := old.Pool("p"); ok {
		t.Error("a copy shows a later change")
	}
	if _, ok := s.Copy(nil).Pool("p"); !ok {
		t.Error("a later copy does not show the change")
	}
	ended, end := context.WithCancel(ctx)
	end()
	if err := s.WaitFor(ended, func(*fsm.State) bool { return false }); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting beyond the context: %v", err)
	}
}
