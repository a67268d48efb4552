package disk

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weirbuild/weir/scheduler/logstore"
	"github.com/weirbuild/weir/scheduler/logstore/logstoretest"
)

func budgetOptions(dir string) Options {
	return Options{Dir: dir, SegmentBytes: minSegmentBytes, BudgetBytes: 20 * minSegmentBytes}
}

func TestOldestSealedLogsExpire(t *testing.T) {
	o := budgetOptions(t.TempDir())
	var told []logstore.Key
	o.OnExpire = func(keys []logstore.Key) { told = append(told, keys...) }
	s := openStore(t, o)
	live, text := logstoretest.Key(1000), logstoretest.Text(logstoretest.Key(1000), 9000)
	woken, cancel := s.Watch(logstoretest.Key(0))
	defer cancel()
	for job := range uint64(300) {
		k := logstoretest.Key(job)
		logstoretest.Put(t, s, k, logstoretest.Text(k, 600))
		appendAll(t, s, live, text[:30*(job+1)]) // in every segment
		if job%10 == 9 {
			tidy(t, s)
			if u := s.Usage(); u.DiskBytes > u.BudgetBytes {
				t.Fatalf("after job %d: %+v", job, u)
			}
		}
	}
	<-woken
	for range 2 {
		first := wantExpiredPrefix(t, s, 300)
		if first < 150 || len(told) != int(first) {
			t.Errorf("%d expired, %d told", first, len(told))
		}
		logstoretest.Want(t, s, live, text)
		if u := s.Usage(); u.Expired != int(first) || u.Unsealed != 1 {
			t.Errorf("usage %+v", u)
		}
		closeStore(t, s)
		s = openStore(t, o)
	}
	if err := s.Seal(live, 9000, sha256.Sum256(text)); err != nil {
		t.Error(err)
	}
	closeStore(t, s)
}

// wantExpiredPrefix checks that exactly the oldest logs have expired, and
// returns how many.
func wantExpiredPrefix(t *testing.T, s *Store, logs uint64) uint64 {
	t.Helper()
	expired := func(job uint64) bool {
		info, ok := s.Stat(logstoretest.Key(job))
		if !ok {
			t.Fatalf("log %d is unknown", job)
		}
		return info.Expired
	}
	var first uint64
	for first < logs && expired(first) {
		k := logstoretest.Key(first)
		_, readErr := s.ReadAt(k, make([]byte, 1), 0)
		_, appendErr := s.Append(k, 0, []byte("x"))
		_, _, digestErr := s.Digest(k)
		for _, err := range []error{readErr, appendErr, digestErr, s.Seal(k, 0, sha256.Sum256(nil))} {
			if !errors.Is(err, logstore.ErrExpired) {
				t.Fatalf("expired log %d: %v", first, err)
			}
		}
		first++
	}
	for job := first; job < logs; job++ {
		if expired(job) {
			t.Fatalf("log %d expired, the older %d did not", job, first)
		}
		logstoretest.Want(t, s, logstoretest.Key(job), logstoretest.Text(logstoretest.Key(job), 600))
	}
	return first
}

func TestExpiredLogsCanBeDroppedAndCopiedAgain(t *testing.T) {
	o := budgetOptions(t.TempDir())
	s := openStore(t, o)
	for job := range uint64(300) {
		logstoretest.Put(t, s, logstoretest.Key(job), logstoretest.Text(logstoretest.Key(job), 600))
	}
	tidy(t, s)
	k := logstoretest.Key(0)
	if info, _ := s.Stat(k); !info.Expired {
		t.Fatalf("%+v", info)
	}
	if err := s.Drop(k, logstoretest.Key(1)); err != nil {
		t.Fatal(err)
	}
	logstoretest.Put(t, s, k, []byte("again"))
	for range 3 {
		tidy(t, s)
		logstoretest.Want(t, s, k, []byte("again"))
		if info, ok := s.Stat(logstoretest.Key(1)); ok {
			t.Errorf("a dropped log: %+v", info)
		}
		closeStore(t, s)
		s = openStore(t, o)
	}
	closeStore(t, s)
}

func TestUnsealedLogsNeverExpire(t *testing.T) {
	s := openStore(t, budgetOptions(t.TempDir()))
	defer closeStore(t, s)
	for job := range uint64(40) {
		appendAll(t, s, logstoretest.Key(job), logstoretest.Text(logstoretest.Key(job), 5000))
	}
	tidy(t, s)
	if u := s.Usage(); u.DiskBytes <= u.BudgetBytes || u.Expired != 0 || u.Unsealed != 40 {
		t.Errorf("usage %+v", u)
	}
	for job := range uint64(40) {
		logstoretest.Want(t, s, logstoretest.Key(job), logstoretest.Text(logstoretest.Key(job), 5000))
	}
}

func TestSpaceOfDroppedLogsIsReclaimed(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	text := func(job uint64) []byte { return logstoretest.Text(logstoretest.Key(job), 500) }
	for job := range uint64(400) {
		logstoretest.Put(t, s, logstoretest.Key(job), text(job))
	}
	logstoretest.Sync(t, s)
	tidy(t, s)
	full := s.Usage()
	for job := range uint64(400) {
		if job%8 != 0 { // some remain in every segment
			if err := s.Drop(logstoretest.Key(job)); err != nil {
				t.Fatal(err)
			}
		}
	}
	tidy(t, s)
	if u := s.Usage(); u.DiskBytes > full.DiskBytes/3 {
		t.Errorf("%d bytes of %d remain, an eighth is needed", u.DiskBytes, full.DiskBytes)
	}
	closeStore(t, s)
	s = openStore(t, o)
	for job := uint64(0); job < 400; job += 8 {
		logstoretest.Want(t, s, logstoretest.Key(job), text(job))
	}
	if u := s.Usage(); u.Logs != 50 {
		t.Errorf("usage %+v", u)
	}
	for job := uint64(0); job < 400; job += 8 {
		if err := s.Drop(logstoretest.Key(job)); err != nil {
			t.Fatal(err)
		}
	}
	logstoretest.Put(t, s, logstoretest.Key(1), text(1)) // so that there is an active segment
	for range 3 {
		tidy(t, s)
	}
	if u := s.Usage(); u.DiskBytes > 3*minSegmentBytes || u.Logs != 1 {
		t.Errorf("at the end: %+v", u)
	}
	closeStore(t, s)
}

// What was dropped must never come back, whichever segments go first. Here a
// long-lived log keeps an old segment, and compaction and restarts mix with
// drops and new lives of the same keys; some rounds of housekeeping are cut off.
func TestDroppedLogsNeverComeBack(t *testing.T) {
	for seed := range uint64(10) {
		r := rand.New(rand.NewPCG(seed, 2))
		o := testOptions(t.TempDir())
		s := openStore(t, o)
		logs := map[logstore.Key][]byte{}
		for range 400 {
			k := logstoretest.Key(uint64(r.IntN(60)))
			switch n := r.IntN(20); {
			case n < 9 && logs[k] == nil:
				logs[k] = logstoretest.Text(logstore.Key{Job: r.Uint64()}, 1+r.IntN(1200))
				logstoretest.Put(t, s, k, logs[k])
			case n < 16:
				if err := s.Drop(k); err != nil {
					t.Fatal(err)
				}
				delete(logs, k)
			case n < 18:
				tidy(t, s)
			case n == 18:
				s.Tidy(endsAfter(r.IntN(60)))
			default:
				closeStore(t, s)
				s = openStore(t, o)
				sameLogs(t, s, logs, seed)
			}
		}
		sameLogs(t, s, logs, seed)
		closeStore(t, s)
	}
}

func sameLogs(t *testing.T, s *Store, logs map[logstore.Key][]byte, seed uint64) {
	t.Helper()
	for k := range s.Keys() {
		if logs[k] == nil {
			t.Fatalf("seed %d: log %v came back", seed, k)
		}
	}
	for k, text := range logs {
		if have, err := logstoretest.Read(s, k); err != nil || !bytes.Equal(have, text) {
			t.Fatalf("seed %d: log %v has %d bytes, want %d; %v", seed, k, len(have), len(text), err)
		}
	}
}

// countdown is a context that ends after it was asked a number of times.
type countdown struct {
	context.Context
	left int
}

func endsAfter(n int) context.Context { return &countdown{context.Background(), n} }

func (c *countdown) Err() error {
	if c.left--; c.left < 0 {
		return context.Canceled
	}
	return nil
}

func TestRunKeepsTheBudget(t *testing.T) {
	o := budgetOptions(t.TempDir())
	o.Registerer = prometheus.NewRegistry()
	s := openStore(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	for job := range uint64(400) {
		logstoretest.Put(t, s, logstoretest.Key(job), logstoretest.Text(logstoretest.Key(job), 600))
	}
	eventually(t, func() bool { u := s.Usage(); return u.Expired > 0 && u.DiskBytes <= u.BudgetBytes })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	metrics, err := o.Registerer.(*prometheus.Registry).Gather()
	if err != nil || len(metrics) < 10 {
		t.Errorf("%d metrics, %v", len(metrics), err)
	}
	closeStore(t, s)
	if metrics, err = o.Registerer.(*prometheus.Registry).Gather(); err != nil || len(metrics) != 0 {
		t.Errorf("%d metrics after close, %v", len(metrics), err)
	}
}

// A sidecar lists exactly what a scan finds.
func TestSidecarEqualsScan(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openStore(t, o)
	defer closeStore(t, s)
	for job := range uint64(30) {
		logstoretest.Put(t, s, logstoretest.Key(job), logstoretest.Text(logstoretest.Key(job), int(job*20)))
	}
	logstoretest.Sync(t, s)
	tidy(t, s)
	for _, g := range s.closedSegments() {
		res, err := scan(g, g.size)
		if err != nil {
			t.Fatal(err)
		}
		for i := range res.records {
			res.records[i].crc = 0
		}
		salt, records, _, err := readSidecar(sidecarPath(g.path), g.size)
		if err != nil || salt != g.salt || !slices.Equal(records, res.records) || len(records) == 0 {
			t.Errorf("segment %s: %d records, the scan finds %d; %v", g.path, len(records), len(res.records), err)
		}
	}
}
