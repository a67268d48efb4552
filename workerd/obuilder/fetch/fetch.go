// Package fetch gets base images: from any registry, with credentials and
// through mirrors, from an OCI layout, or from a docker-archive.
//
// It promises that layers are applied within the given directory whatever they
// contain, and that what a digest names has that digest. It refuses to read a
// path of the machine for a spec, unless it was made to.
package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/weirbuild/weir/workerd/logins"
	"github.com/weirbuild/weir/workerd/obuilder"
)

// Config says where images come from.
type Config struct {
	// Mirrors are asked before the registry that they stand for, in order.
	Mirrors []Mirror
	// Keychain has the credentials of registries; nil: none.
	Keychain authn.Keychain
	// Local allows oci:PATH and docker-archive:PATH, which read any file.
	Local bool
}

// Mirror stands for a registry.
type Mirror struct {
	Registry string // as in references: docker.io
	Host     string // host or host:port
	Plain    bool   // http, not https
}

// ParseMirror reads REGISTRY=URL.
func ParseMirror(text string) (Mirror, error) {
	registry, url, ok := strings.Cut(text, "=")
	scheme, host, full := strings.Cut(url, "://")
	host = strings.TrimSuffix(host, "/")
	if !ok || !full || registry == "" || host == "" || strings.Contains(host, "/") || scheme != "http" && scheme != "https" {
		return Mirror{}, fmt.Errorf("registry mirror %q: write REGISTRY=URL, as in docker.io=https://mirror.example.org", text)
	}
	return Mirror{Registry: registry, Host: host, Plain: scheme == "http"}, nil
}

// Fetcher gets images. It has no state.
type Fetcher struct{ cfg Config }

var _ obuilder.Fetcher = (*Fetcher)(nil)

// New makes a fetcher.
func New(c Config) *Fetcher {
	if c.Keychain == nil {
		c.Keychain = anonymous{}
	}
	return &Fetcher{c}
}

type anonymous struct{}

func (anonymous) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

// Fetch implements obuilder.Fetcher.
func (f *Fetcher) Fetch(ctx context.Context, ref string, l *logins.Set, dir string, out io.Writer) (obuilder.Image, error) {
	img, err := f.open(ctx, ref, l, out)
	if err != nil {
		return obuilder.Image{}, err
	}
	digest, err := img.Digest()
	if err != nil {
		return obuilder.Image{}, fmt.Errorf("fetch image %s: %w", ref, err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return obuilder.Image{}, fmt.Errorf("fetch image %s: %w", ref, err)
	}
	if err := unpack(ctx, img, dir); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return obuilder.Image{}, fmt.Errorf("fetch image %s: %w", ref, err)
	}
	return obuilder.Image{Digest: digest.String(), Env: config.Config.Env}, nil
}

func (f *Fetcher) open(ctx context.Context, ref string, l *logins.Set, out io.Writer) (v1.Image, error) {
	if kind, path, ok := localRef(ref); ok {
		if !f.cfg.Local {
			return nil, obuilder.Failed("image %s is a file of the machine, and only `weir obuilder build` reads those: push it to a registry", ref)
		}
		return openLocal(kind, path)
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return nil, obuilder.Failed("image reference %s: %s", ref, err)
	}
	for _, m := range f.cfg.Mirrors {
		if m.Registry != registryName(parsed) {
			continue
		}
		img, err := f.fromMirror(ctx, m, parsed, l)
		if err == nil {
			return img, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		fmt.Fprintf(out, "mirror %s has no %s: %s\n", m.Host, ref, l.Mask(reason(err)))
	}
	img, err := remote.Image(parsed, f.options(ctx, l)...)
	if err != nil {
		return nil, explain(ctx, ref, l, err)
	}
	return img, nil
}

// Private implements obuilder.Fetcher. Whoever has the image from a mirror, or by the
// machine's own credentials, may have it: then it is nobody's.
func (f *Fetcher) Private(ctx context.Context, ref string, l *logins.Set) (bool, error) {
	if _, _, ok := localRef(ref); ok || l == nil {
		return false, nil
	}
	parsed, err := name.ParseReference(ref)
	if err != nil {
		return false, obuilder.Failed("image reference %s: %s", ref, err)
	}
	if !l.Knows(parsed.Context()) {
		return false, nil
	}
	if _, err := remote.Head(parsed, f.options(ctx, l)...); err != nil {
		return false, explain(ctx, ref, l, err)
	}
	return true, nil
}

// registryName is what people call the registry of a reference.
func registryName(ref name.Reference) string {
	registry := ref.Context().RegistryStr()
	if registry == name.DefaultRegistry {
		return "docker.io"
	}
	return registry
}

func (f *Fetcher) fromMirror(ctx context.Context, m Mirror, ref name.Reference, l *logins.Set) (v1.Image, error) {
	var options []name.Option
	if m.Plain {
		options = append(options, name.Insecure)
	}
	text := m.Host + "/" + ref.Context().RepositoryStr()
	if digest, ok := ref.(name.Digest); ok {
		text += "@" + digest.DigestStr()
	} else {
		text += ":" + ref.Identifier()
	}
	mirrored, err := name.ParseReference(text, options...)
	if err != nil {
		return nil, err
	}
	return remote.Image(mirrored, f.options(ctx, l)...)
}

// options are those of a request to a registry. The job's own logins go first.
func (f *Fetcher) options(ctx context.Context, l *logins.Set) []remote.Option {
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.NewMultiKeychain(l, f.cfg.Keychain)),
		remote.WithPlatform(platform()), remote.WithRetryBackoff(backoff),
		remote.WithRetryStatusCodes(http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
			http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout)}
}

// backoff rides out a registry that stumbles for a few seconds.
var backoff = remote.Backoff{Duration: 200 * time.Millisecond, Factor: 3, Jitter: 0.1, Steps: 5}

// explain tells a reference that is wrong from a registry that is.
func explain(ctx context.Context, ref string, l *logins.Set, err error) error {
	var answer *transport.Error
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound:
		return obuilder.Failed("image %s is not in its registry: check the name and the tag", ref)
	case errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		return obuilder.Failed("image %s: the registry refuses access: check the name, or give the job (--secret %s:FILE) or the worker credentials for it", ref, logins.Secret)
	}
	return fmt.Errorf("fetch image %s: %s", ref, l.Mask(err.Error()))
}

// reason is an error on one line.
func reason(err error) string {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}
