package auth

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

func (g *Guard) refused(id Identity, method string, err error) {
	kind := ""
	if r, ok := errors.AsType[*fsm.Refusal](err); ok {
		kind = string(r.Kind)
	}
	if g.pace.write(id.Name(), id.Remote, kind, err.Error(), time.Now()) {
		g.audit.Warn("refused", "who", id.Name(), "remote", id.Remote, "method", method, "kind", kind, "reason", err)
	}
}

// Alert leaves the audit line of a connection that was refused before it could
// make a call.
func (g *Guard) Alert(remote, what string) {
	const kind = "connection"
	if g.pace.write("unknown", remote, kind, what, time.Now()) {
		g.audit.Warn("refused", "who", "unknown", "remote", remote, "kind", kind, "reason", what)
	}
}

// tellMore writes one line for all refusals that were only counted, in the
// windows that are over by now; the zero time ends every window.
func (g *Guard) tellMore(now time.Time) {
	for _, s := range g.pace.take(now) {
		g.audit.Warn("refused again", "who", s.who, "remote", s.host, "kind", s.kind, "more", s.more, "last_reason", s.last)
	}
}

// Audit is the interceptor that records administrative changes, and what a
// handler refused for want of a right. It belongs after everything that may
// pass the call on to another node.
func (g *Guard) Audit(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	reply, err := next(ctx, req)
	id := From(ctx)
	if denied(err) {
		g.refused(id, info.FullMethod, err)
		return reply, err
	}
	if !table[info.FullMethod].change || err == nil && pending(reply) {
		return reply, err
	}
	args := []any{"who", id.Name(), "remote", id.Remote, "method", info.FullMethod, "target", target(req)}
	if err != nil && info.FullMethod == pb.Membership_Join_FullMethodName && !g.pace.write(id.Name(), id.Remote, "join", err.Error(), time.Now()) {
		return reply, err // a node asks four times a second
	}
	if err != nil {
		g.audit.Warn("change failed", append(args, "reason", err)...)
		return reply, err
	}
	g.audit.Info("changed", args...)
	return reply, err
}

// AuditStream is Audit for streams, which change nothing that it records.
func (g *Guard) AuditStream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	err := next(srv, ss)
	if denied(err) {
		g.refused(From(ss.Context()), info.FullMethod, err)
	}
	return err
}

// pending says that a node which asks to join is not a member yet: it asks again
// and again until it is.
func pending(reply any) bool {
	join, ok := reply.(*pb.JoinReply)
	return ok && !join.Added
}

func denied(err error) bool {
	r, ok := errors.AsType[*fsm.Refusal](err)
	return ok && (r.Kind == reason.Denied || r.Kind == reason.Unauthenticated)
}

// named are the fields of requests that say what is changed.
var named = []protoreflect.Name{"id", "name", "node_id", "address", "member", "to", "pool", "kind", "client", "pools"}

// target lists those fields of a request.
func target(req any) string {
	m, ok := req.(proto.Message)
	if !ok {
		return ""
	}
	var parts []string
	r := m.ProtoReflect()
	for _, name := range named {
		f := r.Descriptor().Fields().ByName(name)
		if f == nil || !r.Has(f) {
			continue
		}
		parts = append(parts, fmt.Sprintf("%s=%s", name, value(r, f)))
	}
	return strings.Join(parts, " ")
}

func value(r protoreflect.Message, f protoreflect.FieldDescriptor) string {
	v := r.Get(f)
	if f.IsList() {
		var all []string
		for i := range v.List().Len() {
			all = append(all, v.List().Get(i).String())
		}
		return strings.Join(all, ",")
	}
	if f.Enum() == nil {
		return v.String()
	}
	if e := f.Enum().Values().ByNumber(v.Enum()); e != nil {
		return string(e.Name())
	}
	return fmt.Sprint(v.Enum())
}
