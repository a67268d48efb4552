package fsm_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
	"github.com/weirbuild/weir/proto/pb"
)

// busy is a state with a bit of everything.
func busy(t testing.TB, commands int) *fsm.State {
	t.Helper()
	s, g := fsm.New(), fsmtest.NewGenerator(6)
	for range commands {
		s.Apply(g.Next(s))
	}
	return s
}

// records reads a snapshot apart.
func records(t testing.TB, data []byte) []*pb.SnapshotRecord {
	t.Helper()
	var all []*pb.SnapshotRecord
	for len(data) > 0 {
		size, n := binary.Uvarint(data)
		m := new(pb.SnapshotRecord)
		if err := proto.Unmarshal(data[n:n+int(size)], m); err != nil {
			t.Fatal(err)
		}
		all = append(all, m)
		data = data[n+int(size):]
	}
	return all
}

func assemble(t testing.TB, all []*pb.SnapshotRecord) []byte {
	t.Helper()
	var data []byte
	for _, m := range all {
		record, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		data = append(binary.AppendUvarint(data, uint64(len(record))), record...)
	}
	return data
}

// TestRestoreRefuses damaged snapshots, says what is wrong and where, and leaves
// the state as it was.
func TestRestoreRefuses(t *testing.T) {
	good := snapshot(t, busy(t, 900))
	// spoil changes the first record of a section; all is renumbered afterwards.
	spoil := func(change func(all []*pb.SnapshotRecord) []*pb.SnapshotRecord) []byte {
		all := change(records(t, good))
		if h := all[0].GetHeader(); h != nil && h.GetRecords() != 1<<40 {
			h.Records = uint64(len(all) - 1)
		}
		return assemble(t, all)
	}
	each := func(change func(m *pb.SnapshotRecord)) []byte {
		return spoil(func(all []*pb.SnapshotRecord) []*pb.SnapshotRecord {
			for _, m := range all {
				change(m)
			}
			return all
		})
	}
	for _, c := range []struct {
		name string
		data []byte
		want string
	}{
		{"empty", nil, "empty or cut off"},
		{"cut in a record", good[:len(good)-3], "cut off after"},
		{"more at the end", append(slices.Clone(good), 0), "more after the last"},
		{"text", []byte("hello, this is not a snapshot of anything at all, is it not so, dear friend, as we have said more than once?"), "header"},
		{"huge record", binary.AppendUvarint(nil, 1<<40), "at most"},
		{"newer version", each(func(m *pb.SnapshotRecord) {
			if h := m.GetHeader(); h != nil {
				h.Version = 2
			}
		}), "version 2"},
		{"newer level", each(func(m *pb.SnapshotRecord) {
			if h := m.GetHeader(); h != nil {
				h.FeatureLevel = 9
			}
		}), "upgrade this node"},
		{"more records promised", each(func(m *pb.SnapshotRecord) {
			if h := m.GetHeader(); h != nil {
				h.Records = 1 << 40
			}
		}), "cut off after"},
		{"no header", spoil(func(all []*pb.SnapshotRecord) []*pb.SnapshotRecord { return all[1:] }), "no snapshot of a state"},
		{"unknown record", spoil(func(all []*pb.SnapshotRecord) []*pb.SnapshotRecord {
			return append(all, &pb.SnapshotRecord{})
		}), "kind is unknown"},
		{"repeated record", spoil(func(all []*pb.SnapshotRecord) []*pb.SnapshotRecord {
			return slices.Insert(all, 1, all[1])
		}), "repeated or out of order"},
		{"sections swapped", spoil(func(all []*pb.SnapshotRecord) []*pb.SnapshotRecord {
			i := slices.IndexFunc(all, func(m *pb.SnapshotRecord) bool { return m.GetKey() != nil })
			key := all[i]
			return slices.Insert(slices.Delete(all, i, i+1), 1, key)
		}), "section was over"},
		{"job of no pool", each(func(m *pb.SnapshotRecord) {
			if j := m.GetJob(); j != nil {
				j.Job.Pool = "nowhere"
			}
		}), `there is no pool "nowhere"`},
		{"job in no state", each(func(m *pb.SnapshotRecord) {
			if j := m.GetJob(); j != nil && len(j.Job.Attempts) == 0 {
				j.Job.State = 99
			}
		}), "do not belong to a job that is"},
		{"lease from the future", each(func(m *pb.SnapshotRecord) {
			if j := m.GetJob(); j != nil && len(j.Job.Attempts) > 0 {
				j.Job.Attempts[0].Lease = 1 << 63
			}
		}), "never given"},
		{"short digest", each(func(m *pb.SnapshotRecord) {
			if w := m.GetWorker(); w != nil {
				w.KeySha256 = []byte("short")
			}
		}), "a SHA-256 has 32"},
		{"bad rate", each(func(m *pb.SnapshotRecord) {
			if c := m.GetClient(); c != nil {
				c.Client.Rate = 0
			}
		}), "rate 0"},
		{"key of no job", each(func(m *pb.SnapshotRecord) {
			if k := m.GetKey(); k != nil {
				k.Job = 1 << 40
			}
		}), "names job"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := busy(t, 50)
			before := s.Hash()
			err := s.Restore(bytes.NewReader(c.data))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error is %v; want %q in it", err, c.want)
			}
			if s.Hash() != before {
				t.Error("the state has changed")
			}
		})
	}
}

// TestSnapshotErrors passes on what the disk says.
func TestSnapshotErrors(t *testing.T) {
	s, full := busy(t, 100), errors.New("no space left on device")
	if _, err := s.WriteTo(failing{full}); !errors.Is(err, full) {
		t.Errorf("write says %v", err)
	}
	if err := s.Restore(iotest.ErrReader(full)); !errors.Is(err, full) {
		t.Errorf("restore says %v", err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// FuzzRestore feeds damaged snapshots: an error, or a sound state that writes
// itself as it was read; never a panic.
func FuzzRestore(f *testing.F) {
	f.Add(snapshot(f, fsm.New()))
	for _, commands := range []int{20, 60, 150} {
		f.Add(snapshot(f, busy(f, commands)))
	}
	f.Fuzz(func(t *testing.T, data []byte) { surviveRestore(t, data) })
}

// surviveRestore restores, and works on if that was possible.
func surviveRestore(t *testing.T, data []byte) (restored bool) {
	t.Helper()
	s := fsm.New()
	if s.Restore(bytes.NewReader(data)) != nil {
		return false
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if again := restore(t, snapshot(t, s)); again.Hash() != s.Hash() {
		t.Fatal("it changes when it is written and restored")
	}
	g := fsmtest.NewGenerator(6)
	for range 60 {
		s.Apply(g.Next(s))
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	return true
}

// TestRestoreOfDamagedRecords changes one field of a good snapshot at a time, and
// expects of each what FuzzRestore does.
func TestRestoreOfDamagedRecords(t *testing.T) {
	good := snapshot(t, busy(t, 1200))
	r := rand.New(rand.NewPCG(1, 2))
	restored := 0
	const rounds = 800
	for n := range rounds {
		all := records(t, good)
		what := damage(r, all[r.IntN(len(all))].ProtoReflect())
		t.Run("", func(t *testing.T) {
			if surviveRestore(t, assemble(t, all)) {
				restored++
			}
			if t.Failed() {
				t.Logf("round %d: %s", n, what)
			}
		})
	}
	if restored == 0 || restored == rounds {
		t.Errorf("%d of %d damaged snapshots are restored: the damage proves nothing", restored, rounds)
	}
}

// damage changes a random field, at any depth, and says which.
func damage(r *rand.Rand, m protoreflect.Message) string {
	fields := m.Descriptor().Fields()
	f := fields.Get(r.IntN(fields.Len()))
	if m.Descriptor().Name() == "SnapshotRecord" {
		f = m.WhichOneof(m.Descriptor().Oneofs().Get(0))
	}
	name := string(f.FullName())
	switch {
	case f.IsList():
		list := m.Mutable(f).List()
		if list.Len() == 0 || r.IntN(4) == 0 {
			list.Append(list.NewElement())
		} else if f.Kind() == protoreflect.MessageKind {
			return damage(r, list.Get(r.IntN(list.Len())).Message())
		} else {
			list.Set(r.IntN(list.Len()), list.NewElement())
		}
	case f.Kind() == protoreflect.MessageKind:
		return damage(r, m.Mutable(f).Message())
	case r.IntN(3) == 0:
		m.Clear(f)
	default:
		m.Set(f, oddValue(r, f.Kind()))
	}
	return name
}

func oddValue(r *rand.Rand, kind protoreflect.Kind) protoreflect.Value {
	number := []int64{0, 1, 2, 7, -1, 1000, 1 << 31, 1 << 44, 1 << 62, math.MaxInt64, math.MinInt64}[r.IntN(11)]
	text := []string{"", "pool1", "client1", "w1", "key1", "cap-1", "no such", "\x00", strings.Repeat("x", 300)}[r.IntN(9)]
	switch kind {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(text)
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(fsmtest.Sum(text))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(true)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(number))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64([]float64{0, -1, 0.5, 1e300, math.NaN(), math.Inf(1)}[r.IntN(6)])
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(int32(number))
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(number))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(number)
	}
	return protoreflect.ValueOfUint64(uint64(number))
}
