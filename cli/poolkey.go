package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
)

// maxKeys is how many keys of its pool a worker's capability holds: jobs that were
// sealed to an older one still run.
const maxKeys = 8

// pendingKey returns the pool's key of an earlier try to make the capability in
// file, or a new one, which is on this disk before the cluster hears of it. forget
// removes it from there.
func pendingKey(file string) (k seal.Key, forget func() error, err error) {
	none := func() error { return nil }
	if file == "" {
		k, err = seal.NewKey()
		return k, none, err
	}
	if _, err := os.Lstat(file); err == nil {
		return k, none, usageError("%s is there already: name a new file, or move that one away", file)
	}
	pending := file + ".pending-key"
	forget = func() error { return os.Remove(pending) }
	text, err := mtls.ReadSecret(pending)
	if errors.Is(err, fs.ErrNotExist) {
		if k, err = seal.NewKey(); err != nil {
			return k, none, err
		}
		if err = mtls.CreateSecret(pending, []byte(k.Reveal()+"\n")); err != nil {
			return k, none, usageError("keep the pool's key: %w", err)
		}
		return k, forget, nil
	}
	if err == nil {
		k, err = seal.ParseKey(strings.TrimSpace(string(text)))
	}
	if err != nil {
		return k, none, usageError("read the key of an earlier try, %s: %w", pending, err)
	}
	return k, forget, nil
}

// withKeys puts a pool's keys into a worker's capability.
func withKeys(keys ...seal.Key) finisher {
	return func(c capability.Capability) (capability.Capability, error) {
		texts := make([]string, len(keys))
		for i, k := range keys {
			texts[i] = k.Reveal()
		}
		return c.WithValues(capability.ParamKey, texts...)
	}
}

// keysIn reads the keys out of a worker's capability.
func keysIn(c capability.Capability) (keys []seal.Key, err error) {
	for _, text := range c.Values(capability.ParamKey) {
		k, err := seal.ParseKey(text)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// workerCap reads a worker's capability of a pool; "": of any.
func workerCap(flag, file, pool string) (capability.Capability, []seal.Key, error) {
	c, err := capability.Load(file)
	if err != nil {
		return c, nil, usageError("%s: %w", flag, err)
	}
	if kind := c.Param(capability.ParamKind); kind != "worker" {
		return c, nil, usageError("%s %s: it is a capability of kind %q, want one of a worker", flag, file, kind)
	}
	if of := c.Param(capability.ParamPool); pool != "" && of != pool {
		return c, nil, usageError("%s %s: it is of pool %q, not of %q", flag, file, of, pool)
	}
	keys, err := keysIn(c)
	if err != nil {
		return c, nil, usageError("%s %s: %w", flag, file, err)
	}
	return c, keys, nil
}

func newPoolRotateKey(e *env) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "rotate-key NAME --worker-cap FILE", Short: "Make a new key for the secrets of a pool's jobs",
		Long: "Make a new key for the secrets of a pool's jobs, also for a pool that has none. It is put into the worker\n" +
			"capability in FILE, before the older ones, and only what secrets are sealed to is sent to the cluster. Then:\n\n" +
			"  1. Copy FILE to the workers, or put its keys into their own (weir cap derive --keys-from), and send each worker\n" +
			"     SIGHUP: it reads the file again and loses no job. Jobs that are sealed to the new key wait until then.\n" +
			"  2. Give submit capabilities the new key's id: weir cap derive CI.cap --pool-key NAME=ID --file NEW.cap. Until\n" +
			"     then they refuse to seal, since they cannot tell a rotation from a node that lies.\n" +
			"  3. When no job that is sealed to an old key waits any more, drop the old keys: weir cap derive --newest-key.\n\n" +
			"A worker that does not get the new key can open nothing that is sealed from now on. To shut one out, revoke its\n" +
			"capability and rotate; change the secrets themselves that it has seen.",
		Example: "  weir pool rotate-key linux --worker-cap linux-worker.cap",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: e.completePools,
		RunE: func(c *cobra.Command, args []string) error {
			return e.with(func(cl *client.Client) error { return e.rotateKey(c, cl, args[0], file) })
		},
	}
	c.Flags().StringVar(&file, "worker-cap", "", "worker capability of the pool, as weir pool create wrote it: gets the new key")
	_ = c.MarkFlagRequired("worker-cap")
	return c
}

func (e *env) rotateKey(c *cobra.Command, cl *client.Client, pool, file string) error {
	card, keys, err := workerCap("--worker-cap", file, pool)
	if err != nil {
		return err
	}
	p, err := cl.Admin().GetPool(c.Context(), &pb.GetPoolRequest{Name: pool})
	if err != nil {
		return err
	}
	now := p.Config.GetRecipient()
	fresh, err := newest(keys, now)
	if err != nil {
		return err
	}
	if now != "" && !slices.ContainsFunc(keys, func(k seal.Key) bool { return k.Recipient() == now }) {
		e.say("%s does not hold the key that secrets are sealed to now, %s: jobs that are sealed to it need workers which do", file, seal.KeyID(now))
	}
	keys = slices.DeleteFunc(keys, func(k seal.Key) bool { return k.ID() == fresh.ID() })
	keys = append([]seal.Key{fresh}, keys...)
	keys = keys[:min(len(keys), maxKeys)]
	if card, err = withKeys(keys...)(card); err != nil {
		return err
	}
	if err := card.Save(file); err != nil {
		return err
	}
	update := &pb.UpdatePoolRequest{Name: pool, Config: &pb.PoolConfig{Recipient: fresh.Recipient()}}
	if _, err := cl.Admin().UpdatePool(c.Context(), update); err != nil {
		return fmt.Errorf("%w\nThe new key is in %s, and the same command goes on with it", err, file)
	}
	e.say("secrets of jobs in pool %s are sealed to key %s now; %s holds it", pool, fresh.ID(), file)
	e.say("next: copy %s to the workers and send them SIGHUP; then weir cap derive CI.cap --pool-key %s=%s --file NEW.cap for submit capabilities", file, pool, fresh.ID())
	return nil
}

// newest is the key of an earlier try, which the file got and the cluster did not,
// or a new one.
func newest(keys []seal.Key, now string) (seal.Key, error) {
	used := func(k seal.Key) bool { return k.Recipient() == now }
	if at := slices.IndexFunc(keys, used); at > 0 || at < 0 && len(keys) == 1 && now == "" {
		return keys[0], nil
	}
	return seal.NewKey()
}
