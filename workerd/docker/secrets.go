package docker

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/logins"
	"github.com/weirbuild/weir/workerd/mask"
)

// secretFiles puts a job's secrets into files in memory, beside a configuration with
// its credentials. hide are values that the log must not show, beside the secrets.
func (e *Executor) secretFiles(t executor.Task, r *Request) (remove func(), hide [][]byte, err error) {
	none := func() {}
	own, err := logins.Of(t.Secrets)
	if err != nil {
		return none, nil, failed("%s", err)
	}
	if len(t.Secrets) == 0 {
		return none, nil, privateConfig(r.ConfigDir(), own.Config())
	}
	if e.cfg.Secrets == nil {
		return none, nil, errors.New("this worker has no place in memory for secrets: mount a tmpfs at /dev/shm and start it again")
	}
	files := maps.Clone(t.Secrets)
	delete(files, logins.Secret)
	if r.SecretDir, err = e.cfg.Secrets.Make(t.Lease, files, nil); err != nil {
		return none, nil, err
	}
	r.Secrets = slices.Sorted(maps.Keys(files))
	r.Hide = slices.AppendSeq(slices.Clone(own.Values()), maps.Values(files))
	dir := r.SecretDir
	remove = func() {
		if err := os.RemoveAll(dir); err != nil {
			e.cfg.Log.Error("secrets of a job could not be removed from memory", "job", t.Job, "dir", dir, "error", err)
		}
	}
	return remove, own.Values(), privateConfig(r.ConfigDir(), own.Config())
}

// secretFlags are the flags that give the build's steps the job's secrets.
func (r Request) secretFlags() (flags []string) {
	for _, id := range r.Secrets {
		flags = append(flags, "--secret", "id="+id+",src="+filepath.Join(r.SecretDir, id))
	}
	return flags
}

// privateConfig makes a configuration of the docker program that is the job's alone.
func privateConfig(dir string, config []byte) error {
	err := os.Mkdir(dir, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600)
	}
	if err != nil {
		return fmt.Errorf("make docker configuration: %w", err)
	}
	return nil
}

// masked is an error whose text shows none of the values.
func masked(err error, hide [][]byte) error {
	var own *Failure
	switch {
	case err == nil || len(hide) == 0:
		return err
	case errors.As(err, &own):
		return &Failure{Text: mask.String(err.Error(), hide...), ExitCode: own.ExitCode}
	}
	return errors.New(mask.String(err.Error(), hide...))
}
