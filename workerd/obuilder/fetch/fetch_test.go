package fetch_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/weirbuild/weir/workerd/obuilder"
	"github.com/weirbuild/weir/workerd/obuilder/fetch"
	"github.com/weirbuild/weir/workerd/obuilder/fetchtest"
)

// serve runs a real registry, with handle around it, that has img as ref.
func serve(t *testing.T, repo string, img v1.Image, handle func(http.Handler) http.Handler) (host string) {
	t.Helper()
	r := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	plain := httptest.NewServer(r)
	t.Cleanup(plain.Close)
	ref, err := name.ParseReference(strings.TrimPrefix(plain.URL, "http://")+"/"+repo, name.Insecure)
	if err == nil {
		err = remote.Write(ref, img)
	}
	if err != nil {
		t.Fatal(err)
	}
	if handle == nil {
		return strings.TrimPrefix(plain.URL, "http://")
	}
	s := httptest.NewServer(handle(r))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestRegistry(t *testing.T) {
	fetchtest.Run(t, func(t *testing.T, img v1.Image) (obuilder.Fetcher, string) {
		return fetch.New(fetch.Config{}), serve(t, "some/image:v1", img, nil) + "/some/image:v1"
	})
}

func TestMirror(t *testing.T) {
	fetchtest.Run(t, func(t *testing.T, img v1.Image) (obuilder.Fetcher, string) {
		host := serve(t, "library/busybox:latest", img, nil)
		m, err := fetch.ParseMirror("docker.io=http://" + host + "/")
		if err != nil {
			t.Fatal(err)
		}
		return fetch.New(fetch.Config{Mirrors: []fetch.Mirror{{Registry: "docker.io", Host: "127.0.0.1:1", Plain: true}, m}}), "busybox"
	})
}

func TestLayout(t *testing.T) {
	fetchtest.Run(t, func(t *testing.T, img v1.Image) (obuilder.Fetcher, string) {
		dir := t.TempDir()
		path, err := layout.Write(dir, empty.Index)
		if err != nil {
			t.Fatal(err)
		}
		other := fetchtest.Image(t, []string{"OTHER=1"})
		for tag, img := range map[string]v1.Image{"v1": img, "v2": other} {
			if err := path.AppendImage(img, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": tag})); err != nil {
				t.Fatal(err)
			}
		}
		return fetch.New(fetch.Config{Local: true}), "oci:" + dir + ":v1"
	})
}

func TestArchive(t *testing.T) {
	fetchtest.Run(t, func(t *testing.T, img v1.Image) (obuilder.Fetcher, string) {
		file := filepath.Join(t.TempDir(), "image.tar")
		tag, err := name.NewTag("x:v1")
		if err == nil {
			err = tarball.WriteToFile(file, tag, img)
		}
		if err != nil {
			t.Fatal(err)
		}
		return fetch.New(fetch.Config{Local: true}), "docker-archive:" + file
	})
}

// keychain has one password for everything.
type keychain struct{}

func (keychain) Resolve(authn.Resource) (authn.Authenticator, error) {
	return &authn.Basic{Username: "ann", Password: "hunter2"}, nil
}

func TestCredentials(t *testing.T) {
	guard := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if user, password, _ := r.BasicAuth(); user != "ann" || password != "hunter2" {
				w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
				http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	ref := serve(t, "a:v1", fetchtest.Image(t, []string{"A=1"}), guard) + "/a:v1"
	var failure *obuilder.Failure
	_, err := fetch.New(fetch.Config{}).Fetch(t.Context(), ref, nil, t.TempDir(), io.Discard)
	if !errors.As(err, &failure) || !strings.Contains(err.Error(), "--secret docker-config:FILE") {
		t.Errorf("without credentials: %v", err)
	}
	img, err := fetch.New(fetch.Config{Keychain: keychain{}}).Fetch(t.Context(), ref, nil, t.TempDir(), io.Discard)
	if err != nil || len(img.Env) != 1 {
		t.Errorf("with credentials: %v, %v", img, err)
	}
}

// A registry that answers 500 for a while is waited for.
func TestRegistryRecovers(t *testing.T) {
	var asked atomic.Int32
	stumble := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1) <= 2 {
				http.Error(w, "try later", http.StatusInternalServerError)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	ref := serve(t, "a:v1", fetchtest.Image(t, []string{"A=1"}), stumble) + "/a:v1"
	img, err := fetch.New(fetch.Config{}).Fetch(t.Context(), ref, nil, t.TempDir(), io.Discard)
	if err != nil || len(img.Env) != 1 || asked.Load() <= 2 {
		t.Errorf("%v, %v after %d requests", img, err, asked.Load())
	}
}

// A pull that is cancelled in the middle of a layer ends at once.
func TestCancelledPull(t *testing.T) {
	asked := make(chan struct{})
	stall := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			answer := httptest.NewRecorder()
			next.ServeHTTP(answer, r)
			if answer.Body.Len() < 1<<20 {
				for key, values := range answer.Header() {
					w.Header()[key] = values
				}
				w.WriteHeader(answer.Code)
				_, _ = w.Write(answer.Body.Bytes()) // the client sees what is missing
				return
			}
			w.Header().Set("Content-Length", strconv.Itoa(answer.Body.Len()))
			_, _ = w.Write(answer.Body.Bytes()[:1<<19])
			_ = http.NewResponseController(w).Flush()
			close(asked)
			<-r.Context().Done()
		})
	}
	noise := make([]byte, 4<<20)
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	ref := serve(t, "a:v1", fetchtest.Image(t, nil, []fetchtest.Entry{fetchtest.File("noise", string(noise), 0o644)}), stall) + "/a:v1"
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped")
	go func() {
		<-asked
		cancel(stopped)
	}()
	if _, err := fetch.New(fetch.Config{}).Fetch(ctx, ref, nil, t.TempDir(), io.Discard); !errors.Is(err, stopped) {
		t.Errorf("%v", err)
	}
}

func TestWrongReferences(t *testing.T) {
	host := serve(t, "a:v1", fetchtest.Image(t, nil), nil)
	file := filepath.Join(t.TempDir(), "x.tar")
	if err := os.WriteFile(file, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	for ref, says := range map[string]string{
		"docker-archive:/etc/passwd": "only `weir obuilder build` reads those",
		"oci:./x":                    "only `weir obuilder build` reads those",
		"UPPER":                      "image reference UPPER",
		host + "/b:v1":               "not in its registry",
		host + "/a@sha256:" + strings.Repeat("0", 64): "not in its registry",
	} {
		var failure *obuilder.Failure
		if _, err := fetch.New(fetch.Config{}).Fetch(t.Context(), ref, nil, t.TempDir(), io.Discard); !errors.As(err, &failure) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, ref := range []string{"docker-archive:" + file, "docker-archive:" + file + "x", "oci:" + filepath.Dir(file)} {
		var failure *obuilder.Failure
		if _, err := fetch.New(fetch.Config{Local: true}).Fetch(t.Context(), ref, nil, t.TempDir(), io.Discard); !errors.As(err, &failure) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for _, text := range []string{"", "x", "x=y", "x=ftp://y", "=http://y", "x=http://y/z"} {
		if m, err := fetch.ParseMirror(text); err == nil {
			t.Errorf("mirror %q is %v", text, m)
		}
	}
}
