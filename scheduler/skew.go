package scheduler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/peers"
)

const (
	skewEvery   = 30 * time.Second
	skewTimeout = 2 * time.Second
	// maxSkew is how far a ready node's clock may be from the others'.
	maxSkew = time.Second
)

// skew compares this machine's clock with the other members'. It blames this
// node only when most of them disagree with it.
type skew struct {
	peers *peers.Set
	name  string
	gauge prometheus.Gauge

	mu   sync.Mutex
	late time.Duration // how far the others are ahead of this node
}

func newSkew(p *peers.Set, name string, reg prometheus.Registerer) *skew {
	s := &skew{peers: p, name: name, gauge: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "weir_clock_skew_seconds",
		Help: "How far the clocks of most other members are ahead of this node's.",
	})}
	reg.MustRegister(s.gauge)
	return s
}

// why says what is wrong with this node's clock; empty: nothing.
func (s *skew) why() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.late.Abs() <= maxSkew {
		return ""
	}
	side := "behind"
	if s.late < 0 {
		side = "ahead of"
	}
	return fmt.Sprintf("this machine's clock is %v %s the other nodes': set it right", s.late.Abs().Round(10*time.Millisecond), side)
}

// run measures until ctx ends.
func (s *skew) run(ctx context.Context) error {
	ticker := time.NewTicker(skewEvery)
	defer ticker.Stop()
	for {
		late := typical(s.measure(ctx))
		s.mu.Lock()
		s.late = late
		s.mu.Unlock()
		s.gauge.Set(late.Seconds())
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// measure asks every other member for its clock and returns how far each is
// ahead of this one.
func (s *skew) measure(ctx context.Context) []time.Duration {
	ctx, cancel := context.WithTimeout(ctx, skewTimeout)
	defer cancel()
	var mu sync.Mutex
	var all []time.Duration
	var asked sync.WaitGroup
	for _, m := range s.peers.Members() {
		if m.Name == s.name {
			continue
		}
		asked.Go(func() {
			late, err := s.ask(ctx, m.Address)
			if err != nil {
				return // it is down: others will say so
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, late)
		})
	}
	asked.Wait()
	return all
}

func (s *skew) ask(ctx context.Context, address string) (time.Duration, error) {
	conn, err := s.peers.Conn(address)
	if err != nil {
		return 0, err
	}
	begun := time.Now()
	reply, err := pb.NewMembershipClient(conn).Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return 0, err
	}
	middle := begun.Add(time.Since(begun) / 2)
	return time.UnixMilli(reply.NowMs).Sub(middle), nil
}

// typical is the median of the others and this node itself; of two middle ones
// that which is nearer to this node.
func typical(others []time.Duration) time.Duration {
	all := append(slices.Clone(others), 0)
	slices.Sort(all)
	high, low := all[len(all)/2], all[(len(all)-1)/2]
	if low.Abs() < high.Abs() {
		return low
	}
	return high
}
