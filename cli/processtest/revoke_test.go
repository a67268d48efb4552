package processtest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/cli/local"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
)

// After `weir cap revoke` and `weir pool rotate-key`, the worker that is shut out is
// let in no more and can open nothing that is sealed from then on, whatever it kept;
// the other one runs what was sealed before and after, and loses no job at SIGHUP.
func TestShutAWorkerOut(t *testing.T) {
	w := start(t, local.Config{})
	v := newVault(w, "keys")
	value, file := v.secret("token")
	size := fmt.Sprintf("%d\n", len(value)+1)
	own := func(name string) (capFile, id string) {
		capFile = filepath.Join(w.cluster.Dir, name+".cap")
		w.ok(w.adminAt, "cap", "create", "worker", "--pool", "keys", "--note", name, "--keys-from", v.workerCap, "--file", capFile)
		listed := w.ok(w.adminAt, "cap", "list")
		found := regexp.MustCompile(`(?m)^(\S+) .*\b` + name + `$`).FindStringSubmatch(listed)
		if found == nil {
			t.Fatalf("no capability of %s in\n%s", name, listed)
		}
		return capFile, found[1]
	}
	goodCap, _ := own("good")
	badCap, badID := own("bad")
	holds := func(who string, more ...string) *command {
		c := w.begin(v.ci, append(append([]string{"submit", "--pool", "keys"}, more...), "--secret", "token:"+file, "--",
			"sh", "-c", fmt.Sprintf(`while ! test -e %s/go; do sleep 0.05; done; wc -c < "$WEIR_SECRETS/token"`, w.shared))...)
		w.until("a job on "+who, func() bool { return c.out.has("Building on " + who) })
		return c
	}
	bad := w.worker("keys", "bad", badCap, 4)
	moved := holds("bad")
	good := w.worker("keys", "good", goodCap, 4, "--label", "who=good")
	through := holds("good", "--label", "who=good")
	sealed := func(ci string) *command {
		return w.begin(ci, "submit", "--pool", "keys", "--secret", "token:"+file, "--", "sh", "-c", `wc -c < "$WEIR_SECRETS/token"`)
	}

	w.ok(w.adminAt, "pool", "pause", "keys")
	older := sealed(v.ci)
	w.until("the job to be accepted", func() bool { return older.err.has("paused") })
	w.ok(w.adminAt, "cap", "revoke", badID)
	if code := w.ends(bad); code != 4 || !strings.Contains(workerLog(w, "bad"), "revoked") {
		t.Errorf("the worker whose capability is revoked: exit code %d: %s", code, workerLog(w, "bad"))
	}
	before := w.recipient("keys")
	said := w.weir(w.adminAt, "pool", "rotate-key", "keys", "--worker-cap", v.workerCap)
	key := regexp.MustCompile(`sealed to key ([0-9a-f]{32}) now`).FindStringSubmatch(said.err)
	if said.code != 0 || key == nil {
		t.Fatalf("exit code %d: %s", said.code, said.err)
	}
	fresh := filepath.Join(w.cluster.Dir, "ci-new.cap")
	w.ok(v.ci, "cap", "derive", v.ci, "--pool-key", "keys="+key[1], "--file", fresh)
	newer := sealed(fresh)
	w.ok(w.adminAt, "pool", "unpause", "keys")
	w.says(older.wait(), "Building on good\n"+size)
	w.until("the job to wait for the new key", func() bool { return newer.err.has("holds key " + key[1]) })

	// The new keys reach the good worker only, while it runs a job.
	both := filepath.Join(w.cluster.Dir, "good-both.cap")
	w.ok(goodCap, "cap", "derive", goodCap, "--keys-from", v.workerCap, "--file", both)
	w.must(os.Rename(both, goodCap))
	w.must(good.Signal(syscall.SIGHUP))
	w.says(newer.wait(), "Building on good\n"+size)
	w.touch("go")
	for what, c := range map[string]*command{"that ran on the good worker through it all": through, "that was moved": moved} {
		a := c.wait()
		if want := map[bool]int{true: 1, false: 2}[c == through]; a.code != 0 || !strings.HasSuffix(a.out, size+"Job succeeded\n") || strings.Count(a.out+a.err, "Building on") > want {
			t.Errorf("the job %s: exit code %d\n%s%s", what, a.code, a.err, a.out)
		}
	}

	// Whatever the other one kept opens what was sealed before, and nothing newer.
	spec := func(recipient string) *pb.JobSpec {
		s := submit("keys", "true").Spec
		w.must(seal.Seal(recipient, "keys", s, map[string][]byte{"token": []byte(value)}))
		return s
	}
	for who, c := range map[string]struct {
		capFile   string
		recipient string
		opens     bool
	}{
		"bad, before": {badCap, before, true}, "bad, after": {badCap, w.recipient("keys"), false},
		"good, before": {goodCap, before, true}, "good, after": {goodCap, w.recipient("keys"), true},
	} {
		keys, s := w.keysIn(c.capFile), spec(c.recipient)
		_, err := seal.Open(keys, "keys", s, s.Sealed.Box)
		if opens := err == nil; opens != c.opens || err != nil && !errors.Is(err, seal.ErrNoKey) {
			t.Errorf("%s the rotation: opened %t: %v", who, opens, err)
		}
		s.Sealed.Key = keys[0].ID() // as if a node had lied to it
		if _, err := seal.Open(keys[:1], "keys", s, s.Sealed.Box); who == "bad, after" && err == nil {
			t.Errorf("%s the rotation: a box opens that says another key", who)
		}
	}
	// Nor does it come in again, with what it can make of its capability.
	derived := filepath.Join(w.cluster.Dir, "bad-again.cap")
	w.ok(badCap, "cap", "derive", badCap, "--keys-from", badCap, "--file", derived)
	if code := w.ends(w.startWorker(nil, "keys", "bad-again", derived, 4)); code != 4 {
		t.Errorf("a revoked worker that comes again: exit code %d: %s", code, workerLog(w, "bad-again"))
	}
}

// recipient is what the pool's secrets are sealed to now.
func (w *world) recipient(pool string) string {
	w.t.Helper()
	p, err := w.admin.Admin().GetPool(w.ctx, &pb.GetPoolRequest{Name: pool})
	w.must(err)
	return p.Config.GetRecipient()
}

// keysIn are the keys that a worker's capability has.
func (w *world) keysIn(file string) (keys []seal.Key) {
	w.t.Helper()
	c, err := capability.Load(file)
	w.must(err)
	for _, text := range c.Values(capability.ParamKey) {
		k, err := seal.ParseKey(text)
		w.must(err)
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		w.t.Fatalf("%s has no key", file)
	}
	return keys
}
