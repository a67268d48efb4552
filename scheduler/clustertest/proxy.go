package clustertest

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// proxy is the address that a node advertises: clients and workers reach the
// node through it, as Outside. Other nodes dial the node itself.
type proxy struct {
	net      *Network
	node     string
	address  string // of the node itself
	listener net.Listener
	refuse   atomic.Bool

	work  sync.WaitGroup
	mu    sync.Mutex
	open  map[net.Conn]struct{}
	ended bool
}

func newProxy(n *Network, node, address string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{net: n, node: node, address: address, listener: l, open: map[net.Conn]struct{}{}}
	n.mu.Lock()
	n.proxies[l.Addr().String()] = p
	n.mu.Unlock()
	p.work.Go(p.accept)
	return p, nil
}

func (p *proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		if p.refuse.Load() || !p.add(c) {
			c.Close()
			continue
		}
		p.work.Go(func() { p.serve(c) })
	}
}

// serve connects the caller to the node; while they are cut off, it stands still.
func (p *proxy) serve(caller net.Conn) {
	defer p.remove(caller)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	first := make([]byte, 32<<10)
	n, err := caller.Read(first) // notices a caller that gives up
	if err != nil {
		return
	}
	node, err := p.net.dial(ctx, Outside, p.node, p.address)
	if err != nil || !p.add(node) {
		return
	}
	defer p.remove(node)
	var up sync.WaitGroup
	up.Go(func() {
		if _, err := node.Write(first[:n]); err == nil {
			_, _ = io.Copy(node, caller)
		}
		node.Close()
	})
	_, _ = io.Copy(caller, node)
	caller.Close()
	up.Wait()
}

func (p *proxy) add(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended {
		p.open[c] = struct{}{}
	}
	return !p.ended
}

func (p *proxy) remove(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

// breakAll ends every connection, as a crash of the node would.
func (p *proxy) breakAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.open {
		c.Close()
	}
}

func (p *proxy) stop() {
	p.listener.Close()
	p.mu.Lock()
	p.ended = true
	p.mu.Unlock()
	p.net.Heal() // nothing waits any more
	p.breakAll()
	p.work.Wait()
}
