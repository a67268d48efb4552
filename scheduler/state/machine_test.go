package state

import (
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/fsm/fsmtest"
	"github.com/weirbuild/weir/proto/pb"
)

func newMachine(log hclog.Logger) *machine {
	return &machine{log: log, clock: &clock{}, mono: func() time.Duration { return 0 }, subs: &subscriptions{}, history: newHistory(), state: fsm.New()}
}

// A command of a later program stops the node before anything has changed, and
// the operator is told what to do.
func TestUnknownCommandsStopTheNode(t *testing.T) {
	encode := func(c *pb.Command) []byte {
		data, err := proto.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	tests := map[string][]byte{
		"no operation this program knows": encode(&pb.Command{IssuedAtMs: 1}),
		"a higher level":                  encode(&pb.Command{MinLevel: fsm.FeatureLevel + 1, Op: &pb.Command_Tick{Tick: &pb.Tick{}}}),
		"not a command":                   {0xff, 0xff, 0xff},
	}
	for name, data := range tests {
		t.Run(name, func(t *testing.T) {
			var log strings.Builder
			m := newMachine(hclog.New(&hclog.LoggerOptions{Output: &log}))
			before := m.state.Hash()
			defer func() {
				if r := recover(); r == nil {
					t.Error("the command was applied")
				}
				if m.state.Hash() != before {
					t.Error("the state has changed")
				}
				if !strings.Contains(log.String(), "upgrade this node") || !strings.Contains(log.String(), "index=7") {
					t.Errorf("the log says: %s", log.String())
				}
			}()
			m.Apply(7, [][]byte{data})
		})
	}
}

// Nodes read commands by generated code of their own: it must find in them what
// every other reader of the protocol does.
func TestCommandsAreReadAsTheyAreWritten(t *testing.T) {
	s, g := fsm.New(), fsmtest.NewGenerator(5)
	for range 3000 {
		want := g.Next(s)
		data, err := proto.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		var got pb.Command
		if err := got.UnmarshalVT(data); err != nil || !proto.Equal(want, &got) {
			t.Fatalf("%v was read as %v: %v", want, &got, err)
		}
		s.Apply(&got)
	}
}
