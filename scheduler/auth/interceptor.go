package auth

import (
	"context"

	"google.golang.org/grpc"
)

// Unary is the interceptor of unary calls.
func (g *Guard) Unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	id, err := g.admit(ctx, info.FullMethod)
	if err != nil {
		return nil, err
	}
	return next(With(ctx, id), req)
}

// Stream is the interceptor of streams. A stream whose capability is revoked
// ends at once, whatever its handler is doing: gRPC unblocks the handler when
// the status is out.
func (g *Guard) Stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	id, err := g.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	s := newStream(ss, id)
	defer s.end(context.Canceled)
	defer g.streams.add(id.Capability, s)()
	if g.isRevoked(id.Capability) { // since it was looked up
		err := revoked(id.Capability)
		g.refused(id, info.FullMethod, err)
		return err
	}
	return g.streams.serve(s, func() error { return next(srv, s) })
}
