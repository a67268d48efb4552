package api

import (
	"context"

	"github.com/weirbuild/weir/proto/pb"
)

type Caller struct{ CapabilityID, Remote, RelayedBy string }
type SessionStream interface {
	Context() context.Context
	Send(*pb.NodeMessage) error
	Recv() (*pb.WorkerMessage, error)
}
