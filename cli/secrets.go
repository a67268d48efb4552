package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
	"github.com/weirbuild/weir/workerd/logins"
)

// secretOptions say which secrets a job gets.
type secretOptions struct {
	files []string
	key   string
}

func (o *secretOptions) addFlags(f *pflag.FlagSet) {
	f.StringArrayVar(&o.files, "secret", nil, "ID:FILE (ID:-: standard input): a secret that is sealed here, and that only the pool's workers can open; may be repeated")
	f.StringVar(&o.key, "pool-key", "", "with --secret, id of the key that the pool's secrets must be sealed to (the one that the capability names when not given)")
}

// read reads the values, for a job that is to have them.
func (o *secretOptions) read(e *env) (map[string][]byte, error) {
	if o.key != "" {
		if err := seal.CheckKeyID(o.key); err != nil {
			return nil, usageError("--pool-key: %w", err)
		}
	}
	secrets := map[string][]byte{}
	for _, text := range o.files {
		id, file, ok := strings.Cut(text, ":")
		if !ok || file == "" {
			return nil, usageError("--secret: want ID:FILE")
		}
		if err := seal.CheckID(id); err != nil {
			return nil, usageError("--secret: %w", err)
		}
		if _, twice := secrets[id]; twice {
			return nil, usageError("--secret %s is given twice", id)
		}
		value, err := e.readSecretFile(file)
		if err != nil {
			return nil, usageError("read the secret %s: %w", id, err)
		}
		secrets[id] = value
	}
	if err := seal.Check(secrets); err != nil {
		return nil, usageError("%w", err)
	}
	return secrets, nil
}

func (e *env) readSecretFile(file string) ([]byte, error) {
	from := e.stdin
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		from = f
	}
	value, err := io.ReadAll(io.LimitReader(from, seal.MaxBytes+1))
	if err == nil && len(value) > seal.MaxBytes {
		err = fmt.Errorf("%s is over %d bytes", file, seal.MaxBytes)
	}
	return value, err
}

// checkUse refuses secrets that the job's own language does not know, and a job that
// lacks some.
func checkUse(spec *pb.JobSpec, needs []string, secrets map[string][]byte) error {
	if spec.GetObuilder() == nil {
		return nil
	}
	for _, id := range needs {
		if _, ok := secrets[id]; !ok {
			return usageError("the spec needs secret %s: give it with --secret %s:FILE", id, id)
		}
	}
	for id := range secrets {
		if id != logins.Secret && !slices.Contains(needs, id) {
			return usageError("--secret %s: the spec uses no secret of this name", id)
		}
	}
	return nil
}

// seal seals the secrets into the request, to the pool's key: the one that the
// cluster names, if that is the one which the caller trusts.
func (o *secretOptions) seal(ctx context.Context, e *env, cl *client.Client, req *pb.SubmitRequest, secrets map[string][]byte) error {
	if len(secrets) == 0 {
		return nil
	}
	card, err := e.capability()
	if err != nil {
		return err
	}
	p, err := cl.Admin().GetPool(ctx, &pb.GetPoolRequest{Name: req.Pool})
	if err != nil {
		return fmt.Errorf("ask for the key of pool %s: %w", req.Pool, err)
	}
	recipient := p.Config.GetRecipient()
	if recipient == "" {
		return usageError("pool %s has no key that secrets could be sealed to: let its operator make one (weir pool rotate-key)", req.Pool)
	}
	if err := o.trusts(card, req.Pool, seal.KeyID(recipient)); err != nil {
		return err
	}
	return seal.Seal(recipient, req.Pool, req.Spec, secrets)
}

// trusts compares the key that the cluster names with what came by another way: a
// node that lies could name a key of its own.
func (o *secretOptions) trusts(card capability.Capability, pool, key string) error {
	var known []string
	if o.key != "" {
		known = []string{o.key}
	} else {
		for _, p := range pinsIn(card) {
			if p.pool == pool {
				known = append(known, p.key)
			}
		}
	}
	switch {
	case slices.Contains(known, key):
		return nil
	case len(known) == 0:
		return usageError("the capability does not say which key the secrets of pool %s are sealed to, and the cluster alone is not believed. Nothing was sent.\n"+
			"It says %s: ask the pool's operator whether that is right, and put it in: weir cap derive CAPABILITY --pool-key %s=%s --file NEW", pool, key, pool, key)
	}
	return usageError("the cluster says that secrets of pool %s are sealed to key %s, and the capability trusts %s. Nothing was sent.\n"+
		"Either the key was rotated, or a node lies: ask the pool's operator, and if it is right put it in: weir cap derive CAPABILITY --pool-key %s=%s --file NEW",
		pool, key, strings.Join(known, ", "), pool, key)
}

// capability is the caller's.
func (e *env) capability() (capability.Capability, error) {
	text := e.connect
	if text == "" {
		text = os.Getenv(capabilityEnv)
	}
	if text == "" {
		return capability.Capability{}, usageError("no capability: give --connect FILE or set %s (an operator makes one with `weir cap create`)", capabilityEnv)
	}
	c, err := capability.From(text)
	if err != nil {
		return c, usageError("read the capability: %w", err)
	}
	return c, nil
}
