package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
)

// buildLog makes the text of a build's log: lines like those of test runners,
// compilers and package managers, with counting names, random times and a few
// digests. It is the same at each run. S2 makes a fifth of it; of the logs of
// real builds it makes a fifth to an eighth.
type buildLog struct {
	random *rand.Rand
	lines  int
	rest   bytes.Buffer
}

func newBuildLog() *buildLog {
	return &buildLog{random: rand.New(rand.NewPCG(1, 2))}
}

// Read implements io.Reader. It never ends.
func (l *buildLog) Read(p []byte) (int, error) {
	for l.rest.Len() < len(p) {
		l.line()
	}
	return l.rest.Read(p)
}

func (l *buildLog) line() {
	l.lines++
	n, r := l.lines, l.random
	switch r.IntN(40) {
	default:
		fmt.Fprintf(&l.rest, "=== RUN   TestReader/case_%d\n--- PASS: TestReader/case_%d (%d.%02ds)\n", n, n, r.IntN(3), r.IntN(100))
	case 0, 1, 2, 3, 4, 5, 6, 7, 8, 9:
		fmt.Fprintf(&l.rest, "[%3d%%] Building CXX object src/module%02d/CMakeFiles/module.dir/file_%04d.cc.o\n", n/100%100, n/1000%100, n%10_000)
	case 10, 11, 12, 13:
		fmt.Fprintf(&l.rest, "go: downloading github.com/example/package%d v%d.%d.%d\n", n, r.IntN(3), r.IntN(30), r.IntN(9))
	case 14, 15, 16, 17:
		fmt.Fprintf(&l.rest, "    reader_test.go:%d: read %d bytes in %dms\n", n%400, r.IntN(1<<20), r.IntN(900))
	case 18, 19, 20, 21:
		fmt.Fprintf(&l.rest, "2026-01-02T15:%02d:%02d.%03dZ INFO  step %d of module%02d done\n", n/6000%60, n/100%60, r.IntN(1000), n, n%53)
	case 22:
		fmt.Fprintf(&l.rest, "sha256:%016x%016x%016x%016x: pulled\n", r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64())
	}
}
