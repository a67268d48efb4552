package sessiontest

import (
	"sync"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
)

// Logs takes every log that is offered and seals it when it is complete.
type Logs struct {
	mu     sync.Mutex
	bytes  map[uint64][]byte
	sealed map[uint64]bool
}

// Serve is a Node's log stream.
func (l *Logs) Serve(s LogStream) error {
	for {
		up, err := s.Recv()
		if err != nil {
			return err
		}
		if acks := l.take(up); len(acks) > 0 {
			if err := s.Send(&pb.LogDown{Acks: acks}); err != nil {
				return err
			}
		}
	}
}

func (l *Logs) take(up *pb.LogUp) (acks []*pb.LogAck) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes == nil {
		l.bytes, l.sealed = map[uint64][]byte{}, map[uint64]bool{}
	}
	for _, o := range up.Offers {
		acks = append(acks, &pb.LogAck{Lease: o.Lease, Want: int64(len(l.bytes[o.Lease])), Sealed: l.sealed[o.Lease]})
	}
	for _, c := range up.Chunks {
		if c.Offset == int64(len(l.bytes[c.Lease])) {
			l.bytes[c.Lease] = append(l.bytes[c.Lease], data(c)...)
		}
		size := int64(len(l.bytes[c.Lease]))
		l.sealed[c.Lease] = l.sealed[c.Lease] || c.End != nil && c.End.Bytes == size
		acks = append(acks, &pb.LogAck{Lease: c.Lease, Want: size, Sealed: l.sealed[c.Lease]})
	}
	return acks
}

// Sealed returns a log that is complete.
func (l *Logs) Sealed(lease uint64) (text string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.bytes[lease]), l.sealed[lease]
}

// data is what a chunk holds; a damaged one holds nothing.
func data(c *pb.LogChunk) []byte {
	if len(c.Packed) == 0 {
		return c.Data
	}
	plain, _ := logpack.Unpack(nil, c.Packed) // the missing bytes fail the test
	return plain
}
