package executor

import (
	"context"
	"fmt"
	"io"

	"github.com/weirbuild/weir/proto/pb"
)

// DefaultLogLimit is how many bytes of output a job may have where neither it nor
// its pool says so: 256 MiB.
const DefaultLogLimit = 256 << 20

// Limited keeps the first bytes of a build's output, up to its log limit, then
// one line that says so. The build goes on; the rest of its output is dropped.
func Limited(next Executor) Executor { return limited{next} }

type limited struct{ next Executor }

func (e limited) Run(ctx context.Context, t Task, out io.Writer) (*pb.Outcome, error) {
	limit := t.LogLimit
	if limit <= 0 {
		limit = DefaultLogLimit
	}
	return e.next.Run(ctx, t, &limitedWriter{to: out, limit: limit, left: limit})
}

type limitedWriter struct {
	to    io.Writer
	limit int64
	left  int64 // negative once the truncation line is written
}

func (w *limitedWriter) Write(p []byte) (int, error) {
	if int64(len(p)) <= w.left {
		n, err := w.to.Write(p)
		w.left -= int64(n)
		return n, err
	}
	if w.left < 0 {
		return len(p), nil
	}
	keep := p[:w.left]
	w.left = -1
	line := fmt.Sprintf("\n[log limit of %d bytes reached: the rest of this job's output was dropped]\n", w.limit)
	if _, err := w.to.Write(append(keep[:len(keep):len(keep)], line...)); err != nil {
		return 0, err
	}
	return len(p), nil
}
