package api

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// A new pool learns, unless it is told not to; the request stays as it was.
func TestPoolsLearnByDefault(t *testing.T) {
	for _, c := range []struct {
		given *pb.PoolConfig
		want  bool
	}{
		{nil, true},
		{&pb.PoolConfig{Attempts: 2}, true},
		{&pb.PoolConfig{Learn: pb.Switch_SWITCH_ON}, true},
		{&pb.PoolConfig{Learn: pb.Switch_SWITCH_OFF}, false},
	} {
		before := proto.Clone(c.given)
		got := (&fsm.Pool{Config: learning(c.given)}).Limits()
		if got.Learn != c.want || !proto.Equal(before, c.given) {
			t.Errorf("%v: learns: %v; want %v", c.given, got.Learn, c.want)
		}
	}
	if fsm.FeatureLevel < learningLevel {
		t.Errorf("this binary has feature level %d, and its commands need %d", fsm.FeatureLevel, learningLevel)
	}
}
