package session

import (
	"errors"
	"sync"

	"github.com/weirbuild/weir/proto/capability"
)

var errRenewed = errors.New("the worker's capability was read again")

// pass is what the worker comes with, which may change while it runs.
type pass struct {
	mu         sync.Mutex
	capability capability.Capability
	keys       []string
	renewed    chan struct{} // closed at each change
}

func newPass(c capability.Capability, keys []string) *pass {
	return &pass{capability: c, keys: keys, renewed: make(chan struct{})}
}

func (p *pass) get() (c capability.Capability, keys []string, renewed <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.capability, p.keys, p.renewed
}

func (p *pass) card() capability.Capability {
	c, _, _ := p.get()
	return c
}

// Renew makes the session go on with another capability, and tell the cluster which
// keys the worker holds now: it connects anew, as after a lost stream, and what runs
// goes on.
func (s *Session) Renew(c capability.Capability, keys []string) {
	p := s.pass
	p.mu.Lock()
	defer p.mu.Unlock()
	p.capability, p.keys = c, keys
	close(p.renewed)
	p.renewed = make(chan struct{})
}
