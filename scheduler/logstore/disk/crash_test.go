package disk

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/scheduler/logstore"
	"github.com/weirbuild/weir/scheduler/logstore/logstoretest"
)

// image is the content of a directory.
type image map[string][]byte

func take(t testing.TB, dir string) image {
	t.Helper()
	names, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	img := image{}
	for _, n := range names {
		if n.Name() == "lock" {
			continue
		}
		if img[n.Name()], err = os.ReadFile(filepath.Join(dir, n.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

func (img image) restore(t testing.TB) Options {
	t.Helper()
	dir := t.TempDir()
	for name, data := range img {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return testOptions(dir)
}

func (img image) last() string {
	var segs []string
	for name := range img {
		if strings.HasSuffix(name, segmentSuffix) {
			segs = append(segs, name)
		}
	}
	return slices.Max(segs)
}

// A crash may cut what was written after the last sync at any byte, or leave
// anything in its place. What was synced is whole, and the store goes on.
func TestTornTailAtEveryByte(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	synced := map[logstore.Key][]byte{}
	for job := range uint64(5) {
		k := logstoretest.Key(job)
		synced[k] = logstoretest.Text(k, 100)
		logstoretest.Put(t, s, k, synced[k])
	}
	open := logstoretest.Key(9)
	text := logstoretest.Text(open, 400)
	appendAll(t, s, open, text[:150])
	logstoretest.Sync(t, s)
	before := take(t, o.Dir)
	appendAll(t, s, open, text)
	logstoretest.Put(t, s, logstoretest.Key(7), text[:80])
	after := take(t, o.Dir)
	closeStore(t, s)

	name := after.last()
	for size := len(before[name]); size <= len(after[name]); size++ {
		for what, tail := range map[string][]byte{
			"cut":     nil,
			"zeros":   make([]byte, len(after[name])-size),
			"garbage": logstoretest.Text(logstoretest.Key(uint64(size)), 60),
		} {
			if tail != nil && size%7 != 0 {
				continue
			}
			img := maps.Clone(after)
			img[name] = slices.Concat(after[name][:size], tail)
			tornTail(t, fmt.Sprintf("%s at %d", what, size), img.restore(t), synced, open, text)
		}
	}
}

func tornTail(t *testing.T, what string, o Options, synced map[logstore.Key][]byte, open logstore.Key, text []byte) {
	t.Helper()
	for range 2 { // what the first opening cut off must not come back
		s := openStore(t, o)
		for k, want := range synced {
			logstoretest.Want(t, s, k, want)
		}
		have, err := logstoretest.Read(s, open)
		if err != nil || len(have) < 150 || !bytes.HasPrefix(text, have) {
			t.Fatalf("%s: the open log has %d bytes, %v", what, len(have), err)
		}
		if info, ok := s.Stat(logstoretest.Key(7)); ok && info.Sealed {
			logstoretest.Want(t, s, logstoretest.Key(7), text[:80])
		}
		appendAll(t, s, open, text)
		if err := s.Seal(open, int64(len(text)), sha256.Sum256(text)); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		logstoretest.Want(t, s, open, text)
		closeStore(t, s)
	}
}

// image is what a power failure leaves: of each segment what was synced, and
// nothing of what was not.
func (d *faults) image(t testing.TB, dir string) image {
	t.Helper()
	img := take(t, dir)
	d.mu.Lock()
	defer d.mu.Unlock()
	for name := range img {
		if strings.HasSuffix(name, segmentSuffix) {
			img[name] = d.durable[filepath.Join(dir, name)]
		}
	}
	return img
}

// The directory is copied between any two commands, with housekeeping among
// them, and opened: what was synced must be there, what was dropped and synced
// must not.
func TestCopyAtRandomPoints(t *testing.T) {
	for seed := range uint64(6) {
		r := rand.New(rand.NewPCG(seed, 1))
		disk, o := noFaults(), testOptions(t.TempDir())
		o.open, disk.durable = disk.open, image{}
		s := openStore(t, o)
		now, durable := map[logstore.Key][]byte{}, map[logstore.Key][]byte{}
		touched := map[logstore.Key]bool{}
		for step := range 300 {
			k := logstoretest.Key(uint64(r.IntN(40)))
			touched[k] = true
			switch n := r.IntN(10); {
			case now[k] == nil && n < 8:
				now[k] = logstoretest.Text(logstore.Key{Job: r.Uint64()}, 1+r.IntN(3000))
				appendAll(t, s, k, now[k]) // in parts, often in two segments
				if err := s.Seal(k, int64(len(now[k])), sha256.Sum256(now[k])); err != nil {
					t.Fatal(err)
				}
			case n < 5:
				if err := s.Drop(k); err != nil {
					t.Fatal(err)
				}
				delete(now, k)
			case n == 5:
				tidy(t, s)
			default:
				logstoretest.Sync(t, s)
				durable = maps.Clone(now)
				clear(touched)
			}
			if step%20 == 0 {
				what := fmt.Sprintf("seed %d, step %d", seed, step)
				checkCopy(t, "killed, "+what, take(t, o.Dir).restore(t), durable, touched)
				checkCopy(t, "power lost, "+what, disk.image(t, o.Dir).restore(t), durable, touched)
			}
		}
		closeStore(t, s)
	}
}

func checkCopy(t *testing.T, what string, o Options, durable map[logstore.Key][]byte, touched map[logstore.Key]bool) {
	t.Helper()
	var log strings.Builder
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: &log, Level: hclog.Warn})
	s := openStore(t, o)
	defer closeStore(t, s)
	for k, want := range durable {
		if have, err := logstoretest.Read(s, k); !touched[k] && (err != nil || !bytes.Equal(have, want)) {
			t.Fatalf("%s: log %v has %d bytes, %v", what, k, len(have), err)
		}
	}
	for k := range s.Keys() {
		if durable[k] == nil && !touched[k] {
			t.Fatalf("%s: log %v was dropped and is there", what, k)
		}
	}
	if log.Len() > 0 {
		t.Fatalf("%s: warnings:\n%s", what, log.String())
	}
}
