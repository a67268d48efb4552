package docker

import (
	"errors"
	"strings"
	"testing"
)

// Of a configuration that a job brings only its credentials are used, and none of
// their forms may show in the log.
func TestCredentials(t *testing.T) {
	config, hide, err := credentials([]byte(`{"auths":{"reg.example.org":{"auth":"dXNlcjpwYXNzd29yZDE="},"b":{"username":"u","password":"password2"}},
		"credsStore":"evil","credHelpers":{"reg.example.org":"evil"},"proxies":{"default":{"httpProxy":"http://evil"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(config); strings.Contains(text, "evil") || !strings.Contains(text, `"reg.example.org":{"auth":"dXNlcjpwYXNzd29yZDE="}`) {
		t.Errorf("the configuration is %s", text)
	}
	var hidden []string
	for _, h := range hide {
		hidden = append(hidden, string(h))
	}
	all := " " + strings.Join(hidden, " ") + " "
	for _, value := range []string{"dXNlcjpwYXNzd29yZDE=", "password1", "password2"} {
		if !strings.Contains(all, " "+value+" ") {
			t.Errorf("%s is not hidden: %q", value, hidden)
		}
	}
	if config, hide, err := credentials(nil); string(config) != `{"auths":{}}` || hide != nil || err != nil {
		t.Errorf("none: %s, %q, %v", config, hide, err)
	}
	var own *Failure
	for _, bad := range []string{"user:secret-password", `{"auths":"secret-password"}`, "{}"} {
		if _, _, err := credentials([]byte(bad)); !errors.As(err, &own) || strings.Contains(err.Error(), "secret-password") {
			t.Errorf("%s: %v", bad, err)
		}
	}
}
