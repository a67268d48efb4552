package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/weirbuild/weir/scheduler"
	"github.com/weirbuild/weir/workerd"
)

func settings(t *testing.T, file string, environ []string, args ...string) (scheduler.Config, error) {
	t.Helper()
	c := scheduler.Default()
	fs := pflag.NewFlagSet("server", pflag.ContinueOnError)
	c.AddFlags(fs)
	addConfigFlag(fs)
	if file != "" {
		path := filepath.Join(t.TempDir(), "weir.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		environ = append(environ, "WEIR_CONFIG="+path)
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	err := loadSettings(fs, environ)
	return c, err
}

func TestFlagsBeatEnvironmentBeatsFile(t *testing.T) {
	file := "data-dir: /file\nname: file\nprofile: wan\njoin: [a:1, b:2]\nlog-budget: 5GiB\nlog-json: true\n"
	c, err := settings(t, file, []string{"WEIR_NAME=env", "WEIR_DATA_DIR=/env", "WEIR_CAPABILITY=other", "HOME=/"}, "--data-dir", "/flag")
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/flag" || c.Name != "env" || c.Profile != "wan" || strings.Join(c.Join, " ") != "a:1 b:2" || c.LogBudget != 5<<30 || !c.LogJSON {
		t.Errorf("have %+v", c)
	}
}

func TestFileErrorsAreAllNamed(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"unknown keys": {"data_dir: /x\nnme: y\n", []string{":1: unknown key \"data_dir\"", ":2: unknown key \"nme\"", "data-dir"}},
		"bad values":   {"bootstrap-expect: three\nlog-budget: 5 pounds\n", []string{":1:", ":2:", "500MiB"}},
		"twice":        {"name: a\nname: b\n", []string{"twice"}},
		"not a map":    {"- a\n", []string{"flag: value"}},
		"nested":       {"name: {a: b}\n", []string{"wants a value"}},
		"not YAML":     {"name: [\n", []string{"weir.yaml"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := settings(t, c.file, nil)
			for _, want := range c.want {
				if err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("error %v does not contain %q", err, want)
				}
			}
		})
	}
}

func TestMissingFile(t *testing.T) {
	_, err := settings(t, "", nil, "--config", filepath.Join(t.TempDir(), "none.yaml"))
	if err == nil || !strings.Contains(err.Error(), "none.yaml") {
		t.Errorf("have %v, want the file's name", err)
	}
}

// A list sets a flag once for each item, for both kinds of list flags.
func TestListsOfAFile(t *testing.T) {
	c := workerd.Default()
	fs := pflag.NewFlagSet("worker", pflag.ContinueOnError)
	c.AddFlags(fs)
	addConfigFlag(fs)
	path := filepath.Join(t.TempDir(), "weir.yaml")
	if err := os.WriteFile(path, []byte("label:\n  - os=linux\n  - arch=amd64\npass-env: [A, B]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := fs.Parse([]string{"--config", path}); err != nil {
		t.Fatal(err)
	}
	if err := loadSettings(fs, nil); err != nil {
		t.Fatal(err)
	}
	if len(c.Labels) != 2 || c.Labels[1] != "arch=amd64" || len(c.PassEnv) != 2 {
		t.Errorf("labels %q, variables %q", c.Labels, c.PassEnv)
	}
}
