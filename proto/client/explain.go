package client

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// explainFor bounds the questions asked once a call has given up.
const explainFor = 1200 * time.Millisecond

// UnavailableError says that the cluster could not answer a call in time:
// which nodes were asked, what each said, and what to do.
type UnavailableError struct {
	Cause error
	Nodes []NodeReport
}

// NodeReport is one node's own word, or why there is none.
type NodeReport struct {
	Address string
	Status  *pb.NodeStatus
	Err     error
}

// Unwrap gives the error of the last try.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// Error lists the nodes, one a line, and ends with the next step.
func (e *UnavailableError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "the cluster did not answer: %s", Message(e.Cause))
	for _, n := range e.Nodes {
		fmt.Fprintf(&b, "\n  %s: %s", n.Address, n.says())
	}
	fmt.Fprintf(&b, "\n%s", e.remedy())
	return b.String()
}

// Reached counts the nodes that answered.
func (e *UnavailableError) Reached() int {
	n := 0
	for _, r := range e.Nodes {
		if r.Status != nil {
			n++
		}
	}
	return n
}

func (e *UnavailableError) remedy() string {
	empty, answered := 0, 0
	for _, r := range e.Nodes {
		if r.empty() {
			empty++
		} else if r.Status != nil || Reason(r.Err) == reason.NoLeader {
			answered++
		}
	}
	v := e.votes()
	switch {
	case empty > 0 && empty == len(e.Nodes):
		return "No node belongs to a cluster yet; each says above what it waits for."
	case answered+empty == 0 && e.refused():
		return "A node refused the capability: see its message above."
	case answered+empty == 0:
		return "No node was reached: check the addresses in the capability, the network, and that the nodes run."
	case v.up > v.all/2 && e.ailing() != "":
		return "A majority is up, but the disks of some fail, as said above: " + e.ailing() + ". Make room on them, or repair them: the cluster then goes on by itself. Reads with --stale show what a node knows meanwhile."
	case v.up > v.all/2:
		return "A majority is up but there is no leader yet: wait a few seconds, then look at the nodes' logs if it stays so."
	}
	text := fmt.Sprintf("A majority of the nodes must run for anything to change, with the data that they had: %d of %d", v.all/2+1, v.all)
	if len(v.missing) > 0 {
		text += "; missing: " + strings.Join(v.missing, ", ")
	}
	text += ". Start the ones that do not answer."
	if empty > 0 {
		text += " An empty node has no vote: restore the data directories of those that are empty."
	}
	return text + " Reads with --stale show what a node knows meanwhile."
}

// ailing names the nodes whose disks fail.
func (e *UnavailableError) ailing() string {
	var names []string
	for _, r := range e.Nodes {
		if r.Status.GetDisk() != "" {
			names = append(names, r.Status.Name)
		}
	}
	return strings.Join(names, ", ")
}

// votes are the voters of the cluster, as far as the nodes tell: by the
// membership of the one that has most of the log, or else the addresses.
type votes struct {
	all, up int
	missing []string
}

func (e *UnavailableError) votes() votes {
	var newest *pb.NodeStatus
	up := map[string]bool{}
	for _, r := range e.Nodes {
		s := r.Status
		if s == nil || r.empty() {
			continue
		}
		up[s.NodeId] = true
		if len(s.Members) > 0 && (newest == nil || s.LastIndex > newest.LastIndex) {
			newest = s
		}
	}
	if newest == nil {
		return votes{all: len(e.Nodes), up: len(up)}
	}
	var v votes
	for _, m := range newest.Members {
		if m.Suffrage != "voter" {
			continue
		}
		v.all++
		if up[m.NodeId] {
			v.up++
		} else {
			v.missing = append(v.missing, fmt.Sprintf("%s (%s)", m.Name, m.Address))
		}
	}
	return v
}

// empty says that the node waits for a cluster, or to be let into one. Without a
// state it cannot even check who asks, and says so.
func (n NodeReport) empty() bool {
	if s := n.Status; s != nil {
		return s.State == "joining" || s.State == "waiting"
	}
	return Reason(n.Err) == reason.Empty
}

func (e *UnavailableError) refused() bool {
	for _, n := range e.Nodes {
		switch status.Code(n.Err) {
		case codes.Unauthenticated, codes.PermissionDenied:
			return true
		}
	}
	return false
}

func (n NodeReport) says() string {
	if n.Status == nil {
		return Message(n.Err)
	}
	s := n.Status
	line := fmt.Sprintf("node %s is %s in term %d", s.Name, s.State, s.Term)
	if s.LeaderName != "" {
		line += ", says " + s.LeaderName + " leads"
	} else {
		line += ", knows no leader"
	}
	if s.Why != "" {
		line += ": " + s.Why
	}
	return line
}

// explain asks every address how it is, all at once.
func (c *Client) explain(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if Reason(cause) == reason.Busy { // it has a leader, which has said what is wrong
		return cause
	}
	ctx, cancel := context.WithTimeout(ctx, explainFor)
	defer cancel()
	return &UnavailableError{Cause: cause, Nodes: c.pool.survey(ctx)}
}

// Survey asks every node of the capability for its own status, all at once.
func (c *Client) Survey(ctx context.Context) []NodeReport {
	ctx, cancel := context.WithTimeout(ctx, 2*explainFor)
	defer cancel()
	return c.pool.survey(ctx)
}

func (p *pool) survey(ctx context.Context) []NodeReport {
	reports := make([]NodeReport, len(p.nodes))
	var wg sync.WaitGroup
	for i, n := range p.nodes {
		wg.Go(func() {
			reports[i] = n.report(ctx, p)
		})
	}
	wg.Wait()
	return reports
}

func (n *node) report(ctx context.Context, p *pool) NodeReport {
	r := NodeReport{Address: n.addr}
	if r.Err = n.connect(ctx); r.Err != nil {
		return r
	}
	r.Status, r.Err = pb.NewMembershipClient(n.conn).Status(p.outgoing(ctx), &pb.StatusRequest{})
	if errors.Is(r.Err, context.DeadlineExceeded) || status.Code(r.Err) == codes.DeadlineExceeded {
		r.Err = fmt.Errorf("connected, but it does not answer within %v", explainFor)
	}
	return r
}
