package mtls

import (
	"bytes"
	"crypto/x509"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

func TestCertificateIsReplacedWithoutRestart(t *testing.T) {
	ca := newCA(t)
	files := save(t, t.TempDir(), issue(t, ca, nodeRequest()), ca)
	node, err := LoadNode(files, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	addr, _ := listen(t, node.ServerConfig())
	served := func() *x509.Certificate {
		state, err := dial(addr, PinnedConfig([]Pin{Fingerprint(ca.Cert)}, addr, ProtoGRPC))
		if err != nil {
			t.Fatal(err)
		}
		return state.PeerCertificates[0]
	}
	before := served()
	if err := issue(t, ca, nodeRequest()).Save(files.Cert, files.Key); err != nil {
		t.Fatal(err)
	}
	end, tick := time.After(deadline), time.NewTicker(50*time.Millisecond)
	defer tick.Stop()
	for served().Equal(before) {
		select {
		case <-end:
			t.Fatal("the new certificate is not served")
		case <-tick.C:
		}
	}
}

func TestBrokenFilesKeepTheLastGoodState(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	files := save(t, t.TempDir(), issue(t, ca, nodeRequest()), ca)
	var log bytes.Buffer
	node, err := LoadNode(files, hclog.New(&hclog.LoggerOptions{Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	good, now := node.material(), time.Now()
	later := func() *material {
		now = now.Add(2 * recheck)
		return node.refresh(now)
	}
	replacement := issue(t, ca, nodeRequest())
	for what, change := range map[string]func() error{
		"half a file":      func() error { return os.WriteFile(files.Cert, replacement.CertPEM[:100], 0o600) },
		"another key":      func() error { return os.WriteFile(files.Cert, issue(t, ca, nodeRequest()).CertPEM, 0o600) },
		"another CA":       func() error { return issue(t, other, nodeRequest()).Save(files.Cert, files.Key) },
		"readable key":     func() error { return os.Chmod(files.Key, 0o644) },
		"no file any more": func() error { return os.Remove(files.Key) },
	} {
		if err := replacement.Save(files.Cert, files.Key); err != nil {
			t.Fatal(err)
		}
		good = later()
		log.Reset()
		if err := change(); err != nil {
			t.Fatal(err)
		}
		if what == "readable key" { // a change of mode alone is no change of content
			if err := os.Chtimes(files.Cert, now, now); err != nil {
				t.Fatal(err)
			}
		}
		if later() != good {
			t.Errorf("%s: the good certificate went out of use", what)
		}
		if !strings.Contains(log.String(), "keep using the previous certificate") {
			t.Errorf("%s: logged %q", what, log.String())
		}
	}
	if err := replacement.Save(files.Cert, files.Key); err != nil {
		t.Fatal(err)
	}
	if later() == good {
		t.Error("the repaired files were not read")
	}
}

func TestReloadFailureIsLoggedOnce(t *testing.T) {
	ca := newCA(t)
	files := save(t, t.TempDir(), issue(t, ca, nodeRequest()), ca)
	var log bytes.Buffer
	node, err := LoadNode(files, hclog.New(&hclog.LoggerOptions{Output: &log}))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(files.CA); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		node.refresh(time.Now().Add(time.Duration(i+1) * 2 * recheck))
	}
	if n := strings.Count(log.String(), "\n"); n != 1 {
		t.Errorf("logged %d lines for one change:\n%s", n, log.String())
	}
}

func TestAuthorityIsReplacedWithoutRestart(t *testing.T) {
	first, second := newCA(t), newCA(t)
	files := save(t, t.TempDir(), issue(t, first, nodeRequest()), first)
	node, err := LoadNode(files, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	moved := newNode(t, second)
	addr, _ := listen(t, node.ServerConfig())
	if _, err := dial(addr, moved.ClientConfig(ProtoRaft)); err == nil {
		t.Fatal("a node of another CA was accepted")
	}
	save(t, strings.TrimSuffix(files.CA, "/ca.pem"), issue(t, first, nodeRequest()), first, second)
	node.refresh(time.Now().Add(2 * recheck))
	if pins := node.Pins(); !slices.Equal(pins, []Pin{Fingerprint(first.Cert), Fingerprint(second.Cert)}) {
		t.Errorf("pins %v", pins)
	}
	config := PinnedConfig([]Pin{Fingerprint(first.Cert)}, addr, ProtoRaft)
	config.GetClientCertificate = moved.ClientConfig(ProtoRaft).GetClientCertificate
	if _, err := dial(addr, config); err != nil {
		t.Errorf("both CAs are trusted now, but: %v", err)
	}
}

func TestLoadNodeRefuses(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	past := nodeRequest()
	past.NotBefore, past.Valid = time.Now().Add(-2*time.Hour), time.Hour
	client := nodeRequest()
	client.Role = RoleClient
	for name, c := range map[string]struct {
		files Files
		want  string
	}{
		"expired":      {save(t, t.TempDir(), issue(t, ca, past), ca), "expired"},
		"other CA":     {save(t, t.TempDir(), issue(t, other, nodeRequest()), ca), "another CA"},
		"client role":  {save(t, t.TempDir(), issue(t, ca, client), ca), "not a node's"},
		"no files":     {Files{CA: "/nonexistent/ca.pem"}, "/nonexistent/ca.pem"},
		"empty bundle": {save(t, t.TempDir(), issue(t, ca, nodeRequest())), "no PEM certificate"},
	} {
		if _, err := LoadNode(c.files, hclog.NewNullLogger()); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want it to say %q", name, err, c.want)
		}
	}
}
