package clustertest

import (
	"fmt"
	"testing"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/proto/pb"
)

// Operators change one pool at the same time, through every node, each another
// choice: none is lost.
func TestChangesOfOnePoolAtTheSameTime(t *testing.T) {
	c := Start(t, Options{})
	c.NewPool("p", &pb.PoolConfig{TimeLimitMs: 77_000})
	choices := []string{
		"attempts", "backoff_ms", "max_backoff_ms", "max_queued", "keep_jobs", "keep_for_ms", "log_limit_bytes", "cached_cost_ms", "uncached_cost_ms",
	}
	fields := (&pb.PoolConfig{}).ProtoReflect().Descriptor().Fields()
	for round := 1; round <= 5; round++ {
		set := func(name string) *pb.PoolConfig {
			config := &pb.PoolConfig{}
			f := fields.ByName(protoreflect.Name(name))
			value := protoreflect.ValueOfInt64(int64(5000 + round))
			if f.Kind() == protoreflect.Uint32Kind {
				value = protoreflect.ValueOfUint32(uint32(round))
			}
			config.ProtoReflect().Set(f, value)
			return config
		}
		var g errgroup.Group
		for i, name := range choices {
			admin := c.Client(c.Admin, c.Nodes[i%len(c.Nodes)]).Admin()
			g.Go(func() error {
				if _, err := admin.UpdatePool(c.Context(), &pb.UpdatePoolRequest{Name: "p", Config: set(name)}); err != nil {
					return fmt.Errorf("set %s: %w", name, err)
				}
				return nil
			})
		}
		c.must(g.Wait())
		pool, err := c.Client(c.Admin).Admin().GetPool(c.Context(), &pb.GetPoolRequest{Name: "p"})
		c.must(err)
		for _, name := range choices {
			f := fields.ByName(protoreflect.Name(name))
			if got, want := pool.Config.ProtoReflect().Get(f), set(name).ProtoReflect().Get(f); !got.Equal(want) {
				t.Errorf("round %d: %s is %v, want %v", round, name, got, want)
			}
		}
		if pool.Config.TimeLimitMs != 77_000 {
			t.Errorf("round %d: what nobody changed is %d", round, pool.Config.TimeLimitMs)
		}
	}
}
