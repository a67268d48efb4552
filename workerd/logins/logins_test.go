package logins

import (
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

func set(t *testing.T, text string) *Set {
	t.Helper()
	s, err := Of(map[string][]byte{Secret: []byte(text), "other": []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Of a configuration that a job brings only its credentials are used, and none of
// their forms may show in the log.
func TestOnlyCredentialsCount(t *testing.T) {
	s := set(t, `{"auths":{"reg.example.org":{"auth":"dXNlcjpwYXNzd29yZDE="},"b":{"username":"u","password":"password2"}},
		"credsStore":"evil","credHelpers":{"reg.example.org":"evil"},"proxies":{"default":{"httpProxy":"http://evil"}}}`)
	if text := string(s.Config()); strings.Contains(text, "evil") || !strings.Contains(text, `"reg.example.org":{"auth":"dXNlcjpwYXNzd29yZDE="}`) {
		t.Errorf("the configuration is %s", text)
	}
	if said := s.Mask("a dXNlcjpwYXNzd29yZDE= b password1 c password2"); said != "a *** b *** c ***" {
		t.Errorf("masked: %s", said)
	}
	for _, bad := range []string{"user:secret-password", `{"auths":"secret-password"}`, "{}", "", `{"auths":{"a":{"auth":"secret-password"}}}`} {
		if _, err := Of(map[string][]byte{Secret: []byte(bad)}); err == nil || strings.Contains(err.Error(), "secret-password") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestNone(t *testing.T) {
	s, err := Of(map[string][]byte{"other": []byte("x")})
	if s != nil || err != nil || string(s.Config()) != `{"auths":{}}` || s.Values() != nil || s.Mask("x") != "x" || s.Knows(repository(t, "a")) {
		t.Errorf("%v, %v", s, err)
	}
}

func repository(t *testing.T, text string) name.Repository {
	t.Helper()
	r, err := name.NewRepository(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Credentials are found by every name that docker login writes, and for nothing else.
func TestResolve(t *testing.T) {
	for key, c := range map[string]struct{ of, not string }{
		"reg.example.org":                {"reg.example.org/team/app", "other.example.org/team/app"},
		"https://reg.example.org":        {"reg.example.org/app", "reg.example.org:5000/app"},
		"reg.example.org:5000":           {"reg.example.org:5000/app", "reg.example.org/app"},
		"https://index.docker.io/v1/":    {"busybox", "reg.example.org/busybox"},
		"docker.io":                      {"someone/app", "reg.example.org/app"},
		"reg.example.org/team/app":       {"reg.example.org/team/app", "elsewhere.example.org/team/app"},
		"http://127.0.0.1:5000/v2/":      {"127.0.0.1:5000/x", "127.0.0.1:5001/x"},
		"https://reg.example.org:5000/x": {"reg.example.org:5000/x", "reg.example.org:5001/x"},
	} {
		s := set(t, `{"auths":{"`+key+`":{"auth":"YW5uOmh1bnRlcjI="}}}`)
		a, err := s.Resolve(repository(t, c.of))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := a.Authorization(); err != nil || got.Username != "ann" || got.Password != "hunter2" {
			t.Errorf("%s for %s: %+v, %v", key, c.of, got, err)
		}
		if a, err := s.Resolve(repository(t, c.not)); err != nil || a != authn.Anonymous {
			t.Errorf("%s for %s: %v, %v", key, c.not, a, err)
		}
	}
}
