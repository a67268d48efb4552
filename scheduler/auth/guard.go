package auth

import (
	"context"
	"crypto/sha256"
	"fmt"
	"strings"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/reason"
)

// State is this node's copy of the replicated state.
type State interface {
	View(f func(*fsm.State))
}

// Config is what a Guard needs.
type Config struct {
	State   State
	Leads   func() bool   // this node leads, and its state is as new as any
	Cluster func() string // the cluster's id; empty while this node has none
	Name    string        // this node's, for messages
	Empty   func() bool   // this node has no data of a cluster
	Why     func() string // it is not ready
	Logger  hclog.Logger  // gets the audit lines, under the name audit, also when its level is above them (see New)
}

// Guard stands before every handler of a node.
type Guard struct {
	Config
	audit   hclog.Logger
	pace    pacer
	streams streams
}

// New returns a guard. Its Unary and Stream belong in the server's chain,
// before everything that acts; its Run must run for revocations to be seen.
//
// No level silences the audit. A logger without levels of its own for each name
// (hclog's IndependentLevels) is lowered as a whole.
func New(c Config) *Guard {
	audit := c.Logger.ResetNamed("audit")
	if !audit.IsInfo() {
		audit.SetLevel(hclog.Info)
	}
	return &Guard{Config: c, audit: audit, streams: streams{open: map[string]map[*stream]struct{}{}}}
}

// admit finds out who calls, and refuses who may not.
func (g *Guard) admit(ctx context.Context, method string) (Identity, error) {
	id, err := g.identify(ctx, !g.Leads())
	if err == nil {
		err = permit(id, method)
	}
	if err != nil {
		g.refused(id, method, err)
	}
	return id, err
}

// Confirm checks an identity again that was let through Unverified because
// another node was to decide, and now this one must. A stream belongs to the
// capability from then on, and ends when that is revoked.
func (g *Guard) Confirm(ctx context.Context, method string) (context.Context, error) {
	id, err := g.identify(ctx, false)
	if err == nil {
		err = permit(id, method)
	}
	if s, ok := ctx.Value(streamKey{}).(*stream); ok && err == nil {
		g.streams.move(s, id.Capability)
		if g.isRevoked(id.Capability) { // since it was looked up
			err = revoked(id.Capability)
		}
	}
	if err != nil {
		g.refused(id, method, err)
		return ctx, err
	}
	return With(ctx, id), nil
}

// identify returns who calls. A token that this node does not know is
// Unverified where deferring is allowed, else refused.
func (g *Guard) identify(ctx context.Context, mayDefer bool) (Identity, error) {
	id := origin(ctx)
	if err := g.sameCluster(ctx); err != nil {
		return id, err
	}
	token, err := bearer(ctx)
	switch {
	case err != nil:
		return id, err
	case token == "" && id.Node != "":
		id.Kind = Node
		return id, nil
	case token == "":
		return id, refuse(reason.Unauthenticated, "no capability was given: pass one with --connect, WEIR_CAPABILITY or a capability file")
	}
	id.Node = "" // the token says who calls; the certificate is of the node that passes it on
	return g.lookUp(id, token, mayDefer)
}

func (g *Guard) lookUp(id Identity, token string, mayDefer bool) (Identity, error) {
	hash := sha256.Sum256([]byte(token))
	var c *fsm.Capability
	known, empty := false, true
	g.State.View(func(s *fsm.State) {
		c, known = s.CapabilityByHash(hash[:])
		for range s.Capabilities() {
			empty = false
			break
		}
	})
	switch {
	case !known && mayDefer:
		id.Kind = Unverified
		return id, nil
	case !known && empty && !g.Leads() && g.Empty():
		return id, refuse(reason.Empty, "node %s is empty and not part of a cluster yet, so it cannot check capabilities: %s", g.Name, g.Why())
	case !known && empty && !g.Leads():
		return id, refuse(reason.NoLeader, "node %s has its data, but no majority has confirmed it since the node started, so it cannot check capabilities: %s", g.Name, g.Why())
	case !known:
		return id, refuse(reason.Unauthenticated, "this cluster does not know the capability's token: it belongs to another cluster, or was mistyped; ask for a new one: weir cap create")
	}
	id.Capability, id.Client, id.Pools, id.Kind = c.ID, c.Client, c.Pools, kindOf(c.Kind)
	if c.Revoked != 0 {
		return id, revoked(c.ID)
	}
	return id, nil
}

func revoked(capability string) error {
	return refuse(reason.Unauthenticated, "capability %s was revoked: ask for a new capability: weir cap create", capability)
}

// permit looks the method up in the table.
func permit(id Identity, method string) error {
	may, ok := Allowed(method)
	if !ok {
		return refuse(reason.Denied, "this node does not serve %s: use a client of the same release", method)
	}
	if id.Kind == Unverified {
		if may&^Node != 0 {
			return nil
		}
	} else if may&id.Kind != 0 {
		return nil
	}
	_, name, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	return refuse(reason.Denied, "%s is not for the caller's %s: it needs %s", name, shown(id.Kind), needed(may))
}

func shown(k Kind) string {
	if k == Node {
		return "node certificate"
	}
	return k.String() + " capability"
}

// needed says what would do, and who makes it.
func needed(may Kind) string {
	if may == Node {
		return "a node certificate: weir tls cert create"
	}
	return fmt.Sprintf("a capability of kind %s: weir cap create", strings.ReplaceAll((may&^Node).String(), ", ", " or "))
}

// origin reads what the connection proves, and what a node passes on.
func origin(ctx context.Context) Identity {
	var id Identity
	p, ok := peer.FromContext(ctx)
	if !ok {
		return id
	}
	id.Remote = p.Addr.String()
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	if !ok || len(info.State.VerifiedChains) == 0 || !mtls.IsNode(info.State.PeerCertificates[0]) {
		return id
	}
	id.Node = mtls.NodeName(info.State.PeerCertificates[0])
	if from := first(ctx, reason.MetaForwardedFor); from != "" {
		id.Remote = from
	}
	id.RelayedBy = first(ctx, reason.MetaRelayedBy)
	return id
}

// Forwarded reports whether another node passed this call on.
func Forwarded(ctx context.Context) bool {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	info, ok := p.AuthInfo.(credentials.TLSInfo)
	return ok && len(info.State.VerifiedChains) > 0 && mtls.IsNode(info.State.PeerCertificates[0]) &&
		first(ctx, reason.MetaForwardedFor) != ""
}

func (g *Guard) sameCluster(ctx context.Context) error {
	theirs, ours := first(ctx, reason.MetaClusterID), g.Cluster()
	if theirs == "" || ours == "" || theirs == ours {
		return nil
	}
	return refuse(reason.WrongCluster, "the caller belongs to cluster %s, node %s to %s: check the addresses it dials", clean(theirs), g.Name, ours)
}

// bearer returns the token of the call, "" when there is none.
func bearer(ctx context.Context) (string, error) {
	value := first(ctx, reason.MetaAuthorization)
	if value == "" {
		return "", nil
	}
	scheme, text, ok := strings.Cut(value, " ")
	if !ok || !strings.EqualFold(scheme, "bearer") {
		return "", refuse(reason.Unauthenticated, "the authorization metadata is not \"Bearer TOKEN\": use a capability as weir printed it")
	}
	token, err := capability.ParseToken(text)
	if err != nil {
		return "", refuse(reason.Unauthenticated, "the capability's token is cut off or mistyped: copy it whole, or ask for a new one: weir cap create")
	}
	return token.Reveal(), nil
}

func first(ctx context.Context, key string) string {
	if values := metadata.ValueFromIncomingContext(ctx, key); len(values) > 0 {
		return values[0]
	}
	return ""
}

// clean makes what a caller sent fit for a message.
func clean(text string) string {
	if len(text) > 64 {
		text = text[:64]
	}
	return fmt.Sprintf("%q", text)
}

// refuse makes a refusal of a call, as the state makes refusals of commands.
func refuse(kind, format string, args ...any) error {
	return &fsm.Refusal{Kind: fsm.Kind(kind), Message: fmt.Sprintf(format, args...)}
}
