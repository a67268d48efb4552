package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const plenty = 1 << 20

// both runs a test over the two media.
func both(t *testing.T, test func(t *testing.T, s *Spool)) {
	t.Run("disk", func(t *testing.T) { test(t, open(t, t.TempDir(), plenty)) })
	t.Run("memory", func(t *testing.T) { test(t, Memory(plenty)) })
}

func open(t *testing.T, dir string, budget int64) *Spool {
	t.Helper()
	s, err := Open(dir, budget)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func create(t *testing.T, s *Spool, lease uint64) *Log {
	t.Helper()
	l, err := s.Create(ID{Lease: lease, Job: lease * 10, Attempt: 1})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func write(t *testing.T, l *Log, text string) {
	t.Helper()
	if n, err := io.WriteString(l, text); err != nil || n != len(text) {
		t.Fatalf("write: %d, %v", n, err)
	}
}

func content(t *testing.T, l *Log) string {
	t.Helper()
	b, err := io.ReadAll(io.NewSectionReader(l, 0, 1<<40))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteReadFinish(t *testing.T) {
	both(t, func(t *testing.T, s *Spool) {
		l := create(t, s, 7)
		write(t, l, "one\n")
		if got := content(t, l); got != "one\n" {
			t.Fatalf("while it grows: %q", got)
		}
		write(t, l, "two\n")
		if _, ok := l.End(); ok {
			t.Fatal("it has an end before Finish")
		}
		end, err := l.Finish()
		want := End{Bytes: 8, SHA256: sha256.Sum256([]byte("one\ntwo\n"))}
		if err != nil || end != want {
			t.Fatalf("finish: %v, %v", end, err)
		}
		if again, err := l.Finish(); err != nil || again != want {
			t.Fatalf("finish again: %v, %v", again, err)
		}
		if got := content(t, l); got != "one\ntwo\n" {
			t.Fatalf("finished: %q", got)
		}
		if _, err := io.WriteString(l, "x"); !errors.Is(err, ErrFinished) {
			t.Fatalf("write after finish: %v", err)
		}
	})
}

func TestDropFreesRoomAndSwallowsWrites(t *testing.T) {
	both(t, func(t *testing.T, s *Spool) {
		l := create(t, s, 7)
		write(t, l, "one\n")
		for range 2 {
			if err := s.Drop(7); err != nil {
				t.Fatal(err)
			}
		}
		write(t, l, "nobody wants this")
		if logs, used, _ := s.Usage(); logs != 0 || used != 0 {
			t.Fatalf("usage after drop: %d logs, %d bytes", logs, used)
		}
		if got := content(t, l); got != "" {
			t.Fatalf("dropped log reads %q", got)
		}
		if _, err := l.Finish(); err != nil {
			t.Fatal(err)
		}
		create(t, s, 7)
	})
}

func TestWaitEmpty(t *testing.T) {
	both(t, func(t *testing.T, s *Spool) {
		create(t, s, 1)
		over, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.WaitEmpty(over); !errors.Is(err, context.Canceled) {
			t.Fatalf("wait with a log left: %v", err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.WaitEmpty(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if err := s.Drop(1); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	})
}

func TestCreateTwice(t *testing.T) {
	both(t, func(t *testing.T, s *Spool) {
		create(t, s, 1)
		if _, err := s.Create(ID{Lease: 1, Job: 10, Attempt: 1}); !errors.Is(err, ErrExists) {
			t.Fatalf("create twice: %v", err)
		}
	})
}

func TestChangedNamesEachLogOnce(t *testing.T) {
	both(t, func(t *testing.T, s *Spool) {
		a, b := create(t, s, 1), create(t, s, 2)
		write(t, a, "x")
		write(t, a, "y")
		<-s.Changed()
		if got := s.TakeChanged(); !slices.Equal(got, []*Log{a, b}) {
			t.Fatalf("changed: %v", got)
		}
		if got := s.TakeChanged(); len(got) != 0 {
			t.Fatalf("taken twice: %v", got)
		}
		b.Close()
		<-s.Changed()
		if got := s.TakeChanged(); !slices.Equal(got, []*Log{b}) {
			t.Fatalf("changed by finish: %v", got)
		}
	})
}

func TestReopen(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir, plenty)
	done, growing := create(t, s, 1), create(t, s, 2)
	write(t, done, "done")
	want, _ := done.Finish()
	write(t, growing, "grow")

	// The process is gone without a word; another opens the directory.
	s = open(t, dir, plenty)
	logs := s.Pending()
	if len(logs) != 2 || logs[0].ID() != (ID{1, 10, 1}) || logs[1].ID() != (ID{2, 20, 1}) {
		t.Fatalf("after a restart: %v", logs)
	}
	if got := s.TakeChanged(); len(got) != 2 {
		t.Fatalf("a restart announces %d logs", len(got))
	}
	if end, ok := logs[0].End(); !ok || end != want || content(t, logs[0]) != "done" {
		t.Fatalf("finished log after a restart: %v, %v, %q", end, ok, content(t, logs[0]))
	}
	if _, ok := logs[1].End(); ok {
		t.Fatal("the growing log has an end after a restart")
	}
	write(t, logs[1], "n again")
	end, err := logs[1].Finish()
	if err != nil || end.SHA256 != sha256.Sum256([]byte("grown again")) || content(t, logs[1]) != "grown again" {
		t.Fatalf("growing log after a restart: %v, %v", end, err)
	}
	if _, used, _ := s.Usage(); used != int64(len("done")+len("grown again")) {
		t.Fatalf("used %d", used)
	}
	for _, l := range logs {
		if err := s.Drop(l.ID().Lease); err != nil {
			t.Fatal(err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*-*")); len(left) != 1 { // boot-id
		t.Fatalf("left in the directory: %v", left)
	}
}

// A process can die between any two system calls; the file system then holds a
// prefix of what it did.
func TestCrashAtEveryPoint(t *testing.T) {
	text := "line one\nline two\n"
	for cut := range len(text) + 1 {
		dir := t.TempDir()
		l := create(t, open(t, dir, plenty), 5)
		write(t, l, text)
		if err := os.Truncate(filepath.Join(dir, openName(l.ID())), int64(cut)); err != nil {
			t.Fatal(err)
		}
		got, ok := open(t, dir, plenty).Get(5)
		if !ok || content(t, got) != text[:cut] {
			t.Fatalf("cut at %d: %q", cut, content(t, got))
		}
		if end, err := got.Finish(); err != nil || end.SHA256 != sha256.Sum256([]byte(text[:cut])) {
			t.Fatalf("cut at %d: finish %v, %v", cut, end, err)
		}
	}
}

// After a machine crash a finished log may have lost its tail, or hold zeros.
func TestMachineCrash(t *testing.T) {
	damages := map[string]func(path string) error{
		"short": func(path string) error { return os.Truncate(path, 4) },
		"empty": func(path string) error { return os.Truncate(path, 0) },
		"zeros": func(path string) error { return os.WriteFile(path, make([]byte, 9), 0o600) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir, plenty)
			l, whole := create(t, s, 5), create(t, s, 6)
			write(t, l, "123456789")
			write(t, whole, "whole")
			end, _ := l.Finish()
			whole.Close()
			if err := damage(filepath.Join(dir, finishedName(l.ID(), end))); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, bootIDFile), []byte("another boot\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			s = open(t, dir, plenty)
			got, _ := s.Get(5)
			text := content(t, got)
			if !strings.HasSuffix(text, Damage) {
				t.Fatalf("damaged log ends %q", text)
			}
			if end, ok := got.End(); !ok || end.SHA256 != sha256.Sum256([]byte(text)) || end.Bytes != int64(len(text)) {
				t.Fatalf("damaged log's end: %v, %v", end, ok)
			}
			if other, _ := s.Get(6); content(t, other) != "whole" {
				t.Fatalf("whole log reads %q", content(t, other))
			}
			if _, used, _ := s.Usage(); used != int64(len(text)+len("whole")) {
				t.Fatalf("used %d", used)
			}
		})
	}
}

func TestForeignFilesAreLeftAlone(t *testing.T) {
	dir := t.TempDir()
	names := []string{"README", "1-2.open", "01-2-3.open", "1-2-3-4-zz.log", "1-2-3.log", "x-2-3.open",
		fmt.Sprintf("1-2-3-4-%0128x.log", 5), "1-2-3-4-.log"}
	for _, name := range names {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if logs := open(t, dir, plenty).Pending(); len(logs) != 0 {
		t.Fatalf("taken for logs: %v", logs)
	}
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReadersBesideTheWriter(t *testing.T) {
	both(t, func(t *testing.T, s *Spool) {
		l := create(t, s, 1)
		want := bytes.Repeat([]byte("0123456789abcdef"), 16384) // some pages
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				var got []byte
				buf := make([]byte, 1000)
				for len(got) < len(want) {
					n, err := l.ReadAt(buf, int64(len(got)))
					if err != nil && err != io.EOF {
						t.Error(err)
						return
					}
					got = append(got, buf[:n]...)
				}
				if !bytes.Equal(got, want) {
					t.Error("a reader saw other bytes")
				}
			})
		}
		for p := range slices.Chunk(want, 3331) {
			if _, err := l.Write(p); err != nil {
				t.Fatal(err)
			}
			if err := s.Sync(); err != nil {
				t.Fatal(err)
			}
		}
		l.Close()
		wg.Wait()
	})
}

func TestSyncSurvivesDrop(t *testing.T) {
	s := open(t, t.TempDir(), plenty)
	for lease := range uint64(50) {
		l := create(t, s, lease)
		write(t, l, "x")
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := s.Sync(); err != nil {
				t.Error(err)
			}
		})
		l.Close()
		if err := s.Drop(lease); err != nil {
			t.Fatal(err)
		}
		wg.Wait()
	}
}

func TestModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	l := create(t, open(t, dir, plenty), 1)
	for path, want := range map[string]os.FileMode{dir: 0o700, filepath.Join(dir, openName(l.ID())): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}
