package machine

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/docker/dockertest"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
	"github.com/weirbuild/weir/workerd/supervise"
)

func TestMain(m *testing.M) {
	supervise.Main()
	os.Exit(m.Run())
}

func look(t *testing.T, c Config) (parts map[string]Part, cannot map[string][]string) {
	t.Helper()
	c.Dir = filepath.Join(t.TempDir(), "not", "there")
	r, err := Check(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Dir(filepath.Dir(c.Dir))); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	parts, cannot = map[string]Part{}, map[string][]string{}
	for _, p := range r.Parts {
		parts[p.Name] = p
		if p.OK != (p.Mend == "") || p.Says == "" {
			t.Errorf("%+v", p)
		}
	}
	for _, k := range r.Kinds {
		cannot[k.Name] = k.Missing
	}
	return parts, cannot
}

// A machine with all parts can run all jobs.
func TestEverythingIsThere(t *testing.T) {
	enginetest.NeedRoot(t)
	enginetest.Need(t, "runc", "runc")
	d := dockertest.StartBuildKit(t, "127.0.0.1:1")
	t.Setenv("PATH", d.Bin+":"+os.Getenv("PATH"))
	parts, cannot := look(t, Config{BuildkitAddr: d.Addr})
	for kind, missing := range cannot {
		if len(missing) > 0 {
			t.Errorf("%s: %v are missing\n%+v", kind, missing, parts)
		}
	}
	if p := parts["git"]; !strings.HasPrefix(p.Says, "git version 2.") {
		t.Errorf("%+v", p)
	}
}

// A machine without programs says what to install, and what cannot be run.
func TestNothingIsThere(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	parts, cannot := look(t, Config{BuildkitAddr: "unix:///nosuch", MinFree: 1 << 60})
	for part, mend := range map[string]string{
		"git": "install git", "runc": "install runc", "buildkit": "install buildctl", "docker": "install docker.io", "disk": "make room",
	} {
		if p := parts[part]; p.OK || !strings.Contains(p.Mend, mend) {
			t.Errorf("%+v, want %q", p, mend)
		}
	}
	if got := cannot["docker"]; !slices.Equal(got, []string{"git", "disk", "buildkit or docker"}) {
		t.Errorf("Docker jobs miss %v", got)
	}
	if got := cannot["command"]; !slices.Equal(got, []string{"git", "disk"}) {
		t.Errorf("command jobs miss %v", got)
	}
}

// Both versions of cgroups, as recorded.
func TestCgroups(t *testing.T) {
	v1 := `30 25 0:26 / /sys/fs/cgroup/cpu rw,nosuid shared:8 - cgroup cgroup rw,cpu
31 25 0:27 / /sys/fs/cgroup/memory rw,nosuid - cgroup cgroup rw,memory
32 25 0:28 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids
33 25 0:29 / /elsewhere rw - tmpfs tmpfs rw
`
	for name, c := range map[string]struct {
		files map[string]string
		says  string
		mend  string
	}{
		"v2":             {map[string]string{"/sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"}, "version 2 with cpu, memory, pids", ""},
		"v2, no memory":  {map[string]string{"/sys/fs/cgroup/cgroup.controllers": "cpu pids\n"}, "version 2 without memory", "cgroup_enable=memory"},
		"v2, nothing":    {map[string]string{"/sys/fs/cgroup/cgroup.controllers": "\n"}, "no controller", "mount -t cgroup2"},
		"v1":             {map[string]string{"/proc/self/mountinfo": v1}, "version 1 with cpu, memory, pids", ""},
		"v1, joined":     {map[string]string{"/proc/self/mountinfo": strings.Replace(v1, "rw,cpu\n", "rw,cpu,cpuacct\n", 1)}, "version 1 with", ""},
		"v1, no pids":    {map[string]string{"/proc/self/mountinfo": strings.Replace(v1, "pids", "net_cls", 2)}, "version 1 without pids", "enable"},
		"v1 elsewhere":   {map[string]string{"/proc/self/mountinfo": strings.ReplaceAll(v1, "/sys/fs/cgroup", "/cg")}, "no controller", "mount"},
		"nothing at all": {nil, "not exist", "mount /proc"},
	} {
		p := cgroups(func(file string) ([]byte, error) {
			if text, ok := c.files[file]; ok {
				return []byte(text), nil
			}
			return nil, &fs.PathError{Op: "open", Path: file, Err: fs.ErrNotExist}
		})
		if !strings.Contains(p.Says, c.says) || !strings.Contains(p.Mend, c.mend) || p.OK != (c.mend == "") {
			t.Errorf("%s: %+v", name, p)
		}
	}
}
