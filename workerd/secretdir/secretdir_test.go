package secretdir

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/workerd/supervise"
)

func openHere(t *testing.T) *Area {
	t.Helper()
	a, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(a.dir) })
	return a
}

func TestFilesAreTheJobUsersAlone(t *testing.T) {
	a := openHere(t)
	var user *supervise.User
	uid := uint32(os.Geteuid())
	if uid == 0 {
		user = &supervise.User{UID: 65534, GID: 65534}
		uid = user.UID
	}
	dir, err := a.Make(7, map[string][]byte{"token": []byte("x\n")}, user)
	if err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, "token"): 0o400} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != mode || info.Sys().(*syscall.Stat_t).Uid != uid {
			t.Errorf("%s: %v of user %d", path, info.Mode(), info.Sys().(*syscall.Stat_t).Uid)
		}
	}
	if value, err := os.ReadFile(filepath.Join(dir, "token")); err != nil || string(value) != "x\n" {
		t.Errorf("token holds %q, %v", value, err)
	}
	for _, id := range []string{"../x", "a/b", "..", ""} {
		if dir, err := a.Make(8, map[string][]byte{id: {1}}, user); err == nil {
			t.Errorf("a secret %q made %s", id, dir)
		}
	}
	if left, err := filepath.Glob(filepath.Join(a.dir, "*")); err != nil || len(left) != 1 {
		t.Errorf("left: %q, %v", left, err)
	}
}

func TestOpenEmptiesItAndRefusesWhatIsNotOurs(t *testing.T) {
	work := t.TempDir()
	a, err := Open(work)
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(a.dir)
	if _, err := a.Make(7, map[string][]byte{"token": []byte("x")}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(work); err != nil {
		t.Fatal(err)
	}
	if left, err := filepath.Glob(filepath.Join(a.dir, "*")); err != nil || len(left) != 0 {
		t.Errorf("an earlier worker left %q, %v", left, err)
	}
	if err := os.Remove(a.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(t.TempDir(), a.dir); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(work); err == nil || !strings.Contains(err.Error(), "somebody else's") {
		t.Errorf("a link in its place: %v", err)
	}
	if _, err := open("/proc", work); err == nil || !strings.Contains(err.Error(), "in memory") {
		t.Errorf("a place that is not in memory: %v", err)
	}
}
