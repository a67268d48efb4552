package disk

import (
	"testing"

	"github.com/weirbuild/weir/scheduler/logstore"
	"github.com/weirbuild/weir/scheduler/logstore/logstoretest"
)

func testOptions(dir string) Options {
	return Options{Dir: dir, SegmentBytes: minSegmentBytes, BudgetBytes: 1 << 30}
}

func openStore(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func tidy(t testing.TB, s logstore.Store) {
	t.Helper()
	if err := s.(*Store).Tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestSuite(t *testing.T) {
	for name, segment := range map[string]int64{"tiny segments": minSegmentBytes, "usual segments": DefaultSegmentBytes} {
		t.Run(name, func(t *testing.T) {
			logstoretest.Run(t, logstoretest.Maker{
				Open: func(t testing.TB, dir string) logstore.Store {
					o := testOptions(dir)
					o.SegmentBytes = segment
					return openStore(t, o)
				},
				Tidy: tidy,
			})
		})
	}
}

func BenchmarkStore(b *testing.B) {
	logstoretest.Bench(b, logstoretest.Maker{
		Open: func(t testing.TB, dir string) logstore.Store { return openStore(t, Options{Dir: dir}) },
	})
}
