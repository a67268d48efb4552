package gitsource

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A private repository is fetched with the credentials of its host; they are in no
// log and no clone, no other host gets them, and a refusal does not erase them.
func TestCredentialsPerHost(t *testing.T) {
	const password = "hunter2-of-git"
	b, s := newBench(t), newServer(t)
	r := s.repo(t, "private")
	commit := r.pushed("README", "private\n")
	given := ""
	ask := http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		user, pass, ok := req.BasicAuth()
		if given = user + ":" + pass; !ok || given != "robot:"+password {
			w.Header().Set("WWW-Authenticate", "Basic")
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		s.answer(w, req)
	})
	s.before.Store(&ask)

	_, log, err := b.checkout(t.Context(), r.url, commit)
	wantFailure(t, err, "cannot be read by this worker")

	file := filepath.Join(t.TempDir(), "credentials")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.credentials = file
	write("http://robot:wrong@" + s.Listener.Addr().String() + "\n")
	_, _, err = b.checkout(t.Context(), r.url, commit)
	wantFailure(t, err, "cannot be read by this worker")
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), "robot:wrong@") {
		t.Errorf("a refusal changed the file: %q, %v", text, err)
	}
	write("http://robot:" + password + "@another.example.org\n")
	given = ""
	_, _, err = b.checkout(t.Context(), r.url, commit)
	wantFailure(t, err, "cannot be read by this worker")
	if strings.Contains(given, password) {
		t.Error("a host got the credentials of another")
	}
	write("https://x:y@example.org\nhttp://robot:" + password + "@" + s.Listener.Addr().String() + "\n")
	dir, more := b.mustCheckout(t, r.url, commit)
	wantFile(t, dir, "README", "private\n")
	for _, text := range []string{log, more} {
		if strings.Contains(text, password) {
			t.Errorf("the log shows the password: %s", text)
		}
	}
	for _, root := range []string{b.dir, b.work} {
		err := filepath.Walk(root, func(path string, info os.FileInfo, err error) error {
			if err != nil || !info.Mode().IsRegular() {
				return err
			}
			text, err := os.ReadFile(path)
			if strings.Contains(string(text), password) {
				t.Errorf("the password is in %s", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

func TestACredentialsFileIsChecked(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		mode os.FileMode
		want string
	}{
		"good":     {"https://u:p@example.org\n", 0o600, ""},
		"readable": {"https://u:p@example.org\n", 0o644, "mode"},
		"no user":  {"https://u:p@example.org\nhttps://example.org\n", 0o600, "line 2"},
		"no url":   {"example.org u sesame\n", 0o600, "line 1"},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(c.text), c.mode); err != nil {
			t.Fatal(err)
		}
		err := checkCredentials(file)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "sesame")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
