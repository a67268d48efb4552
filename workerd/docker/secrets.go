package docker

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/mask"
)

// ConfigSecret is the id of the secret that is no secret of the build's steps: a
// config.json of the docker program, with credentials for registries. Of it only
// the credentials count, which are used to pull base images, to push, and for caches.
const ConfigSecret = "docker-config"

// secretFiles puts a job's secrets into files in memory, beside a configuration with
// its credentials. hide are values that the log must not show, beside the secrets.
func (e *Executor) secretFiles(t executor.Task, r *Request) (remove func(), hide [][]byte, err error) {
	none := func() {}
	if len(t.Secrets) == 0 {
		return none, nil, privateConfig(r.ConfigDir(), []byte(`{"auths":{}}`))
	}
	if e.cfg.Secrets == nil {
		return none, nil, errors.New("this worker has no place in memory for secrets: mount a tmpfs at /dev/shm and start it again")
	}
	config, hide, err := credentials(t.Secrets[ConfigSecret])
	if err != nil {
		return none, nil, err
	}
	files := maps.Clone(t.Secrets)
	delete(files, ConfigSecret)
	if r.SecretDir, err = e.cfg.Secrets.Make(t.Lease, files, nil); err != nil {
		return none, nil, err
	}
	r.Secrets = slices.Sorted(maps.Keys(files))
	r.Hide = slices.AppendSeq(slices.Clone(hide), maps.Values(files))
	dir := r.SecretDir
	remove = func() {
		if err := os.RemoveAll(dir); err != nil {
			e.cfg.Log.Error("secrets of a job could not be removed from memory", "job", t.Job, "dir", dir, "error", err)
		}
	}
	return remove, hide, privateConfig(r.ConfigDir(), config)
}

// secretFlags are the flags that give the build's steps the job's secrets.
func (r Request) secretFlags() (flags []string) {
	for _, id := range r.Secrets {
		flags = append(flags, "--secret", "id="+id+",src="+filepath.Join(r.SecretDir, id))
	}
	return flags
}

// registryLogin is what a configuration may say of a registry. Nothing else is taken
// from it: a helper that it names would be a program that the worker runs.
type registryLogin struct {
	Auth          string `json:"auth,omitempty"`
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// credentials reads them out of a configuration, with the values that are secret.
func credentials(text []byte) (config []byte, hide [][]byte, err error) {
	var c struct {
		Auths map[string]registryLogin `json:"auths"`
	}
	if len(text) > 0 {
		if err := json.Unmarshal(text, &c); err != nil || len(c.Auths) == 0 { // the error could quote a value
			return nil, nil, failed("the secret %s is no config.json with auths, as docker login writes it where no helper keeps the credentials", ConfigSecret)
		}
	}
	for _, l := range c.Auths {
		values := []string{l.Auth, l.Password, l.IdentityToken, l.RegistryToken}
		if pair, err := base64.StdEncoding.DecodeString(l.Auth); err == nil {
			_, password, _ := strings.Cut(string(pair), ":")
			values = append(values, password)
		}
		for _, v := range values {
			if v != "" {
				hide = append(hide, []byte(v))
			}
		}
	}
	if c.Auths == nil {
		c.Auths = map[string]registryLogin{}
	}
	config, err = json.Marshal(c)
	return config, hide, err
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
