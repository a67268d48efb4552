package fsm_test

import (
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
	"github.com/weirbuild/weir/proto/pb"
)

// TestEveryCommandIsKnown applies an empty one of every kind: whatever the answer,
// none may panic, and the state stays sound.
func TestEveryCommandIsKnown(t *testing.T) {
	ops := (&pb.Command{}).ProtoReflect().Descriptor().Oneofs().ByName("op").Fields()
	for i := range ops.Len() {
		f := ops.Get(i)
		c := &pb.Command{}
		m := c.ProtoReflect()
		m.Set(f, protoreflect.ValueOfMessage(m.NewField(f).Message()))
		s := fsm.New()
		s.Apply(c)
		if err := s.Check(); err != nil {
			t.Errorf("%s: %v", f.Name(), err)
		}
	}
}

// TestUnknownCommandsPanic stops rather than diverge, before anything changes.
func TestUnknownCommandsPanic(t *testing.T) {
	level := &pb.Command{Op: &pb.Command_SetFeatureLevel{SetFeatureLevel: &pb.SetFeatureLevel{Level: fsm.FeatureLevel + 1}}}
	newer := fsmtest.Tick()
	newer.MinLevel = fsm.FeatureLevel + 1
	for name, c := range map[string]*pb.Command{"no op": {}, "newer level": newer, "raised level": level} {
		t.Run(name, func(t *testing.T) {
			s := fsm.New()
			before := s.Hash()
			defer func() {
				if what, _ := recover().(string); !strings.Contains(what, "upgrade this node") {
					t.Errorf("panicked with %q", what)
				}
				if s.Hash() != before {
					t.Error("the state has changed")
				}
			}()
			s.Apply(fsmtest.At(1000, c))
		})
	}
}

// TestTimeOnlyMovesForward holds for late and for absurd clocks.
func TestTimeOnlyMovesForward(t *testing.T) {
	s := fsm.New()
	for _, step := range []struct{ issued, now int64 }{
		{5000, 5000}, {4000, 5000}, {-1, 5000}, {5001, 5001}, {1<<63 - 1, 1 << 52},
	} {
		s.Apply(fsmtest.At(step.issued, fsmtest.Tick()))
		if s.Now() != step.now {
			t.Errorf("after %d it is %d; want %d", step.issued, s.Now(), step.now)
		}
	}
}

// TestRefusalsChangeNothing but the time.
func TestRefusalsChangeNothing(t *testing.T) {
	s, g := fsm.New(), fsmtest.NewGenerator(3)
	for range 2000 {
		c := g.Next(s)
		s.Apply(fsmtest.At(c.GetIssuedAtMs(), fsmtest.Tick()))
		before := s.Hash()
		if r := s.Apply(c); r.Refusal == nil {
			continue
		} else if s.Hash() != before {
			t.Fatalf("%v changed the state and said %q", c, r.Refusal.Message)
		}
	}
}
