package logship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

func noise(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7+i>>8) ^ seed
	}
	return b
}

func TestLogsArriveWholeAndLeaveTheSpool(t *testing.T) {
	l, s := newLeader(t), newSpool(t)
	run(t, Config{Dial: dialer(t, fixed(l.serve())), Spool: s})
	want := map[uint64][]byte{1: noise(1000, 1), 2: {}, 3: noise(3<<20+5, 3)}
	for lease, data := range want {
		finish(t, write(t, s, lease, data))
	}
	if err := s.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	for lease, data := range want {
		if !bytes.Equal(l.logs[lease].data, data) || !l.logs[lease].sealed {
			t.Errorf("lease %d: other bytes arrived", lease)
		}
	}
	if h := l.hellos[0]; h.Pool != "p" || h.Name != "w" || string(h.InstanceKey) != "key" {
		t.Errorf("hello %v", h)
	}
}

func fixed(address string) func() string { return func() string { return address } }

func TestBytesFlowWhileTheLogGrows(t *testing.T) {
	l, s := newLeader(t), newSpool(t)
	run(t, Config{Dial: dialer(t, fixed(l.serve())), Spool: s})
	log := write(t, s, 1, []byte("one "))
	l.wait(func() bool { return l.logs[1] != nil && string(l.logs[1].data) == "one " })
	if _, err := log.Write([]byte("two")); err != nil {
		t.Fatal(err)
	}
	l.wait(func() bool { return string(l.logs[1].data) == "one two" })
	finish(t, log)
	l.wait(func() bool { return l.logs[1].sealed })
}

// Whatever message a stream dies at, the first, the second and so on, before or
// after the leader took it, every byte arrives once.
func TestBrokenStreams(t *testing.T) {
	l, s := newLeader(t), newSpool(t)
	var messages, lives, dies atomic.Int64
	dies.Store(1)
	l.before = func(*pb.LogUp) error {
		if n := messages.Add(1); n == dies.Load() && lives.Add(1) < 12 {
			dies.Add(lives.Load() + 1)
			return errors.New("the node died")
		}
		return nil
	}
	run(t, Config{Dial: dialer(t, fixed(l.serve())), Spool: s})
	big := noise(20<<20, 9)
	finish(t, write(t, s, 1, big))
	for lease := uint64(2); lease < 200; lease++ {
		finish(t, write(t, s, lease, noise(100, byte(lease))))
	}
	if err := s.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(l.logs[1].data, big) {
		t.Error("the big log arrived with other bytes")
	}
	for lease := uint64(2); lease < 200; lease++ {
		if !bytes.Equal(l.logs[lease].data, noise(100, byte(lease))) {
			t.Errorf("lease %d arrived with other bytes", lease)
		}
	}
	if lives.Load() < 8 {
		t.Errorf("%d streams were broken", lives.Load())
	}
}

// A leader that takes part and stores nothing, because its disk is full, is asked
// less and less often; when it stores again all arrives.
func TestBacksOffFromALeaderThatStoresNothing(t *testing.T) {
	l, s := newLeader(t), newSpool(t)
	const tries = 7
	var full atomic.Bool
	full.Store(true)
	l.before = func(up *pb.LogUp) error {
		if len(up.Chunks) > 0 && full.Load() {
			return errors.New("store log: no space left on device")
		}
		return nil
	}
	finish(t, write(t, s, 1, []byte("kept")))
	begun := time.Now()
	run(t, Config{Dial: dialer(t, fixed(l.serve())), Spool: s})
	l.wait(func() bool { return l.streams >= tries })
	// Pauses of at least 25, 50, 100 ms and so on were between them.
	if took, least := time.Since(begun), redialMin/2*(1<<(tries-1)-1); took < least {
		t.Errorf("%d streams within %v, want at least %v", tries, took, least)
	}
	full.Store(false)
	if err := s.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// The news of another leader ends a pause.
func TestRestEndsWhenTheLeaderMoves(t *testing.T) {
	moved := make(chan struct{})
	close(moved)
	rest(t.Context(), time.Hour, moved) // or this test never ends
	over, cancel := context.WithCancel(t.Context())
	cancel()
	rest(over, time.Hour, nil)
}

// A new leader has another prefix of the log: longer than what was acknowledged,
// shorter, none.
func TestNewLeaderWantsItsOwnOffset(t *testing.T) {
	for _, has := range []int{0, 10, 1 << 20, 3 << 20} {
		t.Run(fmt.Sprint(has), func(t *testing.T) {
			first, second, s := newLeader(t), newLeader(t), newSpool(t)
			data := noise(3<<20, 4)
			second.logs[1] = &stored{data: slices.Clone(data[:has])}
			first.before = func(up *pb.LogUp) error {
				if first.logs[1] != nil && len(first.logs[1].data) > 1<<20 {
					return errors.New("the node died")
				}
				return nil
			}
			a, b := first.serve(), second.serve()
			var dials atomic.Int64
			run(t, Config{Spool: s, Dial: dialer(t, func() string {
				if dials.Add(1) == 1 {
					return a
				}
				return b
			})})
			finish(t, write(t, s, 1, data))
			if err := s.WaitEmpty(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(second.logs[1].data, data) {
				t.Error("the second leader has other bytes")
			}
		})
	}
}

func TestLogsOfAnEarlierProcessAreOffered(t *testing.T) {
	l, s := newLeader(t), newSpool(t)
	finish(t, write(t, s, 1, []byte("from before")))
	run(t, Config{Dial: dialer(t, fixed(l.serve())), Spool: s})
	if err := s.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if string(l.logs[1].data) != "from before" {
		t.Errorf("arrived: %q", l.logs[1].data)
	}
}

func TestRefusedLogIsDroppedAndItsWriterGoesOn(t *testing.T) {
	l, s := newLeader(t), newSpool(t)
	l.offered = func(o *pb.LogOffer) *pb.LogAck {
		if o.Lease != 1 {
			return nil
		}
		l.logs[1] = &stored{sealed: true}
		return &pb.LogAck{Lease: 1, Refused: true, Why: "not yours"}
	}
	run(t, Config{Dial: dialer(t, fixed(l.serve())), Spool: s})
	log := write(t, s, 1, []byte("x"))
	if err := s.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := log.Write([]byte("more")); err != nil {
		t.Errorf("write to a refused log: %v", err)
	}
	finish(t, log)
	finish(t, write(t, s, 2, []byte("accepted")))
	if err := s.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRedirect(t *testing.T) {
	follower, l, s := newLeader(t), newLeader(t), newSpool(t)
	target := l.serve()
	follower.redirect = &pb.Redirect{Leader: target}
	var at atomic.Value
	at.Store(follower.serve())
	run(t, Config{
		Spool:      s,
		Dial:       dialer(t, func() string { return at.Load().(string) }),
		Redirected: func(r *pb.Redirect) { at.Store(r.Leader) },
	})
	finish(t, write(t, s, 1, []byte("x")))
	if err := s.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// With the leader slow on a huge log, a small one still passes; and what is sent
// without an answer stays bounded.
func TestSmallLogPassesAHugeOne(t *testing.T) {
	l, s := newLeader(t), newSpool(t)
	l.hold = func(lease uint64) bool { return lease == 1 }
	run(t, Config{Dial: dialer(t, fixed(l.serve())), Spool: s})
	write(t, s, 1, noise(40<<20, 1))
	l.wait(func() bool { return l.logs[1] != nil && len(l.logs[1].data) >= logWindow })
	finish(t, write(t, s, 2, []byte("small")))
	l.wait(func() bool { return l.logs[2] != nil && l.logs[2].sealed })
	if n := len(l.logs[1].data); n > logWindow+ChunkBytes {
		t.Errorf("%d bytes of the huge log are under way, the window is %d", n, logWindow)
	}
}

func TestTurns(t *testing.T) {
	l, s := newLeader(t), newSpool(t)
	for lease := uint64(1); lease <= 4; lease++ {
		finish(t, write(t, s, lease, noise(1<<20, byte(lease))))
	}
	run(t, Config{Dial: dialer(t, fixed(l.serve())), Spool: s})
	if err := s.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(l.order) < 16 || len(slices.Compact(slices.Clone(l.order))) < len(l.order) {
		t.Errorf("logs do not take turns: %v", l.order)
	}
}

func TestResend(t *testing.T) {
	l, s := newLeader(t), newSpool(t)
	l.forget = true
	run(t, Config{Dial: dialer(t, fixed(l.serve())), Spool: s})
	data := noise(6<<20, 5)
	finish(t, write(t, s, 1, data))
	if err := s.WaitEmpty(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.forget || !bytes.Equal(l.logs[1].data, data) {
		t.Errorf("after a resend (asked: %v) other bytes arrived", !l.forget)
	}
}
