package processtest

import (
	"crypto/rand"
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
)

// vault is a pool with a key, made as an operator makes it.
type vault struct {
	*world
	workerCap, ci string
	private       string // a directory beside the cluster's, for files with values
}

func newVault(w *world, pool string) *vault {
	w.t.Helper()
	v := &vault{world: w, private: w.t.TempDir(), workerCap: filepath.Join(w.cluster.Dir, pool+"-worker.cap"), ci: filepath.Join(w.cluster.Dir, pool+"-ci.cap")}
	w.ok(w.adminAt, "pool", "create", pool, "--worker-cap", v.workerCap)
	w.ok(w.adminAt, "client", "add", pool+"-ci", "--pool", pool, "--file", v.ci)
	return v
}

// secret makes a value that is nowhere yet, and its file.
func (v *vault) secret(name string) (value, file string) {
	v.t.Helper()
	value, file = "s3cr3t-"+rand.Text(), filepath.Join(v.private, name)
	v.must(os.WriteFile(file, []byte(value+"\n"), 0o600))
	return value, file
}

// A client believes no node about the key that it seals to; a job waits for a worker
// that holds the key; after a rotation the workers that got the new key run what was
// sealed to either, and one that was left out opens nothing new.
func TestKeysOfAPool(t *testing.T) {
	w := start(t, local.Config{})
	v := newVault(w, "keys")
	value, file := v.secret("token")
	tell := func(ci string, more ...string) *command {
		return w.begin(ci, append(append([]string{"submit", "--pool", "keys", "--secret", "token:" + file}, more...),
			"--", "sh", "-c", `wc -c < "$WEIR_SECRETS/token"`)...)
	}
	size := fmt.Sprintf("%d\n", len(value)+1)

	// A worker whose capability came without the key.
	keyless, _ := w.capability("keyless", &pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_WORKER, Pools: []string{"keys"}})
	w.worker("keys", "keyless", keyless, 4)
	waits := tell(v.ci)
	w.until("the job to say why it waits", func() bool { return waits.err.has("no connected worker of the pool holds key ") })
	left := w.worker("keys", "left-out", v.workerCap, 4) // holds the first key, for ever
	w.says(waits.wait(), size)
	_ = left

	// A worker with a capability of its own, which has the pool's key.
	own, both := filepath.Join(w.cluster.Dir, "own.cap"), filepath.Join(w.cluster.Dir, "own-keys.cap")
	w.ok(w.adminAt, "cap", "create", "worker", "--pool", "keys", "--file", own)
	w.ok(own, "cap", "derive", own, "--keys-from", v.workerCap, "--file", both)
	mine := w.worker("keys", "mine", both, 4)

	before := w.begin(v.ci, "submit", "--pool", "keys", "--", "sh", "-c", fmt.Sprintf("while ! test -e %s/go; do sleep 0.05; done", w.shared))
	w.until("the job that runs through it all", func() bool { return before.out.has("Building on ") })
	held := filepath.Join(w.cluster.Dir, "rotated.cap")
	text, err := os.ReadFile(v.workerCap)
	w.must(err)
	w.must(os.WriteFile(held, text, 0o600))
	said := w.weir(w.adminAt, "pool", "rotate-key", "keys", "--worker-cap", held)
	key := regexp.MustCompile(`sealed to key ([0-9a-f]{32}) now`).FindStringSubmatch(said.err)
	if said.code != 0 || key == nil {
		t.Fatalf("exit code %d: %s", said.code, said.err)
	}

	// The submit capability names the old key.
	w.refused(tell(v.ci).wait(), 2, key[1], "Either the key was rotated, or a node lies", "weir cap derive", "Nothing was sent")
	fresh := filepath.Join(w.cluster.Dir, "ci-new.cap")
	w.ok(v.ci, "cap", "derive", v.ci, "--pool-key", "keys="+key[1], "--file", fresh)
	sealed := tell(fresh)
	w.until("the job to wait for the new key", func() bool { return sealed.err.has("holds key " + key[1]) })

	// The new keys reach one worker.
	newer := filepath.Join(w.cluster.Dir, "own-newer.cap")
	w.ok(own, "cap", "derive", own, "--keys-from", held, "--file", newer)
	w.must(os.Rename(newer, both))
	w.must(mine.Signal(syscall.SIGHUP))
	a := sealed.wait()
	w.says(a, "Building on mine\n"+size)
	w.touch("go")
	if a := before.wait(); a.code != 0 || strings.Count(a.out, "Building on") != 1 {
		t.Errorf("the job that ran through it all: exit code %d\n%s%s", a.code, a.err, a.out)
	}

	// Neither capability shows its key when it is printed by mistake.
	c, err := capability.Load(held)
	w.must(err)
	if strings.Contains(fmt.Sprintf("%+v", c), "SECRET-KEY") || len(c.Values(capability.ParamKey)) != 2 {
		t.Errorf("the rotated capability: %+v", c)
	}
	reader, _ := w.capability("reader", &pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_SUBMIT, Client: "keys-ci"})
	w.refused(tell(reader).wait(), 2, "does not say which key", key[1])
}
