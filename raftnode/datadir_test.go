package raftnode

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestDataDirRefusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"node id lost":         {func(d string) error { return os.Remove(filepath.Join(d, nodeIDFile)) }, nodeIDFile + " is missing"},
		"cluster id lost":      {func(d string) error { return os.Remove(filepath.Join(d, clusterIDFile)) }, clusterIDFile + " is missing"},
		"node id scrambled":    {func(d string) error { return os.WriteFile(filepath.Join(d, nodeIDFile), []byte("x"), 0o600) }, "is not an id"},
		"log store cut off":    {func(d string) error { return os.Truncate(filepath.Join(d, boltLogFile), 4096*2) }, boltLogFile},
		"log store garbage":    {func(d string) error { return os.WriteFile(filepath.Join(d, boltLogFile), make([]byte, 9000), 0o600) }, "damaged"},
		"stable store garbage": {func(d string) error { return os.WriteFile(filepath.Join(d, stableFile), make([]byte, 9000), 0o600) }, "damaged"},
		"log store emptied":    {func(d string) error { return os.Truncate(filepath.Join(d, boltLogFile), 0) }, "and had reached entry"},
		"stable store gone":    {func(d string) error { return os.Remove(filepath.Join(d, stableFile)) }, "knows no term"},
		"log store gone":       {func(d string) error { return os.Remove(filepath.Join(d, boltLogFile)) }, "and had reached entry"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newTestCluster(t, 1, nil)
			c.startAll()
			c.propose("a")
			must(t, c.nodes[0].shutdown())
			must(t, test.damage(c.nodes[0].dir))
			err := c.nodes[0].tryStart()
			if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), c.nodes[0].dir) {
				t.Fatalf("%v, want %q and the file's path", err, test.want)
			}
		})
	}
}

func TestADataDirBelongsToOneProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, err := openDataDir(dir)
	must(t, err)
	if _, err := openDataDir(dir); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Fatal(err)
	}
	must(t, d.close())
}

func TestDiskErrorsNameTheWayOut(t *testing.T) {
	for err, want := range map[error]string{
		syscall.ENOSPC: "the disk is full", syscall.EROFS: "read-only", syscall.EACCES: "must own", errors.New("bad page"): "move the data directory away",
	} {
		got := explainStore("open store", "/d/log.db", fmt.Errorf("open: %w", err)).Error()
		if !strings.Contains(got, want) || !strings.Contains(got, "/d/log.db") {
			t.Errorf("%v: %s", err, got)
		}
	}
}
