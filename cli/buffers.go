package cli

import (
	"google.golang.org/grpc/experimental"
	"google.golang.org/grpc/mem"
)

// gRPC clears the whole of a buffer before each use. Its own pool has none
// between 32 KiB and 1 MiB, where most messages with logs and Raft entries are:
// to clear theirs cost as much as to encrypt them.
func init() {
	pool, err := mem.NewBinaryTieredBufferPool(8, 10, 12, 13, 14, 15, 16, 17, 18, 19, 20)
	if err != nil {
		panic("gRPC's buffers: " + err.Error()) // the sizes are wrong
	}
	experimental.SetDefaultBufferPool(pool)
}
