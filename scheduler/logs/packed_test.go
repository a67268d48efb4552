package logs

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
)

// A log of text goes from the worker to every reader packed once, in a fifth of
// its bytes; one of noise goes plain; and readers who take no packed data get
// the same bytes.
func TestPackedOnce(t *testing.T) {
	noise := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	for name, c := range map[string]struct {
		text  string
		share int // of the bytes, on the wire to a reader; 1: all
	}{"text": {strings.Repeat("ok  github.com/example/package 0.1s\n--- PASS: TestReader (0.25s)\n", 8000), 5}, "noise": {string(noise), 1}} {
		t.Run(name, func(t *testing.T) {
			c2, w := start(t, "n1", "n2", "n3")
			l, id := w.log()
			write(t, l, c.text)
			end(t, l)
			c2.sealed(id)
			for _, n := range c2.running() {
				n.readComplete(fsm.JobID(id.Job), 1, c.text)
				for _, packs := range []bool{false, true} {
					req, got, wire := request(id), "", 0
					req.Packed = packs
					err := n.Read(t.Context(), req, func(d *pb.LogData) error {
						wire += len(d.Data) + len(d.Packed)
						piece, err := plain(d)
						got += string(piece)
						return err
					})
					if err != nil || got != c.text {
						t.Errorf("%s, packed %v: %d bytes of %d, %v", n.id, packs, len(got), len(c.text), err)
					}
					if packs && wire > len(c.text)/c.share || !packs && wire != len(c.text) {
						t.Errorf("%s, packed %v: %d bytes on the wire for %d", n.id, packs, wire, len(c.text))
					}
				}
			}
		})
	}
}

// A worker whose packed pieces are damaged, or claim too much, is refused that
// log and keeps its stream.
func TestBadPackedPieces(t *testing.T) {
	for name, packed := range map[string][]byte{
		"damaged": []byte("\x80\x20damaged"), "too long": s2.Encode(nil, make([]byte, logpack.MaxBytes+1)),
	} {
		t.Run(name, func(t *testing.T) {
			c, w := start(t, "n1", "n2", "n3")
			id := c.job()
			s := c.stream(&pb.LogHello{Pool: "p", Name: "w", InstanceKey: []byte(instanceKey)})
			ask(t, s, &pb.LogOffer{Lease: id.Lease, Job: id.Job, Attempt: id.Attempt})
			if err := s.Send(&pb.LogUp{Chunks: []*pb.LogChunk{{Lease: id.Lease, Packed: packed}}}); err != nil {
				t.Fatal(err)
			}
			down, err := s.Recv()
			if err != nil {
				t.Fatal(err)
			}
			refused := slices.ContainsFunc(down.Acks, func(a *pb.LogAck) bool { return a.Refused && strings.Contains(a.Why, "packed piece") })
			if !refused {
				t.Errorf("answered %v", down.Acks)
			}
			c.shipped(w, 1, 100)
		})
	}
}

// What is kept of the latest pieces is bounded, and found by offset alone.
func TestRecentPieces(t *testing.T) {
	term, f := new(term), new(flow)
	piece := func(from, length int) *pb.LogChunk {
		return &pb.LogChunk{Offset: int64(from), Data: make([]byte, length), Packed: make([]byte, length/4)}
	}
	for i := range 100 {
		term.remember(f, piece(i*logpack.MaxBytes, logpack.MaxBytes))
		f.end = int64((i + 1) * logpack.MaxBytes)
	}
	if f.recent.held > recentPacked || term.recent != f.recent.held || len(f.recent.packed) < 10 {
		t.Fatalf("%d bytes in %d pieces are kept, the term counts %d", f.recent.held, len(f.recent.packed), term.recent)
	}
	first := f.recent.packed[0].from
	for _, c := range []struct {
		offset, n int64
		packed    bool
	}{{0, pieceBytes, false}, {first - 100, 100, false}, {first, logpack.MaxBytes, true}, {first + 1, logpack.MaxBytes - 1, false}, {f.end, 0, false}} {
		if n, packed, data := f.cutAt(c.offset, pieceBytes); n != c.n || (packed != nil) != c.packed || data != nil {
			t.Errorf("at %d: %d bytes, packed %v; want %d, %v", c.offset, n, packed != nil, c.n, c.packed)
		}
	}
	term.remember(f, piece(int(first), 1000)) // it was sent again
	if len(f.recent.packed) != 1 {
		t.Errorf("%d pieces are left after a piece was sent again", len(f.recent.packed))
	}
	term.forgetRecent(f)
	if term.recent != 0 {
		t.Errorf("%d bytes are counted with no log left", term.recent)
	}
}
