package spool

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/weirbuild/weir/workerd/room"
	"github.com/weirbuild/weir/workerd/room/roomtest"
)

const (
	spoolCut = "\n[weir: the rest of this job's output was dropped: the log spool of its worker is full]\n"
	diskCut  = "\n[weir: the rest of this job's output was dropped: the disk of its worker is full]\n"
)

// finished finishes a log and returns its content, which its end must fit.
func finished(t *testing.T, l *Log) string {
	t.Helper()
	end, err := l.Finish()
	if err != nil {
		t.Fatal(err)
	}
	text := content(t, l)
	if end.Bytes != int64(len(text)) || end.SHA256 != sha256.Sum256([]byte(text)) {
		t.Errorf("the end says %d bytes, the log has %d, or the digest is another", end.Bytes, len(text))
	}
	return text
}

func TestBudget(t *testing.T) {
	both(t, func(t *testing.T, s *Spool) {
		a, b := create(t, s, 1), create(t, s, 2)
		if _, err := a.Write(make([]byte, plenty-10)); err != nil {
			t.Fatal(err)
		}
		write(t, b, "01234")
		write(t, b, "more than five bytes")
		write(t, b, "x") // would fit, but after a gap
		if err := b.Cut(); !errors.Is(err, ErrFull) {
			t.Errorf("the log over the budget is cut off because of %v", err)
		}
		if _, err := s.Create(ID{Lease: 3}); !errors.Is(err, ErrFull) {
			t.Fatalf("create in a full spool: %v", err)
		}
		write(t, b, "\nJob succeeded\n")
		if got, want := finished(t, b), "01234"+spoolCut+"Job succeeded\n"; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if a.Cut() != nil || len(finished(t, a)) != plenty-10 {
			t.Error("the log within the budget is not whole")
		}
		for lease := range uint64(2) {
			if err := s.Drop(lease + 1); err != nil {
				t.Fatal(err)
			}
		}
		if _, used, _ := s.Usage(); used != 0 {
			t.Errorf("%d bytes count as used in an empty spool", used)
		}
		create(t, s, 3)
	})
}

func TestFullDisk(t *testing.T) {
	roomtest.Disk(t, 4<<20, func(t *testing.T, dir string) {
		s := open(t, dir, 1<<30)
		chatty, quiet, interrupted := create(t, s, 1), create(t, s, 2), create(t, s, 3)
		write(t, chatty, "Building\n")
		write(t, interrupted, "Building\n")
		filler := roomtest.Fill(t, dir)
		line := strings.Repeat("x", 1023) + "\n"
		for range 2 << 10 { // more than the room that was kept ahead
			write(t, chatty, line)
			write(t, interrupted, line)
		}
		write(t, chatty, "Job succeeded\n")
		write(t, quiet, "Job stopped by its worker\n")
		for name, l := range map[string]*Log{"chatty": chatty, "quiet": quiet} {
			if !room.IsFull(l.Cut()) {
				t.Errorf("%s is cut off because of %v", name, l.Cut())
			}
		}
		got := finished(t, chatty)
		kept, end, _ := strings.Cut(got, diskCut)
		if end != "Job succeeded\n" || strings.Trim(strings.TrimPrefix(kept, "Building\n"), "x\n") != "" {
			t.Errorf("the log ends with %q", got[max(0, len(got)-200):])
		}
		if got := finished(t, quiet); got != diskCut+"Job stopped by its worker\n" {
			t.Errorf("quiet: %q", got)
		}
		roomtest.Fill(t, dir) // what the finished logs gave back
		if _, err := s.Create(ID{Lease: 4}); !room.IsFull(err) {
			t.Errorf("a log on a full disk: %v", err)
		}

		again := open(t, dir, 1<<30)
		l, _ := again.Get(3)
		write(t, l, "\nworker restarted\n")
		got = finished(t, l)
		if end := got[max(0, len(got)-2*tailRoom):]; !strings.Contains(end, diskCut) || !strings.HasSuffix(end, "\nworker restarted\n") {
			t.Errorf("interrupted: %q", end)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		l = create(t, again, 4)
		write(t, l, strings.Repeat(line, 1<<10))
		if got := finished(t, l); l.Cut() != nil || len(got) != 1<<20 {
			t.Errorf("with room again a log has %d bytes and is cut off because of %v", len(got), l.Cut())
		}
	})
}

// small is a medium of a few bytes that keeps no room ahead.
type small struct {
	memory
	left int
	err  error
}

func (m *small) create(ID) (backing, error) { return &smallLog{new(buffer), m}, nil }

type smallLog struct {
	*buffer
	on *small
}

func (l *smallLog) append(p []byte, last bool) (int, error) {
	n := min(len(p), l.on.left)
	l.on.left -= n
	if _, err := l.buffer.append(p[:n], last); err != nil || n == len(p) {
		return n, err
	}
	return n, l.on.err
}

func TestFullDiskThatKeepsNoRoom(t *testing.T) {
	m := &small{left: 8, err: syscall.ENOSPC}
	l := create(t, newSpool(m, plenty), 1)
	write(t, l, "Building\n")
	write(t, l, "Job succeeded\n")
	if _, err := l.Finish(); !room.IsFull(err) {
		t.Fatalf("a log whose cut cannot be told was finished: %v", err)
	}
	m.left = plenty
	if got, want := finished(t, l), "Building"+diskCut+"Job succeeded\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestBrokenDiskIsNotAFullOne(t *testing.T) {
	m := &small{left: 4, err: syscall.EIO}
	l := create(t, newSpool(m, plenty), 1)
	if n, err := l.Write([]byte("Building\n")); n != 4 || !errors.Is(err, syscall.EIO) {
		t.Errorf("wrote %d, %v", n, err)
	}
	if l.Cut() != nil {
		t.Errorf("cut off because of %v", l.Cut())
	}
}

func TestCutKeepsShortLastWordsOnly(t *testing.T) {
	l := create(t, Memory(10), 1)
	write(t, l, strings.Repeat("x", 11))
	long := bytes.Repeat([]byte("y"), 1<<20)
	if n, err := l.Write(long); n != len(long) || err != nil {
		t.Fatal(n, err)
	}
	if got := finished(t, l); len(got) > tailRoom {
		t.Errorf("a log that was cut off has %d bytes beyond the budget", len(got))
	}
}
