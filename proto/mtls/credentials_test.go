package mtls

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// serve runs a gRPC server with a health service until the test ends.
func serve(t *testing.T, creds credentials.TransportCredentials) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(grpc.Creds(creds))
	grpc_health_v1.RegisterHealthServer(s, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }()
	t.Cleanup(func() { s.Stop(); <-done })
	return l.Addr().String()
}

func check(t *testing.T, addr string, creds credentials.TransportCredentials) error {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+addr, grpc.WithTransportCredentials(creds))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(t.Context(), deadline)
	defer cancel()
	_, err = grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	return err
}

func TestGRPC(t *testing.T) {
	ca := newCA(t)
	node := newNode(t, ca)
	addr := serve(t, credentials.NewTLS(node.ServerConfig()))
	if err := check(t, addr, DialingPinned([]Pin{Fingerprint(ca.Cert)})); err != nil {
		t.Errorf("pinned: %v", err)
	}
	if err := check(t, addr, newNode(t, ca).Dialing()); err != nil {
		t.Errorf("node: %v", err)
	}
}

// gRPC keeps only the text of an error: the remedy must survive that.
func TestExplainThroughGRPC(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	addr := serve(t, credentials.NewTLS(newNode(t, ca).ServerConfig()))
	past := nodeRequest()
	past.NotBefore, past.Valid = time.Now().Add(-2*time.Hour), time.Hour
	expired := serve(t, credentials.NewTLS(static(t, issue(t, ca, past), nil)))
	for name, c := range map[string]struct {
		addr  string
		creds credentials.TransportCredentials
		want  string
	}{
		"pin":                {addr, DialingPinned([]Pin{Fingerprint(other.Cert)}), "the CA of n1 is not the pinned one"},
		"server expired":     {expired, DialingPinned([]Pin{Fingerprint(ca.Cert)}), "the certificate of n1 has expired"},
		"node of another CA": {addr, newNode(t, other).Dialing(), "signed by another CA"},
	} {
		text := Explain(check(t, c.addr, c.creds))
		if !strings.Contains(text, c.want) || strings.ContainsAny(text, "\"\n\\") {
			t.Errorf("%s: explained as %q, want %q", name, text, c.want)
		}
	}
}

func TestExplainOtherErrors(t *testing.T) {
	if Explain(nil) != "" || Explain(context.Canceled) != "" {
		t.Error("an error that is not about TLS was explained")
	}
}
