// Package logins holds the credentials for registries that a job brings along, in the
// form in which `docker login` keeps them.
//
// It promises that nothing of such a file counts but its credentials, and that no error
// quotes one. It refuses helpers and proxies: they would be programs that the worker
// runs, and ways that it takes, for whoever sends a job.
package logins

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/credentials"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/weirbuild/weir/workerd/mask"
)

// Secret is the id of the secret with a config.json of the docker program, of which
// the credentials are used to pull base images, to push, and for caches.
const Secret = "docker-config"

// Set is what one job brings. Nil is none.
type Set struct {
	config []byte
	store  credentials.Store
	values [][]byte
}

var _ authn.Keychain = (*Set)(nil)

// login is what a configuration may say of a registry.
type login struct {
	Auth          string `json:"auth,omitempty"`
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// Of reads the credentials among a job's secrets, where there are some.
func Of(secrets map[string][]byte) (*Set, error) {
	text, ok := secrets[Secret]
	if !ok {
		return nil, nil
	}
	var c struct {
		Auths map[string]login `json:"auths"`
	}
	s := &Set{}
	err := json.Unmarshal(text, &c)
	if err == nil && len(c.Auths) > 0 {
		err = s.keep(c)
	}
	if err != nil || len(c.Auths) == 0 { // the error could quote a value
		return nil, fmt.Errorf("the secret %s is no config.json with auths, as docker login writes it where no helper keeps the credentials", Secret)
	}
	for _, l := range c.Auths {
		s.hide(l)
	}
	return s, nil
}

// keep writes a configuration anew, without what does not count, and reads that.
func (s *Set) keep(of any) (err error) {
	if s.config, err = json.Marshal(of); err != nil {
		return err
	}
	file, err := config.LoadFromReader(bytes.NewReader(s.config))
	if err != nil {
		return err
	}
	s.store = credentials.NewFileStore(file)
	return nil
}

func (s *Set) hide(l login) {
	values := []string{l.Auth, l.Password, l.IdentityToken, l.RegistryToken}
	if pair, err := base64.StdEncoding.DecodeString(l.Auth); err == nil {
		_, password, _ := strings.Cut(string(pair), ":")
		values = append(values, password)
	}
	for _, v := range values {
		if v != "" {
			s.values = append(s.values, []byte(v))
		}
	}
}

// Config is a config.json with the credentials alone.
func (s *Set) Config() []byte {
	if s == nil {
		return []byte(`{"auths":{}}`)
	}
	return s.config
}

// Values are what no log may show.
func (s *Set) Values() [][]byte {
	if s == nil {
		return nil
	}
	return s.values
}

// Mask is a text that shows no value.
func (s *Set) Mask(text string) string { return mask.String(text, s.Values()...) }

// Resolve implements authn.Keychain: what is for the repository goes before what is
// for its whole registry.
func (s *Set) Resolve(of authn.Resource) (authn.Authenticator, error) {
	if s == nil {
		return authn.Anonymous, nil
	}
	keys := []string{of.String(), of.RegistryStr()}
	if of.RegistryStr() == name.DefaultRegistry {
		keys = append(keys, authn.DefaultAuthKey, "docker.io")
	}
	for _, key := range keys {
		c, err := s.store.Get(key)
		if err != nil {
			return nil, fmt.Errorf("look for credentials for %s: %w", key, err)
		}
		if c.ServerAddress = ""; c != (types.AuthConfig{}) {
			return authn.FromConfig(authn.AuthConfig{Username: c.Username, Password: c.Password, Auth: c.Auth,
				IdentityToken: c.IdentityToken, RegistryToken: c.RegistryToken}), nil
		}
	}
	return authn.Anonymous, nil
}

// Knows says whether there are credentials for a repository.
func (s *Set) Knows(of authn.Resource) bool {
	a, err := s.Resolve(of)
	return err != nil || a != authn.Anonymous
}
