package scheduler

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/scheduler/auth"
)

func TestValidateListsEveryProblem(t *testing.T) {
	c := Default()
	c.Listen, c.Profile, c.LogStore, c.LogLevel, c.LogBudget = "0.0.0.0:7000", "fast", "tape", "loud", 1
	c.SnapshotEntries = 1
	c.Join, c.BootstrapExpect = []string{"0.0.0.0:1"}, -1
	err := c.Validate()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"--data-dir", "--tls-dir", "--advertise", "--join", "--bootstrap-expect", "--profile", "--log-store", "--log-budget", "--snapshot-entries", "--log-level"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%s is not named in:\n%v", want, err)
		}
	}
}

func TestValidateFirstBoot(t *testing.T) {
	tlsDir := t.TempDir()
	for _, name := range []string{caFile, certFile, keyFile} {
		if err := os.WriteFile(filepath.Join(tlsDir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "node-id"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*Config)
		want   string // empty: fine
	}{
		"single":               {func(c *Config) { c.BootstrapExpect = 1 }, ""},
		"three":                {func(c *Config) { c.BootstrapExpect = 3; c.Join = []string{"a:1", "b:1"} }, ""},
		"joins":                {func(c *Config) { c.Join = []string{"a:1"} }, ""},
		"has state":            {func(c *Config) { c.DataDir = used }, ""},
		"nothing":              {func(*Config) {}, "neither a cluster nor its size"},
		"three without others": {func(c *Config) { c.BootstrapExpect = 3 }, "name the other nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := Default()
			cfg.DataDir, cfg.TLSDir, cfg.Listen = filepath.Join(t.TempDir(), "data"), tlsDir, "10.0.0.1:7000"
			c.change(&cfg)
			err := cfg.Validate()
			if c.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("have %v, want %q", err, c.want)
			}
		})
	}
}

// The audit is written whatever the level of the log.
func TestNoLevelSilencesTheAudit(t *testing.T) {
	for _, level := range []string{"error", "off"} {
		cfg := Default()
		cfg.LogLevel = level
		var out bytes.Buffer
		logger := cfg.NewLogger(&out)
		guard := auth.New(auth.Config{Logger: logger})
		guard.Alert("192.0.2.1:1", "no certificate")
		logger.Named("other").Warn("this is not for the log")
		if text := out.String(); !strings.Contains(text, "audit: refused") || strings.Count(text, "\n") != 1 {
			t.Errorf("at level %s the log is %q", level, text)
		}
	}
}
