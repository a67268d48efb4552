// Package top shows a cluster as it is: pools, workers, slots, the queue and
// rates, live in a terminal or as text.
//
// It promises that a frame fits the terminal, from 80 columns on, and that a
// cluster without a leader, or out of reach, is said so beside what was known last.
// It refuses to change anything, and to decide what may be seen: the nodes do.
package top

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// Sample is what there is to show at a moment.
type Sample struct {
	At      time.Time
	Members []*pb.Member
	Pools   []*pb.Pool
	Workers []*pb.Worker
	Queue   map[string]*pb.PoolView // by pool; those with waiting jobs
	Rates   map[string]Rate         // by pool
	Err     error                   // why this is not new
}

// Cluster is what a sample is asked of.
type Cluster interface {
	Admin() pb.AdminServiceClient
	Members() pb.MembershipClient
	Events(ctx context.Context, req *pb.WatchEventsRequest, each func(*pb.Events) error) error
}

var _ Cluster = (*client.Client)(nil)

const (
	queueShown = 20 // jobs asked for of each pool's queue
	queuesRead = 16 // pools whose queues are asked for
)

// source takes samples of a cluster.
type source struct {
	cluster Cluster
	pool    string // only this; empty: all

	mu    sync.Mutex
	rates *counts // nil: not known
	last  Sample
}

// take asks for everything. When that fails, what was known before comes with the
// error.
func (s *source) take(ctx context.Context) Sample {
	next := Sample{At: time.Now(), Queue: map[string]*pb.PoolView{}}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		r, err := s.cluster.Members().ListMembers(ctx, &pb.ListMembersRequest{})
		next.Members = r.GetMembers()
		return err
	})
	g.Go(func() error {
		r, err := s.cluster.Admin().ListWorkers(ctx, &pb.ListWorkersRequest{Pool: s.pool})
		next.Workers = r.GetWorkers()
		return err
	})
	g.Go(func() error { return s.takePools(ctx, &next) })
	err := g.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.last.Err = err
	} else {
		s.last = next
	}
	s.last.Rates = s.rates.perMinute(time.Now())
	return s.last
}

func (s *source) takePools(ctx context.Context, next *Sample) error {
	r, err := s.cluster.Admin().ListPools(ctx, &pb.ListPoolsRequest{})
	if err != nil {
		return err
	}
	for _, p := range r.Pools {
		if s.pool != "" && p.Name != s.pool {
			continue
		}
		next.Pools = append(next.Pools, p)
		if p.Queued == 0 || len(next.Queue) == queuesRead {
			continue
		}
		view, err := s.cluster.Admin().ShowPool(ctx, &pb.ShowPoolRequest{Name: p.Name, Limit: queueShown})
		if err != nil {
			return err
		}
		next.Queue[p.Name] = view
	}
	return nil
}

// watch counts events, for the rates, until ctx ends. After an error that lasts
// there are none.
func (s *source) watch(ctx context.Context) {
	s.setRates(newCounts(time.Now()))
	req := &pb.WatchEventsRequest{Pool: s.pool, Kinds: []string{"job-queued", "job-started", "job-ended"}}
	_ = s.cluster.Events(ctx, req, func(batch *pb.Events) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, e := range batch.Events {
			s.rates.add(time.Now(), e)
		}
		return nil
	}) // an empty column says it
	s.setRates(nil)
}

func (s *source) setRates(c *counts) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rates = c
}
