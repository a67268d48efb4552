package mtls

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAuthorityOnDisk(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca.key")
	ca := newCA(t)
	if err := ca.Save(cert, key); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v, want mode 0600", info.Mode(), err)
	}
	if err := newCA(t).Save(cert, key); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second CA over the first: %v", err)
	}
	if err := newCA(t).Save(filepath.Join(dir, "new.pem"), key); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second CA key over the first: %v", err)
	}
	loaded, err := LoadAuthority(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	if Fingerprint(loaded.Cert) != Fingerprint(ca.Cert) {
		t.Error("the loaded CA is another one")
	}
	leaf := leafOf(t, issue(t, loaded, nodeRequest()))
	if err := leaf.CheckSignatureFrom(ca.Cert); err != nil {
		t.Error(err)
	}
	names, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || len(names) != 0 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestLoadAuthorityRefuses(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"a", "b"} {
		if err := newCA(t).Save(at(name+".pem"), at(name+".key")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := LoadAuthority(at("a.pem"), at("b.key")); err == nil || !strings.Contains(err.Error(), "is not the key of") {
		t.Errorf("another CA's key: %v", err)
	}
	if err := issue(t, newCA(t), nodeRequest()).Save(at("n.pem"), at("n.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAuthority(at("n.pem"), at("n.key")); err == nil || !strings.Contains(err.Error(), "not a CA") {
		t.Errorf("a node's certificate: %v", err)
	}
	if err := os.Chmod(at("a.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAuthority(at("a.pem"), at("a.key")); err == nil || !strings.Contains(err.Error(), "chmod 600 "+at("a.key")) {
		t.Errorf("a key that all can read: %v", err)
	}
}

func TestIssueChecksTheRequest(t *testing.T) {
	ca := newCA(t)
	for name, change := range map[string]func(*Request){
		"no name":       func(r *Request) { r.Name = "" },
		"slash in name": func(r *Request) { r.Name = "a/b" },
		"long name":     func(r *Request) { r.Name = strings.Repeat("a", 64) },
		"unknown role":  func(r *Request) { r.Role = "root" },
		"no hosts":      func(r *Request) { r.Hosts = nil },
		"host and port": func(r *Request) { r.Hosts = []string{"n1:7000"} },
		"empty host":    func(r *Request) { r.Hosts = []string{""} },
		"wildcard":      func(r *Request) { r.Hosts = []string{"*.example.org"} },
		"no validity":   func(r *Request) { r.Valid = 0 },
		"after the CA":  func(r *Request) { r.NotBefore = time.Now().Add(2 * time.Hour) },
	} {
		r := nodeRequest()
		change(&r)
		if _, err := ca.Issue(r); err == nil {
			t.Errorf("%s: issued", name)
		}
	}
	r := nodeRequest()
	r.Valid = 1000 * time.Hour
	if leaf := leafOf(t, issue(t, ca, r)); !leaf.NotAfter.Equal(ca.Cert.NotAfter) {
		t.Errorf("valid until %v, the CA only until %v", leaf.NotAfter, ca.Cert.NotAfter)
	}
}

func TestIdentityIsExact(t *testing.T) {
	for text, want := range map[string]struct {
		node bool
		name string
	}{
		"weir://role/node weir://name/n1":                   {true, "n1"},
		"weir://name/n1":                                    {false, ""},
		"weir://role/node":                                  {true, ""},
		"weir://role/node weir://name/a weir://name/b":      {true, ""},
		"weir://role/node weir://name/a%2Fb":                {true, ""},
		"weir://role/nodes weir://name/n1":                  {false, ""},
		"weir://role/node/x weir://name/n1":                 {false, ""},
		"weir://role/node?x=1":                              {false, ""},
		"weir://role/node#x":                                {false, ""},
		"weir://user@role/node":                             {false, ""},
		"weir://role:1/node":                                {false, ""},
		"http://role/node":                                  {false, ""},
		"weir:role/node":                                    {false, ""},
		"weir://role//node":                                 {false, ""},
		"weir://role/client weir://name/n1":                 {false, ""},
		"weir://role/client weir://role/node weir://name/x": {true, "x"},
	} {
		cert := &x509.Certificate{}
		for _, part := range strings.Fields(text) {
			u, err := url.Parse(part)
			if err != nil {
				t.Fatal(err)
			}
			cert.URIs = append(cert.URIs, u)
		}
		if IsNode(cert) != want.node || NodeName(cert) != want.name {
			t.Errorf("%s: node %v, name %q", text, IsNode(cert), NodeName(cert))
		}
	}
	if IsNode(nil) || NodeName(nil) != "" {
		t.Error("no certificate passes for a node")
	}
}

func TestPinText(t *testing.T) {
	pin := Fingerprint(newCA(t).Cert)
	if back, err := ParsePin(pin.String()); err != nil || back != pin {
		t.Errorf("%v: %v, %v", pin, back, err)
	}
	for _, bad := range []string{"", "sha256:", pin.String() + "0", pin.String()[1:], strings.ToUpper(pin.String()),
		"sha256:" + strings.ToUpper(pin.String()[7:]), "sha1:" + pin.String()[7:], "sha256:" + strings.Repeat("g", 64)} {
		if _, err := ParsePin(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func leafOf(t *testing.T, p *Pair) *x509.Certificate {
	t.Helper()
	certs, err := parseCerts(p.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	return certs[0]
}
