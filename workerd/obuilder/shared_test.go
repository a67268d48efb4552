package obuilder_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/workerd/obuilder"
)

// started is a build that runs.
type started struct {
	*output
	leave context.CancelCauseFunc
	ended chan struct{}
	id    string
	err   error
}

var errLeft = errors.New("left")

func (b *bench) start(r obuilder.Request) *started {
	ctx, leave := context.WithCancelCause(b.Context())
	s := &started{output: newOutput(), leave: leave, ended: make(chan struct{})}
	go func() {
		defer close(s.ended)
		s.id, s.err = b.Build(ctx, r, s)
	}()
	return s
}

func (b *bench) says(s *started, text string) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := s.await(ctx, text); err != nil {
		b.Fatalf("no %q in the log: %v\n%s", text, err, s)
	}
}

// gate is what a step waits at until the test opens it.
type gate struct {
	*testing.T
	listener net.Listener
}

func newGate(t *testing.T) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return &gate{t, l}
}

// step is one that waits at the gate in the middle.
func (g *gate) step(end string) string {
	port := g.listener.Addr().(*net.TCPAddr).Port
	return fmt.Sprintf(`(run (network host) (shell "cat /proc/sys/kernel/random/uuid; nc 127.0.0.1 %d; %s"))`, port, end)
}

// arrival waits for a step to come to the gate, and gives what lets it pass.
func (g *gate) arrival() net.Conn {
	g.Helper()
	if err := g.listener.(*net.TCPListener).SetDeadline(time.Now().Add(time.Minute)); err != nil {
		g.Fatal(err)
	}
	c, err := g.listener.Accept()
	if err != nil {
		g.Fatalf("no step came: %v", err)
	}
	return c
}

// openAll lets pass whatever comes until the test's end.
func (g *gate) openAll() {
	for {
		c, err := g.listener.Accept()
		if err != nil {
			return
		}
		_ = c.Close()
	}
}

func TestEqualStepsRunOnce(t *testing.T) {
	onEach(t, func(b *bench) {
		g := newGate(b.T)
		r := b.request(g.step("echo ended") + `(run (shell "echo after"))`)
		one := b.start(r)
		at := g.arrival()
		two, three := b.start(r), b.start(r)
		b.says(two, one.String()[strings.Index(one.String(), "(run"):]) // it has the log so far
		b.says(three, "(run")
		_ = at.Close()
		for _, s := range []*started{one, two, three} {
			<-s.ended
			if s.err != nil || s.id != one.id || !strings.Contains(s.String(), "ended\n---> saved as") {
				b.Errorf("%v; log:\n%s", s.err, s)
			}
		}
		if misses := b.count("cache_misses_total"); misses != 3 {
			b.Errorf("%d steps ran, want 3", misses)
		}
	})
}

func TestEqualStepsFailTogether(t *testing.T) {
	b := newBench(t, "overlay")
	g := newGate(t)
	r := b.request(g.step("exit 7"))
	one := b.start(r)
	at := g.arrival()
	two := b.start(r)
	b.says(two, "(run")
	b.says(two, "-") // the identifier that the step printed: it is attached
	_ = at.Close()
	for _, s := range []*started{one, two} {
		<-s.ended
		var f *obuilder.Failure
		if !errors.As(s.err, &f) || f.ExitCode != 7 {
			t.Errorf("%v; log:\n%s", s.err, s)
		}
	}
	if b.Count() != 1 {
		t.Errorf("%d results", b.Count())
	}
}

// Who leaves does not end a step that another waits for, also not who began it.
func TestLeavingASharedStep(t *testing.T) {
	b := newBench(t, "overlay")
	g := newGate(b.T)
	r := b.request(g.step("echo ended"))
	one := b.start(r)
	at := g.arrival()
	two := b.start(r)
	uuid := one.String()[strings.LastIndex(one.String(), ")\n")+2:]
	b.says(two, uuid)
	one.leave(errLeft)
	<-one.ended
	if !errors.Is(one.err, errLeft) {
		b.Errorf("who left: %v", one.err)
	}
	_ = at.Close()
	<-two.ended
	if two.err != nil || !strings.Contains(two.String(), uuid+"ended\n") {
		b.Errorf("who stayed: %v; log:\n%s", two.err, two)
	}
}

// When the last one leaves the step is killed, leaves nothing, and the next build
// begins it again.
func TestTheLastOneLeaves(t *testing.T) {
	b := newBench(t, "overlay")
	g := newGate(b.T)
	r := b.request(`(run (shell "echo base"))` + g.step("echo ended"))
	one := b.start(r)
	at := g.arrival()
	two := b.start(r)
	b.says(two, "nc 127.0.0.1")
	one.leave(errLeft)
	two.leave(errLeft)
	three := b.start(r) // before the step has ended, or after
	<-one.ended
	<-two.ended
	if !errors.Is(one.err, errLeft) || !errors.Is(two.err, errLeft) {
		b.Errorf("%v, %v", one.err, two.err)
	}
	_ = at.Close() // should three have come before they left
	go g.openAll()
	<-three.ended
	if three.err != nil || strings.Count(three.String(), "ended\n") != 1 {
		b.Errorf("%v; log:\n%s", three.err, three)
	}
	b.nothingLeft()
}

// A pruning in the middle of a build spares what the build stands on.
func TestPruneSparesRunningBuilds(t *testing.T) {
	b := newBench(t, "overlay")
	g := newGate(t)
	b.build(b.request(`(run (shell "echo other"))`))
	one := b.start(b.request(`(run (shell "echo base"))` + g.step("echo ended")))
	at := g.arrival()
	if n, err := b.Prune(t.Context(), time.Now().Add(time.Hour), 10); n != 1 || err != nil {
		t.Errorf("pruned %d, %v", n, err)
	}
	if ids, err := b.store.List(); err != nil || len(ids) != 2 {
		t.Errorf("kept %v, %v", ids, err)
	} else if err := errors.Join(b.Delete(ids[0]), b.Delete(ids[1])); err == nil || !strings.Contains(err.Error(), "a build uses it") {
		t.Errorf("deleting what is used: %v", err)
	}
	_ = at.Close()
	<-one.ended
	if one.err != nil {
		t.Errorf("%v; log:\n%s", one.err, one)
	}
}
