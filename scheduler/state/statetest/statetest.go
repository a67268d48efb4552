// Package statetest runs a real state.Store for tests: one node, in a temporary
// directory, that leads.
package statetest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/state"
)

// patience is how long a test waits for a node that should be there at once.
const patience = 30 * time.Second

// Start runs a cluster of one node until the test ends, and returns it in
// office. lead is called for the term; nil does nothing.
func Start(t testing.TB, lead func(s *state.Store, term context.Context) error) *state.Store {
	t.Helper()
	s, stop := Run(t, t.TempDir(), lead)
	t.Cleanup(stop)
	return s
}

// Run runs a cluster of one node over a data directory until stop is called, and
// returns it in office.
func Run(t testing.TB, dir string, lead func(s *state.Store, term context.Context) error) (s *state.Store, stop func()) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err = state.Open(raftnode.Config{
		DataDir: dir, Name: "n1", Advertise: listener.Addr().String(), BootstrapExpect: 1, Profile: raftnode.Local,
		Raft: listener, DialTLS: func(string) *tls.Config { return &tls.Config{MinVersion: tls.VersionTLS13} },
	})
	if err != nil {
		_ = listener.Close()
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	office, ended := make(chan struct{}, 16), make(chan error, 1)
	go func() {
		ended <- s.Run(ctx, func(term context.Context) error {
			office <- struct{}{}
			if lead == nil {
				<-term.Done()
				return nil
			}
			return lead(s, term)
		})
	}()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("node: %v", err)
		}
		_ = listener.Close()
	}
	select {
	case <-office:
		return s, stop
	case err := <-ended:
		t.Fatalf("node: %v", errors.Join(err, listener.Close()))
	case <-time.After(patience):
		cancel()
		t.Fatal("the node is not in office")
	}
	return nil, nil
}
