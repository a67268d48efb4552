package cli

import (
	"context"
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

type deriveOptions struct {
	file     string
	keysFrom string
	newest   bool
	poolKeys []string
}

func newCapDerive(e *env) *cobra.Command {
	var o deriveOptions
	c := &cobra.Command{
		Use: "derive FROM --file NEW", Short: "Make another capability of one that is there, without the cluster",
		Long: "Make another capability of the one in the file FROM, offline: the cluster hears nothing of it. The new one has\n" +
			"FROM's token, so that it may what FROM may, and is revoked with it; for workers that are to be revoked one by\n" +
			"one, make a capability for each (weir cap create worker) and give it the pool's keys with --keys-from.",
		Example: "  weir cap derive worker.cap --file worker2.cap\n" +
			"  weir cap derive w7.cap --keys-from worker.cap --file w7-keys.cap\n" +
			"  weir cap derive ci.cap --pool-key linux=3f2c... --file ci-new.cap",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return e.derive(args[0], o) },
	}
	f := c.Flags()
	f.StringVar(&o.file, "file", "", "write the capability to this new file, mode 0600")
	f.StringVar(&o.keysFrom, "keys-from", "", "a worker's capability: take the pool's keys from this worker capability")
	f.BoolVar(&o.newest, "newest-key", false, "a worker's capability: leave out all of the pool's keys but the newest")
	f.StringArrayVar(&o.poolKeys, "pool-key", nil, "a submit capability: POOL=ID of the key that the pool's secrets are sealed to, in place of others of that pool")
	_ = c.MarkFlagRequired("file")
	return c
}

func (e *env) derive(from string, o deriveOptions) error {
	c, err := capability.Load(from)
	if err != nil {
		return usageError("%w", err)
	}
	if o.keysFrom != "" || o.newest {
		if c, err = deriveKeys(c, from, o); err != nil {
			return err
		}
	}
	if len(o.poolKeys) > 0 {
		pins, err := parsePoolKeys(o.poolKeys)
		if err != nil {
			return err
		}
		if c, err = withPins(pins)(c); err != nil {
			return err
		}
	}
	if _, err := os.Lstat(o.file); err == nil {
		return usageError("%s is there already: name a new file, or move that one away", o.file)
	}
	if err := mtls.CreateSecret(o.file, []byte(c.Reveal()+"\n")); err != nil {
		return usageError("%w", err)
	}
	e.say("wrote %s (mode 0600)", o.file)
	return nil
}

func deriveKeys(c capability.Capability, from string, o deriveOptions) (capability.Capability, error) {
	_, keys, err := workerCap("FROM", from, "")
	if err != nil {
		return c, err
	}
	if o.keysFrom != "" {
		if _, keys, err = workerCap("--keys-from", o.keysFrom, c.Param(capability.ParamPool)); err != nil {
			return c, err
		}
	}
	if len(keys) == 0 {
		return c, usageError("there is no key of the pool in %s: weir pool rotate-key makes one", strings.TrimSpace(from+" "+o.keysFrom))
	}
	if o.newest {
		keys = keys[:1]
	}
	return withKeys(keys...)(c)
}

// pin is what a submit capability knows of a pool's key.
type pin struct{ pool, key string }

// parsePoolKeys reads POOL=ID pairs.
func parsePoolKeys(pairs []string) (pins []pin, err error) {
	for _, text := range pairs {
		pool, id, ok := strings.Cut(text, "=")
		if !ok || pool == "" {
			return nil, usageError("--pool-key %q: want POOL=ID", text)
		}
		if err := seal.CheckKeyID(id); err != nil {
			return nil, usageError("--pool-key %s: %w", pool, err)
		}
		pins = append(pins, pin{pool, id})
	}
	return pins, nil
}

// pinsIn are the fingerprints that a capability carries. What is none is skipped: it
// is a later version's.
func pinsIn(c capability.Capability) (pins []pin) {
	for _, text := range c.Values(capability.ParamSeal) {
		if pool, id, ok := strings.Cut(text, ":"); ok {
			pins = append(pins, pin{pool, id})
		}
	}
	return pins
}

// withPins puts fingerprints into a capability, in place of those of the same pools.
func withPins(pins []pin) finisher {
	return func(c capability.Capability) (capability.Capability, error) {
		all := slices.DeleteFunc(pinsIn(c), func(old pin) bool {
			return slices.ContainsFunc(pins, func(p pin) bool { return p.pool == old.pool })
		})
		var texts []string
		for _, p := range append(all, pins...) {
			texts = append(texts, p.pool+":"+p.key)
		}
		if len(texts) == 0 {
			return c, nil
		}
		return c.WithValues(capability.ParamSeal, texts...)
	}
}

// pinPools gives a new submit capability the fingerprints of its pools' keys: those
// that the operator names, and else what the cluster says now.
func (e *env) pinPools(ctx context.Context, cl *client.Client, pools, named []string) (finisher, error) {
	pins, err := parsePoolKeys(named)
	if err != nil {
		return nil, err
	}
	list, err := cl.Admin().ListPools(ctx, &pb.ListPoolsRequest{})
	if err != nil {
		return nil, err
	}
	for _, p := range list.Pools {
		switch r := p.Config.GetRecipient(); {
		case r == "", len(pools) > 0 && !slices.Contains(pools, p.Name):
		case slices.ContainsFunc(pins, func(o pin) bool { return o.pool == p.Name }):
		default:
			pins = append(pins, pin{p.Name, seal.KeyID(r)})
		}
	}
	return func(c capability.Capability) (capability.Capability, error) {
		if c.Param(capability.ParamKind) != "submit" {
			return c, nil
		}
		pinned, err := withPins(pins)(c)
		if err != nil { // too many for a line
			e.say("the capability has no room for the keys of %d pools: limit it with --pool, or add keys with weir cap derive --pool-key", len(pins))
			return c, nil
		}
		return pinned, nil
	}, nil
}
