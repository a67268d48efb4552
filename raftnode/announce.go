package raftnode

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// askTime bounds one question to one node.
const askTime = 2 * time.Second

// call has f speak to the membership service at an address.
func (n *Node) call(ctx context.Context, address string, f func(context.Context, pb.MembershipClient) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, askTime, fmt.Errorf("no answer within %v", askTime))
	defer cancel()
	conn, err := grpc.NewClient("passthrough:///"+address,
		grpc.WithTransportCredentials(mtls.Dialing(func(string) *tls.Config { return n.config.DialTLS(mtls.ProtoGRPC) })),
		grpc.WithContextDialer(func(ctx context.Context, address string) (net.Conn, error) {
			return n.config.Dial(ctx, "tcp", address)
		}))
	if err != nil {
		return err
	}
	defer conn.Close()
	if cluster := n.cluster(); cluster != "" {
		ctx = metadata.AppendToOutgoingContext(ctx, reason.MetaClusterID, string(cluster))
	}
	return f(ctx, pb.NewMembershipClient(conn))
}

// askAll says hello to every join address at the same time, and to those that
// gossip has found; their silence counts for nothing.
func (n *Node) askAll(ctx context.Context) []answer {
	listed := slices.DeleteFunc(slices.Clone(n.config.Join), func(a string) bool { return a == n.self.Address })
	found := n.foundAddresses(listed)
	answers := make([]answer, len(listed)+len(found))
	var asking sync.WaitGroup
	for i, address := range append(listed, found...) {
		asking.Go(func() { answers[i] = n.hello(ctx, address) })
	}
	asking.Wait()
	silent := func(a answer) bool { return a.err != nil }
	return append(answers[:len(listed):len(listed)], slices.DeleteFunc(answers[len(listed):], silent)...)
}

// foundAddresses are those that gossip has found beside the listed ones.
func (n *Node) foundAddresses(listed []string) []string {
	g := n.gossip.Load()
	if g == nil {
		return nil
	}
	var addresses []string
	for _, p := range g.peers() {
		if !slices.Contains(listed, p.Address) {
			addresses = append(addresses, p.Address)
		}
	}
	return addresses
}

func (n *Node) hello(ctx context.Context, address string) answer {
	a := answer{address: address}
	a.err = n.call(ctx, address, func(ctx context.Context, c pb.MembershipClient) error {
		r, err := c.Hello(ctx, &pb.HelloRequest{
			NodeId: string(n.self.ID), Name: n.self.Name, Address: n.self.Address,
			ClusterId: string(n.cluster()), NowMs: time.Now().UnixMilli(),
		})
		if err != nil {
			return err
		}
		a.peer = Peer{ID: NodeID(r.NodeId), Name: r.Name, Address: r.Address}
		a.cluster, a.expect, a.says = ClusterID(r.ClusterId), int(r.BootstrapExpect), r.Says
		a.timings = timingsOf(r.Timings)
		return nil
	})
	return a
}

// checkCluster looks once whether a join address belongs to another cluster than
// this node's data.
func (n *Node) checkCluster(ctx context.Context, foreign chan<- error) {
	for _, a := range n.askAll(ctx) {
		for _, detail := range status.Convert(a.err).Details() {
			if info, ok := detail.(*errdetails.ErrorInfo); ok && info.Reason == reason.WrongCluster {
				foreign <- fmt.Errorf("data directory %s: %w: %s", n.config.DataDir, ErrWrongCluster, status.Convert(a.err).Message())
				return
			}
		}
	}
}

// announceEvery is how often a node that is not a member as it should be asks to
// become one.
const announceEvery = 250 * time.Millisecond

// announce asks the leader to make this node a member, or to change its address,
// until it is a voter as it should be. A node that was a member and has been
// removed does not ask, nor does one without join addresses or gossip: that was
// added by hand, and votes when that is asked for.
func (n *Node) announce(ctx context.Context) {
	said := ""
	for n.mustAnnounce() {
		report := n.askToJoin(ctx)
		if n.setBoot(report); report != said && report != "" {
			said = report
			n.log.Info("asking to join the cluster", "report", report)
		}
		select {
		case <-time.After(announceEvery):
		case <-ctx.Done():
			return
		}
	}
	n.setBoot("")
	if n.hasState && !slices.ContainsFunc(servers(n.raft.Load()), func(s raft.Server) bool { return s.ID == raft.ServerID(n.self.ID) }) {
		n.log.Warn(notMember)
	}
}

func (n *Node) mustAnnounce() bool {
	for _, s := range servers(n.raft.Load()) {
		if s.ID == raft.ServerID(n.self.ID) {
			seeks := len(n.config.Join) > 0 || n.gossip.Load() != nil
			return s.Address != n.self.raftAddress() || s.Suffrage != raft.Voter && seeks
		}
	}
	return !n.hasState
}

// askToJoin asks one address after the other, the leader's first, until one has
// done what was asked. It returns what each said, empty when it is done.
func (n *Node) askToJoin(ctx context.Context) string {
	if n.office.Load() != nil { // it has moved, and leads
		if _, err := n.admit(ctx, n.self); err != nil {
			return fmt.Sprintf("changing this node's own address: %v", err)
		}
		return ""
	}
	var said []answer
	led := false
	addresses := n.joinAddresses()
	for i := 0; i < len(addresses); i++ {
		var reply *pb.JoinReply
		err := n.call(ctx, addresses[i], func(ctx context.Context, c pb.MembershipClient) (err error) {
			reply, err = c.Join(ctx, &pb.JoinRequest{
				NodeId: string(n.self.ID), Name: n.self.Name, Address: n.self.Address, Timings: n.profiles.own.proto(),
			})
			return err
		})
		switch {
		case err != nil:
			said = append(said, answer{address: addresses[i], err: err})
			continue
		case reply.Added:
			return ""
		case reply.LeaderAddress != "" && !slices.Contains(addresses, reply.LeaderAddress):
			addresses = append(addresses, reply.LeaderAddress)
		}
		led = led || reply.LeaderAddress != ""
		said = append(said, answer{address: addresses[i], says: reply.Why})
	}
	waits := "joining cluster " + string(n.cluster())
	if !led {
		waits += ", which has no leader yet: if it stays so, start the members that are down, and restore the data directories of those that are empty"
	}
	return describe(waits, said)
}

func (n *Node) joinAddresses() []string {
	var addresses []string
	add := func(a string) {
		if a != "" && a != n.self.Address && !slices.Contains(addresses, a) {
			addresses = append(addresses, a)
		}
	}
	if leader, ok := n.Leader(); ok {
		add(leader.Address)
	}
	for _, m := range n.Members() {
		add(m.Address)
	}
	for _, a := range append(slices.Clone(n.config.Join), n.foundAddresses(nil)...) {
		add(a)
	}
	return addresses
}
