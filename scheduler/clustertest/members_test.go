package clustertest

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// The whole cluster stops and starts again from its disks.
func TestRestartFromDisk(t *testing.T) {
	c := Start(t, Options{})
	ledger := workload(t, c, 100, func() {})
	for _, n := range c.Nodes {
		n.Stop()
	}
	for _, n := range c.Nodes {
		n.Start()
	}
	ledger.Verify(c.Admin)
}

func TestMembershipByOperators(t *testing.T) {
	c := Start(t, Options{})
	follower := c.Followers()[0]
	cl := c.Client(c.Admin, follower)
	ctx := c.Context()
	moved, err := cl.Members().TransferLeadership(ctx, &pb.TransferLeadershipRequest{To: follower.Name})
	c.must(err)
	if moved.Leader != follower.Name {
		t.Errorf("the office went to %s", moved.Leader)
	}
	c.Wait(follower.Name+" to lead", follower.Leads)

	// A fourth node joins by itself, and is removed again.
	fourth := c.AddNode("n4")
	fourth.Start()
	c.Wait("n4 to vote", func() bool { return voters(c) == 4 })
	_, err = cl.Members().RemoveMember(ctx, &pb.RemoveMemberRequest{Member: "n4"})
	c.must(err)
	c.Wait("n4 to be gone", func() bool { return voters(c) == 3 })
	fourth.Stop()

	down := c.Followers()[0]
	down.Stop()
	var other *Node
	c.Wait("the loss to be noticed", func() bool {
		other = c.Followers()[0] // the office may move on a crowded machine
		_, err = cl.Members().RemoveMember(ctx, &pb.RemoveMemberRequest{Member: other.Name})
		return client.Reason(err) == reason.Refused
	})
	if !strings.Contains(err.Error(), other.Name) {
		t.Errorf("the refusal is %v", err)
	}
	for _, want := range []string{"Membership/TransferLeadership target=to=" + follower.Name, "Membership/RemoveMember target=member=n4"} {
		if !strings.Contains(c.Log(), want) {
			t.Errorf("no audit line %q", want)
		}
	}
}

// Who speaks Raft without a node's certificate is refused in the handshake, and
// leaves an audit line.
func TestRaftNeedsANodeCertificate(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	config := mtls.PinnedConfig(c.Admin.Pins(), c.Nodes[0].Address, mtls.ProtoRaft)
	conn, err := tls.Dial("tcp", c.Nodes[0].Address, config)
	if err == nil {
		_, err = conn.Read(make([]byte, 1)) // with TLS 1.3 the server's alert comes now
		conn.Close()
	}
	if err == nil || mtls.Explain(err) == "" {
		t.Errorf("the connection ended with %v, %q", err, mtls.Explain(err))
	}
	c.Wait("the audit line", func() bool {
		return strings.Contains(c.Log(), "audit: refused") && strings.Contains(c.Log(), "weir tls cert create")
	})
}

// A caller whose certificate is no good leaves an audit line too, and hears what
// to do.
func TestBadCertificatesAreAudited(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	foreign, err := mtls.NewAuthority("another cluster", time.Hour)
	c.must(err)
	old := mtls.Request{Role: mtls.RoleNode, Name: "n7", Hosts: []string{"127.0.0.1"}, NotBefore: time.Now().Add(-2 * time.Hour), Valid: time.Hour}
	other := mtls.Request{Role: mtls.RoleNode, Name: "n8", Hosts: []string{"127.0.0.1"}, Valid: time.Hour}
	for name, try := range map[string]struct {
		from    *mtls.Authority
		request mtls.Request
		heard   string
		audited string
	}{
		"expired":       {c.ca, old, "has expired", "certificate of n7 has expired"},
		"of another CA": {foreign, other, "CA", "certificate of n8 is signed by another CA"},
	} {
		t.Run(name, func(t *testing.T) {
			pair, err := try.from.Issue(try.request)
			c.must(err)
			own, err := pair.TLS()
			c.must(err)
			config := mtls.PinnedConfig(c.Admin.Pins(), c.Nodes[0].Address, mtls.ProtoGRPC)
			// Whatever authorities the server names, present this certificate.
			config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &own, nil }
			conn, err := tls.Dial("tcp", c.Nodes[0].Address, config)
			if err == nil {
				_, err = conn.Read(make([]byte, 1))
				conn.Close()
			}
			if text := mtls.Explain(err); !strings.Contains(text, try.heard) {
				t.Errorf("the caller hears %v: %q", err, text)
			}
			c.Wait("the audit line", func() bool {
				for line := range strings.Lines(c.Log()) {
					if strings.Contains(line, "audit: refused") && strings.Contains(line, try.audited) {
						return true
					}
				}
				return false
			})
		})
	}
}
