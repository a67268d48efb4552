package raftnode

import (
	"crypto/tls"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/weirbuild/weir/proto/mtls"
)

// A caller that does not trust this node's CA says so with an alert, and the node
// keeps a line of it: somebody has a capability or a ca.pem of another cluster.
func TestACallerThatDistrustsTheNodeIsAudited(t *testing.T) {
	t.Parallel()
	ca, other := newTestCA(t), newTestCA(t)
	var mu sync.Mutex
	var audited []string
	m := startMux(t, ca, func(remote, what string) {
		mu.Lock()
		defer mu.Unlock()
		audited = append(audited, remote+" "+what)
	})
	address := m.tcp.Addr().String()
	stranger := other.issue(t, "stranger")
	for name, config := range map[string]*tls.Config{
		"a client with another pin":  mtls.PinnedConfig([]mtls.Pin{mtls.Fingerprint(other.authority.Cert)}, address, mtls.ProtoGRPC),
		"a node of another cluster":  stranger.ClientConfig(mtls.ProtoGRPC),
		"such a node, speaking Raft": stranger.ClientConfig(mtls.ProtoRaft),
	} {
		conn, err := (&tls.Dialer{Config: config}).Dial("tcp", address)
		if err == nil {
			conn.Close()
			t.Fatalf("%s trusts this one", name)
		}
		eventually(t, "the audit of "+name, func() error {
			mu.Lock()
			defer mu.Unlock()
			if len(audited) != 1 || !strings.HasPrefix(audited[0], "127.0.0.1:") || !strings.Contains(audited[0], "does not trust this node's certificate") {
				return errors.New(strings.Join(audited, "; "))
			}
			audited = nil
			return nil
		})
	}
}
