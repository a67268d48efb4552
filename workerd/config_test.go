package workerd

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/workerd/session/sessiontest"
)

func TestEveryMistakeIsNamed(t *testing.T) {
	c := sessiontest.Start(t, 1)
	dir := t.TempDir()
	good := []string{"--connect", c.Save(t, dir), "--state-dir", filepath.Join(dir, "s"), "--pool", "p", "--allow-command", "--job-user", "nobody"}
	for _, test := range []struct{ flags, want string }{
		{"", ""},
		{"--label os=linux --label arch=arm64", ""},
		{"--state-dir=", "--state-dir is missing"},
		{"--pool=", "--pool is missing"},
		{"--slots 0", "--slots 0"},
		{"--allow-command=false", "give --allow-command"},
		{"--work-dir " + filepath.Join(dir, "s", "work"), "inside the state directory"},
		{"--grace -1s", "--grace"},
		{"--metrics-listen 0.0.0.0:7002", "loopback"},
		{"--metrics-listen localhost:7002", ""},
		{"--log-level loud", "--log-level"},
		{"--label os", "name=value"},
		{"--label os=a --label arch=b --label os=c", "given twice"},
		{"--spool-limit 10", "--spool-limit"},
		{"--git-cache-limit 100GiB --min-free 0 --log-limit 1048576", ""},
		{"--connect /nowhere/at/all", "/nowhere/at/all"},
		{"--connect weir://nonsense", "parse capability"},
	} {
		cfg := Default()
		fs := pflag.NewFlagSet("worker", pflag.ContinueOnError)
		cfg.AddFlags(fs)
		if err := fs.Parse(append(good, strings.Fields(test.flags)...)); err != nil {
			t.Fatal(err)
		}
		err := cfg.Complete()
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%s: %v", test.flags, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
			t.Errorf("%s: %v, want it to say %q", test.flags, err, test.want)
		}
	}
}

func TestACapabilityIsForItsPool(t *testing.T) {
	c := sessiontest.Start(t, 1)
	capa, err := c.Capability(t).With(capability.ParamPool, "linux")
	if err != nil {
		t.Fatal(err)
	}
	for pool, want := range map[string]string{"": "", "linux": "", "mac": "--pool mac: the capability is for pool linux"} {
		cfg := Default()
		cfg.Connect, cfg.Pool, cfg.StateDir, cfg.AllowCommand, cfg.JobUser = capa.Reveal(), pool, t.TempDir(), true, "nobody"
		err := cfg.Complete()
		switch {
		case want == "" && (err != nil || cfg.Pool != "linux"):
			t.Errorf("--pool %q: %v, pool %q", pool, err, cfg.Pool)
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("--pool %q: %v, want it to say %q", pool, err, want)
		}
	}
}

func TestWhereACapabilityComesFrom(t *testing.T) {
	c := sessiontest.Start(t, 1)
	want := c.Capability(t).Reveal()
	file := c.Save(t, t.TempDir())
	for _, connect := range []string{want, file, "@" + file} {
		got, err := takeCapability(connect)
		if err != nil || got.Reveal() != want {
			t.Errorf("another capability, or %v", err)
		}
	}
	cfg := Default()
	if err := cfg.Complete(); err == nil || !strings.Contains(err.Error(), "--connect is missing") {
		t.Errorf("without a capability: %v", err)
	}
}

// The worker's side of the cluster must not know the cluster's own layers.
func TestLayers(t *testing.T) {
	for _, pkg := range []string{"workerd", "proto/client"} {
		out, err := exec.Command("go", "list", "-deps", "github.com/weirbuild/weir/"+pkg).Output()
		if err != nil {
			t.Fatal(err)
		}
		for _, dep := range strings.Fields(string(out)) {
			for _, layer := range []string{"fsm", "raftnode", "scheduler", "cli"} {
				top := "github.com/weirbuild/weir/" + layer
				if dep == top || strings.HasPrefix(dep, top+"/") {
					t.Errorf("%s depends on %s", pkg, dep)
				}
			}
		}
	}
}
