package enginetest

import (
	"encoding/base64"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Accounts are a private registry's, with their passwords: both may log in, but only
// Ann may read its image.
const (
	Ann, AnnPassword = "ann", "hunter2-of-ann"
	Bob, BobPassword = "bob", "hunter2-of-bob"
)

// ServePrivate runs a registry that demands a login, and gives a reference to the image
// with busybox that it has.
func ServePrivate(t testing.TB) (ref string) {
	t.Helper()
	real := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		switch {
		case user == Ann && password == AnnPassword, user == Bob && password == BobPassword && r.URL.Path == "/v2/":
			real.ServeHTTP(w, r)
		case user == Bob && password == BobPassword:
			http.Error(w, `{"errors":[{"code":"DENIED"}]}`, http.StatusForbidden)
		default:
			w.Header().Set("WWW-Authenticate", `Basic realm="private"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED"}]}`, http.StatusUnauthorized)
		}
	}))
	t.Cleanup(s.Close)
	ref = strings.TrimPrefix(s.URL, "http://") + "/team/busybox:v1"
	parsed, err := name.ParseReference(ref, name.Insecure)
	if err == nil {
		err = remote.Write(parsed, Busybox(t), remote.WithAuth(&authn.Basic{Username: Ann, Password: AnnPassword}))
	}
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

// DockerConfig is what docker login keeps after a login at the registry of a reference.
func DockerConfig(ref, user, password string) []byte {
	host, _, _ := strings.Cut(ref, "/")
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":" + password))
	return []byte(`{"auths":{"` + host + `":{"auth":"` + auth + `"}}}`)
}
