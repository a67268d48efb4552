package logstoretest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// modelLog is what a log should be.
type modelLog struct {
	text   []byte
	sealed bool
}

// model does to a map what it does to a store, and compares.
type model struct {
	t    *testing.T
	m    Maker
	r    *rand.Rand
	dir  string
	s    logstore.Store
	logs map[logstore.Key]*modelLog
}

func testModel(t *testing.T, m Maker) {
	for seed := range uint64(8) {
		x := &model{t: t, m: m, r: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), logs: map[logstore.Key]*modelLog{}}
		x.s = m.Open(t, x.dir)
		for step := range 600 {
			x.step()
			if step%50 == 49 {
				x.compare()
			}
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
		if err := x.s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func (x *model) step() {
	k := Key(uint64(x.r.IntN(25)))
	switch n := x.r.IntN(100); {
	case n < 55:
		x.append(k)
	case n < 75:
		x.seal(k)
	case n < 88:
		if err := x.s.Drop(k); err != nil {
			x.t.Errorf("drop: %v", err)
		}
		delete(x.logs, k)
	case n < 92:
		Sync(x.t, x.s)
	case n < 97:
		if x.m.Tidy != nil {
			x.m.Tidy(x.t, x.s)
		}
	default:
		if err := x.s.Close(); err != nil {
			x.t.Errorf("close: %v", err)
		}
		x.s = x.m.Open(x.t, x.dir)
	}
}

func (x *model) append(k logstore.Key) {
	l := x.logs[k]
	if l == nil {
		l = &modelLog{}
	}
	back := x.r.IntN(min(len(l.text), 50) + 1)
	fresh := Text(logstore.Key{Job: x.r.Uint64()}, x.r.IntN(900))
	if x.r.IntN(5) == 0 { // worth packing
		back, fresh = 0, bytes.Repeat(fresh, 12)
	}
	data := append(bytes.Clone(l.text[len(l.text)-back:]), fresh...)
	end, err := x.put(k, int64(len(l.text)-back), data)
	if l.sealed && len(fresh) > 0 {
		if !errors.Is(err, logstore.ErrSealed) {
			x.t.Errorf("append to sealed log %v: %v", k, err)
		}
		return
	}
	if len(fresh) > 0 {
		l.text = append(l.text, fresh...)
		x.logs[k] = l
	}
	if err != nil || end != int64(len(l.text)) {
		x.t.Errorf("append to log %v: end %d, %v; want %d", k, end, err, len(l.text))
	}
}

// put appends by one of the two ways.
func (x *model) put(k logstore.Key, offset int64, data []byte) (int64, error) {
	if x.r.IntN(2) == 0 {
		return x.s.Append(k, offset, data)
	}
	w := x.s.Put([]logstore.Piece{{Key: k, Offset: offset, Data: data, Packed: logpack.Pack(data)}})
	return w[0].End, w[0].Err
}

func (x *model) seal(k logstore.Key) {
	l := x.logs[k]
	if l == nil {
		return
	}
	if err := x.s.Seal(k, int64(len(l.text)), sha256.Sum256(l.text)); err != nil {
		x.t.Errorf("seal: %v", err)
	}
	l.sealed = true
}

func (x *model) compare() {
	for k, l := range x.logs {
		have, err := Read(x.s, k)
		if err != nil || !bytes.Equal(have, l.text) {
			x.t.Errorf("log %v: %d bytes, want %d, or they differ; %v", k, len(have), len(l.text), err)
		}
		wantPacked(x.t, x.s, k, l.text)
		if info, _ := x.s.Stat(k); info.Sealed != l.sealed || info.Damaged || info.Expired {
			x.t.Errorf("log %v: %+v, want sealed %v", k, info, l.sealed)
		}
		if n, d, err := x.s.Digest(k); err != nil || n != int64(len(l.text)) || d != sha256.Sum256(l.text) {
			x.t.Errorf("log %v: digest of %d bytes, %v", k, n, err)
		}
	}
	for k := range x.s.Keys() {
		if x.logs[k] == nil {
			x.t.Errorf("log %v was dropped and is there", k)
		}
	}
}
