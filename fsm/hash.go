package fsm

import (
	"crypto/sha256"
	"io"
)

// Hash sums up the state: equal on nodes that applied the same commands. It costs
// as much as a snapshot; take it of a Clone where commands must not wait.
func (s *State) Hash() Digest {
	h := sha256.New()
	if _, err := s.WriteTo(struct{ io.Writer }{h}); err != nil {
		panic("fsm: hash: " + err.Error()) // a hash takes all, so a record does not marshal
	}
	return Digest(h.Sum(nil))
}
