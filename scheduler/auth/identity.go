package auth

import (
	"context"
	"slices"
	"strings"

	"github.com/weirbuild/weir/proto/pb"
)

// Kind is what a caller has shown: one kind of capability, or a node's
// certificate. Kinds combine into sets with |.
type Kind uint8

// The kinds. Unverified is a token that this node, which does not lead, has not
// heard of yet: only the leader can tell.
const (
	Admin Kind = 1 << iota
	Operator
	Worker
	Submit
	Read
	Node
	Unverified
)

var kindNames = []struct {
	kind Kind
	name string
}{
	{Admin, "admin"}, {Operator, "operator"}, {Worker, "worker"}, {Submit, "submit"},
	{Read, "read-only"}, {Node, "node certificate"}, {Unverified, "unverified"},
}

// Kinds returns every kind that a rule may name, in the order of the table.
func Kinds() []Kind { return []Kind{Admin, Operator, Worker, Submit, Read, Node} }

// String names a kind, or lists a set.
func (k Kind) String() string {
	var names []string
	for _, n := range kindNames {
		if k&n.kind != 0 {
			names = append(names, n.name)
		}
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, ", ")
}

func kindOf(c pb.CapabilityKind) Kind {
	switch c {
	case pb.CapabilityKind_CAPABILITY_ADMIN:
		return Admin
	case pb.CapabilityKind_CAPABILITY_OPERATOR:
		return Operator
	case pb.CapabilityKind_CAPABILITY_WORKER:
		return Worker
	case pb.CapabilityKind_CAPABILITY_SUBMIT:
		return Submit
	case pb.CapabilityKind_CAPABILITY_READ:
		return Read
	default:
		return 0
	}
}

// Identity is who calls, as far as this node could prove.
type Identity struct {
	Kind       Kind
	Capability string   // its id; empty for a node
	Client     string   // of a submit capability
	Pools      []string // that it is limited to; empty: every pool
	Node       string   // the name in a node's certificate
	Remote     string   // the address of the first caller, also behind a node that forwards
	RelayedBy  string   // the node that passes a worker's session on
}

// Actor is the identity as the log of changes names it.
func (id Identity) Actor() *pb.Actor {
	return &pb.Actor{Capability: id.Name(), From: id.Remote}
}

// Name is the capability's id, or node:NAME.
func (id Identity) Name() string {
	switch {
	case id.Capability != "":
		return id.Capability
	case id.Node != "":
		return "node:" + id.Node
	default:
		return "unknown"
	}
}

// InPool reports whether the identity is not limited to other pools.
func (id Identity) InPool(pool string) bool {
	return len(id.Pools) == 0 || slices.Contains(id.Pools, pool)
}

type identityKey struct{}

// From returns the identity that the interceptors found; its Kind is 0 outside
// of a call.
func From(ctx context.Context) Identity {
	id, _ := ctx.Value(identityKey{}).(Identity)
	return id
}

// With returns a context of a call made by id.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}
