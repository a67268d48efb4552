package disk

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/scheduler/logstore"
	"github.com/weirbuild/weir/scheduler/logstore/logstoretest"
)

// damagedStore writes logs 1 to 3, the second in parts among others, flips a
// byte in the middle of the second, and opens the store again.
func damagedStore(t *testing.T, sidecars, sealed bool) (s *Store, text []byte, log *strings.Builder) {
	t.Helper()
	o := testOptions(t.TempDir())
	s = openStore(t, o)
	text = logstoretest.Text(logstoretest.Key(2), 4500)
	logstoretest.Put(t, s, logstoretest.Key(1), []byte("the first"))
	appendAll(t, s, logstoretest.Key(2), text)
	if sealed {
		if err := s.Seal(logstoretest.Key(2), 4500, sha256.Sum256(text)); err != nil {
			t.Fatal(err)
		}
	}
	logstoretest.Put(t, s, logstoretest.Key(3), []byte("the third"))
	logstoretest.Sync(t, s)
	if sidecars {
		tidy(t, s)
	}
	closeStore(t, s)
	flip(t, segmentPath(o.Dir, 1), text[2100:2132])
	log = &strings.Builder{}
	o.Logger = hclog.New(&hclog.LoggerOptions{Output: log})
	return openStore(t, o), text, log
}

// flip changes a bit of what is found in a file.
func flip(t *testing.T, path string, what []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(data, what)
	if at < 0 {
		t.Fatalf("%s does not hold what is to be damaged", path)
	}
	data[at+len(what)/2] ^= 4
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDamageInTheMiddle(t *testing.T) {
	for name, sidecars := range map[string]bool{"found when opened": false, "found when read": true} {
		t.Run(name, func(t *testing.T) {
			s, text, log := damagedStore(t, sidecars, true)
			defer closeStore(t, s)
			k := logstoretest.Key(2)
			_, err := s.ReadAt(k, make([]byte, len(text)), 0)
			if !errors.Is(err, logstore.ErrDamaged) {
				t.Fatalf("read over the damage: %v", err)
			}
			if out := log.String(); !strings.Contains(out, "00000001.seg") || !strings.Contains(out, "position=") || !strings.Contains(out, "log=2/1") {
				t.Errorf("reported as:\n%s", out)
			}
			if info, _ := s.Stat(k); !info.Damaged || !info.Sealed {
				t.Errorf("the damaged log: %+v", info)
			}
			if p := make([]byte, 2100); true {
				if _, err := s.ReadAt(k, p, 0); err != nil || !bytes.Equal(p, text[:2100]) {
					t.Errorf("before the damage: %v", err)
				}
				if n, err := s.ReadAt(k, p, 2800); err != nil && n != 1700 || !bytes.Equal(p[:1700], text[2800:]) {
					t.Errorf("behind the damage: %d, %v", n, err)
				}
			}
			logstoretest.Want(t, s, logstoretest.Key(1), []byte("the first"))
			logstoretest.Want(t, s, logstoretest.Key(3), []byte("the third"))
			repairByCopy(t, s, k, text)
		})
	}
}

// repairByCopy does what the errors advise.
func repairByCopy(t *testing.T, s *Store, k logstore.Key, text []byte) {
	t.Helper()
	if _, err := s.Append(k, 0, append(bytes.Clone(text), 'x')); !errors.Is(err, logstore.ErrDamaged) {
		t.Errorf("append to a damaged log: %v", err)
	}
	if err := s.Drop(k); err != nil {
		t.Fatal(err)
	}
	logstoretest.Put(t, s, k, text)
	logstoretest.Want(t, s, k, text)
	for range 3 {
		tidy(t, s)
	}
	logstoretest.Want(t, s, k, text)
}

// An unsealed log is taken back to before the damage: its worker has the rest.
func TestDamagedOpenLogGoesOn(t *testing.T) {
	s, text, log := damagedStore(t, false, false)
	k := logstoretest.Key(2)
	info, _ := s.Stat(k)
	if info.Size != 2100 || info.Damaged || !strings.Contains(log.String(), "position=") {
		t.Errorf("%+v, logged:\n%s", info, log.String())
	}
	for off := info.Size; off < 4500; off += 600 { // not in the parts of before
		if _, err := s.Append(k, off, text[off:min(off+600, 4500)]); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Seal(k, 4500, sha256.Sum256(text)); err != nil {
		t.Fatal(err)
	}
	dir := s.opts.Dir
	closeStore(t, s)
	s = openStore(t, testOptions(dir))
	defer closeStore(t, s)
	logstoretest.Want(t, s, k, text)
	if info, _ := s.Stat(k); !info.Sealed || info.Damaged {
		t.Errorf("opened again: %+v", info)
	}
}

// A build writes into its log what looks like records. Where damage makes the
// store search for the next record, these must not be taken for any.
func TestForgedRecordsInALog(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	logstoretest.Put(t, s, logstoretest.Key(1), []byte("the victim's log"))
	text := []byte("innocent beginning")
	at := int(s.writer.active.size) + headerSize // where the text will be
	for range 40 {
		h := make([]byte, headerSize)
		record{kind: kindDrop, key: logstoretest.Key(1), gen: 1 << 40}.encode(h, &salt{}, uint32(at+len(text)))
		text = append(text, h...)
	}
	logstoretest.Put(t, s, logstoretest.Key(2), text)
	logstoretest.Put(t, s, logstoretest.Key(3), []byte("the third"))
	closeStore(t, s)
	flip(t, segmentPath(o.Dir, 1), []byte("innocent beginning"))
	s = openStore(t, o)
	defer closeStore(t, s)
	logstoretest.Want(t, s, logstoretest.Key(1), []byte("the victim's log"))
	logstoretest.Want(t, s, logstoretest.Key(3), []byte("the third"))
	if info, _ := s.Stat(logstoretest.Key(2)); !info.Damaged {
		t.Errorf("the damaged log: %+v", info)
	}
}

func TestDamagedFilesOfEveryKind(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	for job := range uint64(20) {
		logstoretest.Put(t, s, logstoretest.Key(job), logstoretest.Text(logstoretest.Key(job), 1000))
	}
	logstoretest.Sync(t, s)
	tidy(t, s)
	closeStore(t, s)
	good := take(t, o.Dir)
	first, index := filepath.Base(segmentPath("", 1)), filepath.Base(sidecarPath(segmentPath("", 1)))
	for name, change := range map[string]func(image){
		"index changed":                   func(i image) { i[index][50] ^= 1 },
		"index cut":                       func(i image) { i[index] = i[index][:len(i[index])/2] },
		"index empty":                     func(i image) { i[index] = nil },
		"index without segment":           func(i image) { i["000000ff.idx"] = i[index] },
		"index half written":              func(i image) { i["00000001.idx.tmp"] = i[index][:9] },
		"segment's beginning, with index": func(i image) { i[first][3] ^= 1 },
		"new segment cut to nothing":      func(i image) { i["000000ff.seg"] = nil },
		"new segment cut in its preamble": func(i image) { i["000000ff.seg"] = []byte("weirlog") },
	} {
		t.Run(name, func(t *testing.T) {
			img := image{}
			for n, data := range good {
				img[n] = bytes.Clone(data)
			}
			change(img)
			s := openStore(t, img.restore(t))
			defer closeStore(t, s)
			for job := range uint64(20) {
				logstoretest.Want(t, s, logstoretest.Key(job), logstoretest.Text(logstoretest.Key(job), 1000))
			}
			logstoretest.Put(t, s, logstoretest.Key(100), []byte("goes on"))
		})
	}
}

// A segment with a damaged record stays after its other logs were copied out of
// it. When these are dropped and the copies are gone, it must not revive them.
func TestDamagedSegmentRevivesNothing(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	text := func(job uint64) []byte { return logstoretest.Text(logstoretest.Key(job), 500) }
	for job := range uint64(40) {
		logstoretest.Put(t, s, logstoretest.Key(job), text(job))
	}
	logstoretest.Sync(t, s)
	tidy(t, s)
	closeStore(t, s)
	flip(t, segmentPath(o.Dir, 1), text(0))
	s = openStore(t, o)
	drop := func(from, to uint64) {
		t.Helper()
		for job := from; job < to; job++ {
			if err := s.Drop(logstoretest.Key(job)); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			tidy(t, s)
		}
	}
	drop(2, 40) // log 1 is copied forward, out of the segment that log 0 keeps
	if at := s.ix.logs[logstoretest.Key(1)].first.seg; at == 1 {
		t.Fatal("log 1 was not copied forward")
	}
	drop(1, 2)
	logstoretest.Put(t, s, logstoretest.Key(50), make([]byte, 5000)) // closes the segment with the copy
	drop(50, 51)
	logstoretest.Put(t, s, logstoretest.Key(51), make([]byte, 5000))
	drop(51, 52)
	closeStore(t, s)
	s = openStore(t, o)
	defer closeStore(t, s)
	for k := range s.Keys() {
		if k != logstoretest.Key(0) {
			t.Errorf("log %v came back", k)
		}
	}
}

// When nothing of a segment can be read it is set aside, not deleted, and the
// logs elsewhere stay readable.
func TestUnreadableSegmentIsSetAside(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	for job := range uint64(20) {
		logstoretest.Put(t, s, logstoretest.Key(job), logstoretest.Text(logstoretest.Key(job), 1000))
	}
	closeStore(t, s)
	path := segmentPath(o.Dir, 2)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	data[0] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	s = openStore(t, o)
	defer closeStore(t, s)
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Error(err)
	}
	whole := 0
	for job := range uint64(20) {
		if have, err := logstoretest.Read(s, logstoretest.Key(job)); err == nil && len(have) == 1000 {
			whole++
		}
	}
	if whole < 14 || whole > 18 {
		t.Errorf("%d of 20 logs are whole without one of about seven segments", whole)
	}
}

func TestOpenRefuses(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("opened twice: %v", err)
	}
	closeStore(t, s)
	if err := os.WriteFile(filepath.Join(o.Dir, "notes.seg"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(o); err == nil || !strings.Contains(err.Error(), "notes.seg") {
		t.Errorf("a foreign file: %v", err)
	}
	for _, bad := range []Options{{}, {Dir: o.Dir, SegmentBytes: 1}, {Dir: o.Dir, SegmentBytes: 2 << 30}, {Dir: o.Dir, BudgetBytes: 1 << 20}} {
		if _, err := Open(bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestModes(t *testing.T) {
	o := testOptions(filepath.Join(t.TempDir(), "logs"))
	s := openStore(t, o)
	logstoretest.Put(t, s, logstoretest.Key(1), logstoretest.Text(logstoretest.Key(1), 10_000))
	logstoretest.Put(t, s, logstoretest.Key(2), []byte("x"))
	logstoretest.Sync(t, s)
	tidy(t, s)
	closeStore(t, s)
	if info, err := os.Stat(o.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("directory: %v, %v", info.Mode(), err)
	}
	names, err := os.ReadDir(o.Dir)
	if err != nil || len(names) < 4 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	for _, n := range names {
		if info, err := n.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", n.Name(), info.Mode(), err)
		}
	}
}
