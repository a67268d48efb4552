package workerd

import (
	"errors"
	"fmt"
	"sync"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
	"github.com/weirbuild/weir/workerd/executor"
)

// keyring holds the keys of the pool that came with the capability.
type keyring struct {
	mu   sync.Mutex
	keys []seal.Key
}

// keysOf reads the keys out of a worker's capability.
func keysOf(c capability.Capability) (keys []seal.Key, err error) {
	for i, text := range c.Values(capability.ParamKey) {
		k, err := seal.ParseKey(text)
		if err != nil {
			return nil, fmt.Errorf("key %d of the capability: %w", i+1, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func (r *keyring) set(keys []seal.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys = keys
}

func (r *keyring) get() []seal.Key {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.keys
}

func keyIDs(keys []seal.Key) []string {
	ids := make([]string, len(keys))
	for i, k := range keys {
		ids[i] = k.ID()
	}
	return ids
}

// unseal opens the secrets of a granted job. refused is the outcome of a job that
// must not run: nobody sealed its secrets for it.
func (r *keyring) unseal(g *pb.Grant, spec *pb.JobSpec) (secrets map[string][]byte, refused *pb.Outcome, err error) {
	if spec.Sealed == nil {
		return nil, nil, nil
	}
	secrets, err = seal.Open(r.get(), g.Pool, spec, g.Sealed)
	switch {
	case errors.Is(err, seal.ErrOtherJob):
		return nil, executor.Failed("%s", err), nil
	case err != nil:
		return nil, nil, fmt.Errorf("open the job's secrets, sealed to key %.40s: %w", spec.Sealed.Key, err)
	}
	return secrets, nil, nil
}

// Reload reads the capability's file again, and goes on with the keys and the token
// that it holds now. What runs goes on.
func (w *Worker) Reload() error {
	c, keys, err := w.cfg.readAgain()
	if err != nil {
		return fmt.Errorf("read the capability again: %w", err)
	}
	w.keys.set(keys)
	w.session.Renew(c, keyIDs(keys))
	w.log.Info("read the capability again", "keys", keyIDs(keys))
	return nil
}

// readAgain reads what Complete read, if that was a file.
func (c *Config) readAgain() (capability.Capability, []seal.Key, error) {
	if c.file == "" {
		return capability.Capability{}, nil, errors.New("it came as a line, not as a file: start the worker again, with --connect FILE")
	}
	fresh, err := capability.Load(c.file)
	if err != nil {
		return fresh, nil, err
	}
	if pool := fresh.Param(capability.ParamPool); pool != "" && pool != c.Pool {
		return fresh, nil, fmt.Errorf("%s is for pool %s now, and this worker is of pool %s", c.file, pool, c.Pool)
	}
	keys, err := keysOf(fresh)
	return fresh, keys, err
}
