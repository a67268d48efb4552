package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/logstore"
	"github.com/weirbuild/weir/scheduler/state"
)

// Peers are the connections to the other members.
type Peers interface {
	Conn(member string) (*grpc.ClientConn, error) // by node id
	Members() []raftnode.Member                   // this node among them
}

// Liveness is what the leader knows of a worker.
type Liveness struct {
	Known     bool          // it has been heard since this node leads
	Connected bool          // it has a session
	Ago       time.Duration // since it was heard
}

// Config is what a node's log service acts on.
type Config struct {
	Self   raftnode.NodeID
	Store  *state.Store
	Disk   logstore.Store
	Peers  Peers
	Leader func() (raftnode.Member, bool) // as this node knows it
	// WhileLed binds a context to a leader: see raftnode.Node.
	WhileLed func(ctx context.Context, leader raftnode.NodeID) (context.Context, context.CancelFunc)
	Heard    func(pool, worker string) Liveness // asked on the leader only
	Logger   hclog.Logger                       //
	Meter    prometheus.Registerer              // may be nil
	Pace     int64                              // bytes a second for copying logs again; 0: DefaultPace
	HandOver func(context.Context) error        // gives the office to another node; nil: as Raft does
}

// DefaultPace is how fast logs are copied again that lost a holder.
const DefaultPace = 32 << 20

// Service is a node's build logs. Run must run on every node, Lead for each term
// of office.
type Service struct {
	pb.UnimplementedNodeServiceServer
	Config
	metrics *metrics
	hub     hub
	every   rhythm
	trouble trouble

	mu   sync.Mutex
	term *term // nil: this node is not in office
}

// rhythm is how often the slow work is done.
type rhythm struct {
	care  time.Duration // the leader compares holders with members
	audit time.Duration // and asks who still has the oldest logs
	sweep time.Duration // every node drops what nobody wants
	yield time.Duration // a leader bears a store that takes nothing
	offer time.Duration // a reader waits for a worker that is here to offer a log
}

// New returns the service of one node.
func New(c Config) *Service {
	if c.Pace == 0 {
		c.Pace = DefaultPace
	}
	if c.HandOver == nil {
		c.HandOver = func(ctx context.Context) error { return c.Store.Node().Transfer(ctx, "") }
	}
	s := &Service{Config: c, metrics: newMetrics(c.Meter), every: rhythm{care: 5 * time.Second, audit: time.Minute, sweep: 10 * time.Minute, yield: 2 * time.Second, offer: time.Minute}}
	s.metrics.watch(c.Meter, s)
	return s
}

// current is the term of office that this node is in; nil: it does not lead.
func (s *Service) current() *term {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.term
}

func (s *Service) setTerm(t *term) {
	s.mu.Lock()
	s.term = t
	s.mu.Unlock()
	s.hub.all() // readers look again who serves them
}

// keyOf names an attempt's log.
func keyOf(job fsm.JobID, attempt fsm.AttemptNo) logstore.Key {
	return logstore.Key{Job: uint64(job), Attempt: uint32(attempt)}
}

// stat is the store's Stat for those to whom an unknown log is an empty one.
func (s *Service) stat(k logstore.Key) logstore.Info {
	info, _ := s.Disk.Stat(k)
	return info
}

// whole says whether this node has all of a sealed log.
func (s *Service) whole(k logstore.Key, log *pb.LogInfo) bool {
	info := s.stat(k)
	return info.Sealed && !info.Damaged && info.Size == log.GetBytes()
}

// others are the voters but this node, by id.
func (s *Service) others() (ids []raftnode.NodeID, quorum int) {
	voters := 0
	for _, m := range s.Peers.Members() {
		if !m.Voter {
			continue
		}
		voters++
		if m.ID != s.Self {
			ids = append(ids, m.ID)
		}
	}
	slices.SortFunc(ids, func(a, b raftnode.NodeID) int { return cmp.Compare(a, b) })
	return ids, voters/2 + 1
}

func (s *Service) node(id raftnode.NodeID) (pb.NodeServiceClient, error) {
	conn, err := s.Peers.Conn(string(id))
	if err != nil {
		return nil, err
	}
	return pb.NewNodeServiceClient(conn), nil
}

// nodeName is how people call a member.
func (s *Service) nodeName(id raftnode.NodeID) string {
	for _, m := range s.Peers.Members() {
		if m.ID == id && m.Name != "" {
			return m.Name
		}
	}
	return string(id)
}

// pause waits for d, or for ctx to end and returns its cause.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// missing says whether an error of the store is about this log alone: gone,
// evicted or damaged here, while another node may have it.
func missing(err error) bool {
	return errors.Is(err, logstore.ErrNotFound) || errors.Is(err, logstore.ErrExpired) || errors.Is(err, logstore.ErrDamaged)
}

func logName(k logstore.Key) string {
	return fmt.Sprintf("log of job %d, attempt %d", k.Job, k.Attempt)
}
