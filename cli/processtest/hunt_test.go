package processtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/cli/local"
)

// hunt looks for values that must be nowhere in clear: in files, and in the arguments
// and the environment of every process of this machine. It is safe for use by several
// goroutines.
type hunt struct {
	mu    sync.Mutex
	forms map[string]string // how a value could be written: what that is
	found map[string]bool   // what was found, and where
}

func newHunt() *hunt { return &hunt{forms: map[string]string{}, found: map[string]bool{}} }

// after begins to look for a value too.
func (h *hunt) after(what, value string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for form, how := range formsOf(value) {
		h.forms[form] = what + ", " + how
	}
}

// formsOf are the ways in which a value could be written: as it is, in two pieces of
// which each would be told from anything else, and encoded.
func formsOf(value string) map[string]string {
	forms := map[string]string{
		value: "whole", value[:len(value)-10]: "its beginning", value[len(value)-12:]: "its end",
		hex.EncodeToString([]byte(value)): "in hexadecimal",
	}
	// In base64 a value looks like one of three, by what is before it. Its first and
	// last characters also depend on what is beside it.
	for before := range 3 {
		text := base64.RawStdEncoding.EncodeToString([]byte(strings.Repeat("x", before) + value))
		forms[text[[]int{0, 2, 3}[before]:len(text)-2]] = fmt.Sprintf("in base64, %d bytes on", before)
	}
	return forms
}

func (h *hunt) look(place string, text []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for form, what := range h.forms {
		if bytes.Contains(text, []byte(form)) {
			h.found[fmt.Sprintf("%s: in %s", what, place)] = true
		}
	}
}

// files looks in all files below a directory, and says in which another text is.
// It sees what is inside of snapshots, which are compressed. Memory that is mounted
// there is no disk: a job that runs may have its secrets in it.
func (h *hunt) files(t *testing.T, dir, mark string, memory bool) (with []string) {
	t.Helper()
	disk := deviceOf(dir)
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && !memory && deviceOf(path) != disk && inMemory(path) {
			return fs.SkipDir
		}
		if err != nil || !d.Type().IsRegular() {
			return nil // it may be gone by now
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return nil
		}
		h.look(path, text)
		if bytes.HasPrefix(text, []byte("WEIRSNP")) {
			text = unpacked(t, text[snapshotHeader:])
			h.look(path+", unpacked", text)
		}
		if bytes.Contains(text, []byte(mark)) {
			with = append(with, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return with
}

func deviceOf(path string) uint64 {
	var s unix.Stat_t
	_ = unix.Lstat(path, &s) // it may be gone by now
	return s.Dev
}

func inMemory(path string) bool {
	var s unix.Statfs_t
	err := unix.Statfs(path, &s)
	return err == nil && (s.Type == unix.TMPFS_MAGIC || s.Type == unix.RAMFS_MAGIC)
}

// snapshotHeader is how many bytes of a snapshot's file are not compressed.
const snapshotHeader = 24

// unpacked is what a snapshot has, so far: it may be in the making.
func unpacked(t *testing.T, packed []byte) []byte {
	t.Helper()
	z, err := zstd.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	var text bytes.Buffer
	_, _ = z.WriteTo(&text)
	return text.Bytes()
}

// processes looks at every process, and gives the command lines of all.
func (h *hunt) processes() (commands []string) {
	for _, kind := range []string{"cmdline", "environ"} {
		files, _ := filepath.Glob("/proc/[0-9]*/" + kind)
		for _, path := range files {
			text, err := os.ReadFile(path)
			if err != nil {
				continue // it has ended
			}
			h.look(fmt.Sprintf("%s (%.60s)", path, text), text)
			if kind == "cmdline" {
				commands = append(commands, string(bytes.ReplaceAll(text, []byte{0}, []byte{' '})))
			}
		}
	}
	return commands
}

// watch looks at the processes again and again until ctx ends: those that start
// others and are gone in a moment too.
func (h *hunt) watch(ctx context.Context) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		h.processes()
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// take gives what was found, and forgets it.
func (h *hunt) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	found := slices.Sorted(maps.Keys(h.found))
	clear(h.found)
	return found
}

// TestAHuntFinds plants a value everywhere that a hunt promises to look in: else
// finding nothing would say nothing.
func TestAHuntFinds(t *testing.T) {
	h, dir := newHunt(), t.TempDir()
	const value = "s3cr3t-of-nobody-at-all-0123456789"
	h.after("planted", value)
	plant := func(name string, text []byte) {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	finds := func(what string) {
		t.Helper()
		h.files(t, dir, value, false)
		if found := h.take(); len(found) == 0 {
			t.Errorf("it does not find a value %s", what)
		}
		plant("file", nil)
	}
	if found := h.take(); len(found) != 0 {
		t.Errorf("found before anything was planted: %q", found)
	}
	plant("file", []byte("\x00\x01 token="+value+"\x00"))
	finds("in a file")
	plant("file", []byte("say "+value[:len(value)-10]+"\n"))
	finds("of which only the beginning was written")
	plant("file", []byte("\n"+value[len(value)-12:]+" said"))
	finds("of which only the end was written")
	for user := range 3 {
		plant("file", []byte(base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", user)+":"+value+"\n"))))
		finds("as a password in base64")
	}
	var packed bytes.Buffer
	z, err := zstd.NewWriter(&packed)
	if err == nil {
		_, err = z.Write([]byte(strings.Repeat("state ", 1000) + value + strings.Repeat(" state", 1000)))
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	plant("file", append([]byte("WEIRSNP\x01................"), packed.Bytes()...))
	finds("in a snapshot")

	ctx, end := context.WithCancel(t.Context())
	watched := make(chan struct{})
	go func() { // ends with ctx
		defer close(watched)
		h.watch(ctx)
	}()
	for what, c := range map[string]*exec.Cmd{"arguments": exec.Command("cat", "-", value), "environment": exec.Command("cat")} {
		if what == "environment" {
			c.Env = []string{"TOKEN=" + value}
		}
		stdin, err := c.StdinPipe()
		if err == nil {
			err = c.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		w := &world{t: t}
		w.until("the value to be found in a process's "+what, func() bool { return len(h.take()) > 0 })
		stdin.Close()
		_ = c.Wait() // there is no such file
	}
	end()
	<-watched
}

// nodesWith are the nodes with a file of a kind among some.
func nodesWith(c *local.Cluster, files []string, kind string) (nodes []string) {
	for _, n := range c.Nodes {
		if slices.ContainsFunc(files, func(f string) bool {
			return strings.HasPrefix(f, n.DataDir()+"/") && strings.Contains(f, kind)
		}) {
			nodes = append(nodes, n.Name)
		}
	}
	return nodes
}
