package processtest

import (
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
)

// TestAccess is about who is let in, and who no more.
func TestAccess(t *testing.T) {
	t.Parallel()
	w := start(t, local.Config{})
	w.client("tests")
	t.Run("revoked-reader", func(t *testing.T) { testRevokedReader(w.in(t)) })
	t.Run("revoked-worker", func(t *testing.T) { testRevokedWorker(w.in(t)) })
	t.Run("secrets", func(t *testing.T) { testSecrets(w.in(t)) })
	t.Run("wrong", func(t *testing.T) { testWrongCapability(w.in(t)) })
	t.Run("expired", func(t *testing.T) { testExpiredCertificate(w.in(t)) })
}

// A capability is revoked while its holder follows a log through a follower.
func testRevokedReader(w *world) {
	capFile := w.pool("read", nil)
	worker := w.worker("read", "r1", capFile, 1)
	reader, id := w.capability("reader", &pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_READ})
	job := w.waiting("read", "job")
	w.until("the build", func() bool { return w.alive("job") })
	_, followers := w.leader()
	c := w.begin(w.through(reader, followers[0]), "logs", "-f", fmt.Sprint(job))
	w.until("the first line", func() bool { return c.out.has("Building on r1\n") })
	w.ok(w.adminAt, "cap", "revoke", id)
	revoked := time.Now()
	a := c.wait()
	took := time.Since(revoked)
	w.t.Logf("`weir logs -f` through a follower ended %v after its capability was revoked (bound: 1s): %s", took.Round(time.Millisecond), strings.TrimSpace(a.err))
	if took > 3*time.Second {
		w.t.Errorf("it ended after %v", took)
	}
	w.refused(a, 4, "capability "+id+" was revoked", "weir cap create")
	w.refused(w.weir(reader, "jobs"), 4, "capability "+id+" was revoked", "weir cap create")
	w.touch("job-1")
	w.settled(job)
	w.must(worker.Stop())
}

// A worker's capability is revoked: its leases end at once, its jobs run
// elsewhere, and that is no failed attempt: the pool allows one.
func testRevokedWorker(w *world) {
	good := w.pool("work", &pb.PoolConfig{Attempts: 1, LeaseTtlMs: 120_000})
	bad, id := w.capability("bad", &pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_WORKER, Pools: []string{"work"}})
	first := w.worker("work", "bad", bad, 1)
	job := w.waiting("work", "moved")
	w.until("the build", func() bool { return w.alive("moved") })
	second := w.worker("work", "good", good, 1)
	w.ok(w.adminAt, "cap", "revoke", id)
	revoked := time.Now()
	a := w.attempt(job, 2)
	w.t.Logf("the job ran elsewhere %v after the revocation", time.Since(revoked).Round(time.Millisecond))
	if code := w.ends(first); code != 4 {
		w.t.Errorf("the revoked worker ended with exit code %d", code)
	}
	w.touch("moved-1") // nobody is left to see it
	w.touch("moved-2")
	j := w.settled(job)
	if a.Worker != "good" || j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || len(j.Attempts) != 2 ||
		j.Attempts[0].Outcome.Kind != pb.OutcomeKind_OUTCOME_WORKER_REVOKED || w.ended("moved") != "2" {
		w.t.Errorf("the job (attempts %s ended): %v", w.ended("moved"), j)
	}
	w.must(second.Stop())
}

// Capabilities that are not for this: each refusal names the remedy, has its
// exit code, and leaves an audit line.
func testWrongCapability(w *world) {
	w.pool("wrong", nil)
	reader, _ := w.capability("only-read", &pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_READ})
	unknown := w.altered("unknown", func(c capability.Capability) (capability.Capability, error) {
		return capability.New(capability.NewToken(), c.Addrs(), c.Pins())
	})
	var pin mtls.Pin
	rand.Read(pin[:])
	otherCA := w.altered("other-ca", func(c capability.Capability) (capability.Capability, error) {
		return capability.New(c.Token(), c.Addrs(), []mtls.Pin{pin})
	})
	cutOff := filepath.Join(w.cluster.Dir, "cut-off.cap")
	w.must(os.WriteFile(cutOff, []byte("weir://abc@127.0.0.1:1/"), 0o600))
	public := filepath.Join(w.cluster.Dir, "public.cap")
	w.must(os.WriteFile(public, []byte(w.cluster.Admin.Reveal()), 0o644))

	submit := []string{"submit", "--pool", "wrong", "--retry-for", "3s", "--", "true"}
	w.refused(w.weir(unknown, submit...), 4, "does not know the capability's token", "weir cap create")
	w.refused(w.weir(reader, submit...), 4, "Submit is not for the caller's read-only capability", "weir cap create")
	w.refused(w.weir(reader, "pool", "create", "x"), 4, "CreatePool is not for the caller's read-only capability")
	w.refused(w.weir(otherCA, submit...), 3, "is not the pinned one", "weir cap create")
	w.refused(w.weir(cutOff, submit...), 2, cutOff)
	w.refused(w.weir(public, submit...), 2, "chmod 600")
	w.refused(w.weir("", submit...), 2, "no capability", "--connect", "WEIR_CAPABILITY")

	// Workers: what will never work ends them, with the same words.
	for file, says := range map[string]string{unknown: "does not know the capability's token", reader: "read-only capability"} {
		p := w.startWorker(nil, "wrong", filepath.Base(file)+"-worker", file, 1)
		if code := w.ends(p); code != 4 {
			w.t.Errorf("a worker with %s ended with exit code %d", filepath.Base(file), code)
		}
		if said, _ := os.ReadFile(p.Log); !strings.Contains(string(said), says) || !strings.Contains(string(said), "weir cap create") {
			w.t.Errorf("a worker with %s: %s", filepath.Base(file), said)
		}
	}
	audit := ""
	for _, n := range w.cluster.Nodes {
		audit += nodeLog(n)
	}
	for _, line := range []string{"kind=unauthenticated", "kind=denied"} {
		if !strings.Contains(audit, line) {
			w.t.Errorf("no audit line says %s", line)
		}
	}
	if strings.Contains(audit, w.cluster.Admin.Token().Reveal()) {
		w.t.Error("a node's log holds a token")
	}
}

// altered is the admin capability with a change.
func (w *world) altered(name string, change func(capability.Capability) (capability.Capability, error)) string {
	w.t.Helper()
	c, err := change(w.cluster.Admin)
	w.must(err)
	file := filepath.Join(w.cluster.Dir, name+".cap")
	w.must(c.Save(file))
	return file
}

// A node's certificate expires: who dials it hears so, and what to do; and so
// does who starts the node again.
func testExpiredCertificate(w *world) {
	dir := filepath.Join(w.cluster.Dir, "expiring")
	ca, err := mtls.NewAuthority("expiring", time.Hour)
	w.must(err)
	end := time.Now().Add(3 * time.Second)
	pair, err := ca.Issue(mtls.Request{Role: mtls.RoleNode, Name: "old", Hosts: []string{"127.0.0.1"}, NotBefore: end.Add(-time.Hour), Valid: time.Hour})
	w.must(err)
	w.must(os.MkdirAll(dir, 0o700))
	w.must(pair.Save(filepath.Join(dir, "node.pem"), filepath.Join(dir, "node-key.pem")))
	w.must(os.WriteFile(filepath.Join(dir, "ca.pem"), ca.CertPEM(), 0o644))
	address := freePort(w)
	flags := []string{"server", "--name", "old", "--data-dir", filepath.Join(dir, "data"), "--tls-dir", dir,
		"--listen", address, "--http-listen", "", "--bootstrap-expect", "1"}
	server := w.begin("", flags...)
	w.until("the node to serve", func() bool { return server.err.has("leading") })
	w.until("the certificate to expire", func() bool { return time.Now().After(end.Add(time.Second)) })

	c, err := capability.New(capability.NewToken(), []string{address}, []mtls.Pin{mtls.Fingerprint(ca.Cert)})
	w.must(err)
	file := filepath.Join(dir, "old.cap")
	w.must(c.Save(file))
	w.refused(w.weir(file, "submit", "--pool", "p", "--retry-for", "2s", "--", "true"), 3, "the certificate of old has expired", "weir tls cert create")
	w.refused(w.weir("", "admin", "init", "--tls-dir", dir, "--node", address, "--file", filepath.Join(dir, "admin.cap")),
		2, "the certificate of old has expired", "weir tls cert create")
	server.signal(syscall.SIGTERM)
	if a := server.wait(); a.code != 0 {
		w.t.Errorf("the node ended with exit code %d: %s", a.code, a.err)
	}
	w.refused(w.weir("", flags...), 7, "the certificate of old has expired", "weir tls cert create")
}
