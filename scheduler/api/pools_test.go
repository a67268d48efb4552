package api

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// A new pool learns and steals, unless it is told not to; the request stays as it
// was.
func TestPoolsLearnAndStealByDefault(t *testing.T) {
	for _, c := range []struct {
		given *pb.PoolConfig
		learn bool
		steal bool
	}{
		{nil, true, true},
		{&pb.PoolConfig{Attempts: 2}, true, true},
		{&pb.PoolConfig{Learn: pb.Switch_SWITCH_ON, Steal: pb.Switch_SWITCH_OFF}, true, false},
		{&pb.PoolConfig{Learn: pb.Switch_SWITCH_OFF}, false, true},
	} {
		before := proto.Clone(c.given)
		got := (&fsm.Pool{Config: learning(c.given)}).Limits()
		if got.Learn != c.learn || got.Steal != c.steal || !proto.Equal(before, c.given) {
			t.Errorf("%v: learns: %v, steals: %v; want %v, %v", c.given, got.Learn, got.Steal, c.learn, c.steal)
		}
	}
	if needs := max(learningLevel, updateLevel, pauseLevel, sealedLevel, patienceLevel, permitLevel); fsm.FeatureLevel < needs {
		t.Errorf("this binary has feature level %d, and its commands need %d", fsm.FeatureLevel, needs)
	}
}
