package auth

import (
	"context"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

func TestRefusalsNameTheRemedyAndLeaveALine(t *testing.T) {
	f := newFixture(t)
	read, _ := f.state.grant(t, &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_READ})
	gone, id := f.state.grant(t, &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_READ})
	f.state.revoke(t, id)
	jobs := pb.NewJobServiceClient(f.conn(t, nil))
	for name, c := range map[string]struct {
		ctx        context.Context
		want, line string
	}{
		"no token":      {with(t, capability.Token{}), "no capability was given", "who=unknown"},
		"unknown token": {with(t, capability.NewToken()), "weir cap create", "kind=unauthenticated"},
		"revoked":       {with(t, gone), "ask for a new capability: weir cap create", "who=" + id},
		"wrong kind":    {with(t, read), "it needs a capability of kind admin or operator or submit: weir cap create", "kind=denied"},
		"wrong scheme":  {metadata.AppendToOutgoingContext(with(t, capability.Token{}), reason.MetaAuthorization, "Basic eA=="), "Bearer TOKEN", "kind=unauthenticated"},
		"cut off":       {metadata.AppendToOutgoingContext(with(t, capability.Token{}), reason.MetaAuthorization, "Bearer "+read.Reveal()[:20]), "cut off or mistyped", "kind=unauthenticated"},
		"wrong cluster": {with(t, read, reason.MetaClusterID, "cluster-b"), "belongs to cluster \"cluster-b\"", "kind=wrong_cluster"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := jobs.Submit(c.ctx, &pb.SubmitRequest{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("have %v, want %q", err, c.want)
			}
			line := f.audit.last()
			for _, want := range []string{"audit", "refused", "remote=127.0.0.1:", "JobService/Submit", c.line} {
				if !strings.Contains(line, want) {
					t.Errorf("audit line %q lacks %q", line, want)
				}
			}
		})
	}
	for _, token := range []capability.Token{read, gone} {
		for _, secret := range []string{token.Reveal(), token.Reveal()[:20], hexHash(token)} {
			if strings.Contains(f.audit.String(), secret) {
				t.Errorf("the audit log contains a secret")
			}
		}
	}
}

// A node that has no state yet knows no capability: that says nothing about the
// caller's.
func TestAnEmptyNodeBlamesNoCapability(t *testing.T) {
	f := newFixture(t)
	f.leads = false
	_, err := f.guard.Confirm(incoming("Bearer "+capability.NewToken().Reveal()), pb.Membership_Status_FullMethodName)
	if err == nil || !strings.Contains(err.Error(), "node n1 is empty") || !strings.Contains(err.Error(), "capabilities: it waits for n2") {
		t.Errorf("have %v", err)
	}
	if line := f.audit.last(); !strings.Contains(line, "kind="+reason.Empty) {
		t.Errorf("audit line %q", line)
	}
	f.empty = false // it has a log that nobody has confirmed yet
	_, err = f.guard.Confirm(incoming("Bearer "+capability.NewToken().Reveal()), pb.Membership_Status_FullMethodName)
	if err == nil || strings.Contains(err.Error(), "is empty") || !strings.Contains(err.Error(), "node n1 has its data, but no majority has confirmed it") {
		t.Errorf("have %v", err)
	}
}

// A node that does not lead may not have heard of a new capability yet. It lets
// the leader decide, but never lets a revoked one pass, nor decides itself.
func TestFollowerDefersUnknownTokens(t *testing.T) {
	f := newFixture(t)
	f.leads = false
	gone, id := f.state.grant(t, &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_READ})
	f.state.revoke(t, id)
	unknown := incoming("Bearer " + capability.NewToken().Reveal())
	got, err := f.guard.admit(unknown, pb.JobService_Submit_FullMethodName)
	if err != nil || got.Kind != Unverified {
		t.Errorf("an unknown token is %v, %v; want unverified", got.Kind, err)
	}
	if _, err := f.guard.Confirm(unknown, pb.JobService_Submit_FullMethodName); err == nil {
		t.Error("an unknown token was confirmed")
	}
	if _, err := f.guard.admit(unknown, pb.NodeService_LogStatus_FullMethodName); err == nil {
		t.Error("an unknown token was let through to what only nodes may call")
	}
	if _, err := f.guard.admit(incoming("Bearer "+gone.Reveal()), pb.JobService_GetJob_FullMethodName); err == nil {
		t.Error("a revoked token was deferred")
	}
	if _, err := f.guard.admit(context.Background(), pb.JobService_GetJob_FullMethodName); err == nil {
		t.Error("a call without token was deferred")
	}
}

func incoming(authorization string) context.Context {
	return metadata.NewIncomingContext(context.Background(), metadata.Pairs(reason.MetaAuthorization, authorization))
}

// Only a node is believed when it says whom it speaks for.
func TestForwardedForIsBelievedOfNodesOnly(t *testing.T) {
	f := newFixture(t)
	token, _ := f.state.grant(t, &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_READ})
	ctx := with(t, token, reason.MetaForwardedFor, "192.0.2.9:1234")
	for name, c := range map[string]struct {
		client pb.JobServiceClient
		want   string
	}{
		"client": {pb.NewJobServiceClient(f.conn(t, nil)), "remote=127.0.0.1:"},
		"node":   {pb.NewJobServiceClient(f.conn(t, f.node)), "remote=192.0.2.9:1234"},
	} {
		if _, err := c.client.Submit(ctx, &pb.SubmitRequest{}); err == nil {
			t.Fatalf("%s: a read-only capability submits", name)
		}
		if line := f.audit.last(); !strings.Contains(line, c.want) {
			t.Errorf("%s: audit line %q lacks %q", name, line, c.want)
		}
	}
}

// A token decides, also beside a node's certificate: a node that forwards a
// client's call lends it no right of its own.
func TestTokenBeatsCertificate(t *testing.T) {
	f := newFixture(t)
	token, _ := f.state.grant(t, &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_READ})
	_, err := pb.NewNodeServiceClient(f.conn(t, f.node)).LogStatus(with(t, token), &pb.LogStatusRequest{})
	if err == nil || !strings.Contains(err.Error(), "LogStatus is not for the caller's read-only capability: it needs a node certificate") {
		t.Errorf("have %v, want a refusal", err)
	}
}

func TestChangesAreAudited(t *testing.T) {
	f := newFixture(t)
	admin, id := f.state.grant(t, &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_ADMIN})
	client := pb.NewAdminServiceClient(f.conn(t, nil))
	secret := capability.NewToken()
	_, err := client.CreateCapability(with(t, admin), &pb.CreateCapabilityRequest{
		Kind: pb.CapabilityKind_CAPABILITY_SUBMIT, Client: "ci", Pools: []string{"a", "b"}, TokenSha256: []byte(secret.Hash()),
	})
	if err == nil {
		t.Fatal("the service is implemented")
	}
	line := f.audit.last()
	for _, want := range []string{"change failed", "who=" + id, "CreateCapability", "kind=CAPABILITY_SUBMIT client=ci pools=a,b"} {
		if !strings.Contains(line, want) {
			t.Errorf("audit line %q lacks %q", line, want)
		}
	}
	if strings.Contains(line, secret.Hash()) {
		t.Error("the audit line contains the token's hash")
	}
}

func TestAccessWithinMethods(t *testing.T) {
	mine, theirs := &fsm.Job{ID: 1, Client: "ci", Pool: "p"}, &fsm.Job{ID: 2, Client: "other", Pool: "q"}
	for name, c := range map[string]struct {
		id                Identity
		seesMine, seesOwn bool
	}{
		"admin":              {Identity{Kind: Admin}, true, true},
		"operator":           {Identity{Kind: Operator}, true, true},
		"read-only":          {Identity{Kind: Read}, true, true},
		"read-only of q":     {Identity{Kind: Read, Pools: []string{"q"}}, false, true},
		"submit":             {Identity{Kind: Submit, Client: "ci"}, true, false},
		"submit for p":       {Identity{Kind: Submit, Client: "ci", Pools: []string{"p"}}, true, false},
		"submit for q":       {Identity{Kind: Submit, Client: "ci", Pools: []string{"q"}}, false, false},
		"node":               {Identity{Kind: Node, Node: "n1"}, true, true},
		"worker":             {Identity{Kind: Worker, Pools: []string{"p"}}, false, false},
		"unverified":         {Identity{Kind: Unverified}, false, false},
		"outside of a call":  {From(context.Background()), false, false},
		"nobody of a client": {Identity{Client: "ci"}, false, false},
	} {
		if got := c.id.MaySee(mine) == nil; got != c.seesMine {
			t.Errorf("%s sees job 1: %v", name, got)
		}
		if got := c.id.MaySee(theirs) == nil; got != c.seesOwn {
			t.Errorf("%s sees job 2: %v", name, got)
		}
	}
}

func TestSubmitsFor(t *testing.T) {
	submit, operator := Identity{Kind: Submit, Client: "ci"}, Identity{Kind: Operator}
	for _, c := range []struct {
		id          Identity
		asked, want string // want empty: refused
	}{
		{submit, "", "ci"}, {submit, "ci", "ci"}, {submit, "other", ""}, {operator, "ci", "ci"}, {operator, "", ""},
	} {
		got, err := c.id.SubmitsFor(c.asked)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%v for %q: %q, %v", c.id.Kind, c.asked, got, err)
		}
	}
}
