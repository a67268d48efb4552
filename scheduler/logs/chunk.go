package logs

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// limitSlack is what a worker may write beyond a log's limit: the line that says
// so, and how the attempt ended.
const limitSlack = 64 << 10

// chunk stores a piece of a log. Its error ends the stream: the store is broken,
// not the log.
func (h *shipment) chunk(c *pb.LogChunk) error {
	f := h.flow(c.Lease)
	if f == nil {
		return nil // refused before, sealed, or on a newer stream
	}
	if why := h.overLimit(f, c); why != "" {
		h.giveUp(f, "%s", why)
		return nil
	}
	end, err := h.t.Disk.Append(f.key, c.Offset, c.Data)
	switch {
	case errors.Is(err, logstore.ErrGap):
		h.gap(f, end)
		return nil
	case errors.Is(err, logstore.ErrSealed), errors.Is(err, logstore.ErrDamaged), errors.Is(err, logstore.ErrExpired):
		h.startOver(f, err)
		return nil
	case err != nil:
		return fmt.Errorf("store %s: %w", logName(f.key), err)
	}
	h.t.metrics.in.Add(float64(len(c.Data)))
	h.grown(f, end)
	if c.End != nil {
		return h.ended(f, c.End)
	}
	return nil
}

func (h *shipment) flow(lease uint64) *flow {
	h.t.mu.Lock()
	defer h.t.mu.Unlock()
	return h.flows[lease]
}

// gap asks for what is missing, once for all that is under way.
func (h *shipment) gap(f *flow, end int64) {
	h.t.mu.Lock()
	asked := f.gapped
	f.gapped = true
	h.t.mu.Unlock()
	if asked {
		return
	}
	h.ack(&pb.LogAck{Lease: f.lease, Want: end, Resend: true})
}

// grown notes the log's new end and passes the bytes on.
func (h *shipment) grown(f *flow, end int64) {
	h.t.mu.Lock()
	f.end = max(f.end, end)
	f.gapped = false
	h.t.feed(f)
	h.t.mu.Unlock()
	h.ack(&pb.LogAck{Lease: f.lease, Want: end})
}

// ended takes the end marker. Once every byte is here and fits the digest, the
// log goes the way to being sealed.
func (h *shipment) ended(f *flow, e *pb.LogEnd) error {
	fin := &final{bytes: e.Bytes, at: time.Now()}
	if copy(fin.digest[:], e.Sha256) != len(fin.digest) {
		h.giveUp(f, "its digest has %d bytes", len(e.Sha256))
		return nil
	}
	if size := h.t.stat(f.key).Size; size < fin.bytes {
		h.gap(f, size)
		return nil
	}
	err := h.t.Disk.Seal(f.key, fin.bytes, fin.digest)
	switch {
	case errors.Is(err, logstore.ErrMismatch), missing(err), errors.Is(err, logstore.ErrSealed):
		h.startOver(f, err)
		return nil
	case err != nil:
		return fmt.Errorf("seal %s: %w", logName(f.key), err)
	}
	h.t.complete(f, fin)
	return nil
}

// startOver drops copies that do not fit what the worker says, its own being the
// truth, and asks for the log from its beginning; once.
func (h *shipment) startOver(f *flow, cause error) {
	t := h.t
	t.mu.Lock()
	if f.stage >= proposed {
		t.mu.Unlock()
		return
	}
	again := f.again
	if !again {
		f.again, f.end, f.final, f.stage = true, 0, nil, growing
		for i := range f.copies {
			f.copies[i] = replica{to: f.copies[i].to, drop: true, again: true, queued: f.copies[i].queued}
		}
	}
	t.mu.Unlock()
	if again {
		h.giveUp(f, "the log does not fit its end marker, even after it was sent again: %v", cause)
		return
	}
	t.Logger.Warn("log starts over: the copies here differ from the worker's", "job", f.key.Job, "attempt", f.key.Attempt, "error", cause)
	if err := t.Disk.Drop(f.key); err != nil {
		h.giveUp(f, "the differing copy cannot be dropped: %v", err)
		return
	}
	t.mu.Lock()
	f.gapped = true
	t.feed(f)
	t.mu.Unlock()
	h.ack(&pb.LogAck{Lease: f.lease, Want: 0, Resend: true})
}

// giveUp refuses the rest of a log. What is stored stays readable, as
// incomplete.
func (h *shipment) giveUp(f *flow, format string, args ...any) {
	h.t.mu.Lock()
	h.t.close(f, nil)
	h.t.mu.Unlock()
	why := fmt.Sprintf(format, args...)
	h.t.Logger.Warn("log refused", "job", f.key.Job, "attempt", f.key.Attempt, "worker", h.holder.Worker, "pool", h.holder.Pool, "why", why)
	h.refuse(f.lease, "%s", why)
}

// overLimit says why a chunk is not taken; empty: it is within the limit. The
// worker cuts its logs itself, so only a wrong one gets here.
func (h *shipment) overLimit(f *flow, c *pb.LogChunk) string {
	end := c.Offset + int64(len(c.Data))
	if c.Offset < 0 {
		return fmt.Sprintf("offset %d", c.Offset)
	}
	if end <= limitSlack {
		return ""
	}
	limit := f.limit.Load()
	if limit == 0 {
		limit = h.t.limitOf(f.key)
		f.limit.Store(limit)
	}
	if end <= limit+limitSlack {
		return ""
	}
	return fmt.Sprintf("the log is longer than its limit of %d bytes", limit)
}

// limitOf is how many bytes an attempt's log may have.
func (s *Service) limitOf(k logstore.Key) int64 {
	pool, blob := new(fsm.Pool), []byte(nil)
	s.Store.View(func(st *fsm.State) {
		j, err := st.Job(fsm.JobID(k.Job))
		if err != nil {
			return
		}
		blob = j.Spec
		if p, ok := st.Pool(j.Pool); ok {
			pool = p
		}
	})
	var spec pb.JobSpec
	if proto.Unmarshal(blob, &spec) == nil && spec.LogLimitBytes > 0 {
		return spec.LogLimitBytes
	}
	return pool.Limits().LogLimit
}
