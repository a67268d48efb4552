package logs

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// limitSlack is what a worker may write beyond a log's limit: the line that says
// so, and how the attempt ended.
const limitSlack = 64 << 10

// delivery is a chunk of a log that this stream may send.
type delivery struct {
	*pb.LogChunk
	flow  *flow
	final *final // what the whole log must be; nil: this is not its end
	end   int64  // of what is stored now
}

// chunks stores pieces of logs, with few writes for all of them. Its error ends
// the stream: the store is broken, not a log.
func (h *shipment) chunks(chunks []*pb.LogChunk) error {
	defer h.bench.Clear()
	deliveries := h.admit(chunks)
	pieces := make([]logstore.Piece, len(deliveries))
	for i, d := range deliveries {
		pieces[i] = logstore.Piece{Key: d.flow.key, Offset: d.Offset, Data: d.Data, Packed: d.Packed}
		if d.final != nil {
			pieces[i].End = &logstore.End{Bytes: d.final.bytes, Digest: d.final.digest}
		}
	}
	var spoilt []*flow
	isSpoilt := func(d delivery) bool { return slices.Contains(spoilt, d.flow) }
	stored := make([]delivery, 0, len(deliveries))
	for i, w := range h.t.Disk.Put(pieces) {
		d := deliveries[i]
		d.end = w.End
		switch err := w.Err; {
		case isSpoilt(d):
		case errors.Is(err, logstore.ErrGap), errors.Is(err, logstore.ErrMismatch) && w.End < d.final.bytes:
			h.gap(d.flow, w.End)
		case errors.Is(err, logstore.ErrSealed), errors.Is(err, logstore.ErrMismatch), missing(err):
			spoilt = append(spoilt, d.flow)
			h.startOver(d.flow, err)
		case err != nil:
			h.t.took(err)
			return fmt.Errorf("store %s: %w", logName(d.flow.key), err)
		default:
			h.t.metrics.in.Add(float64(len(d.Data)))
			stored = append(stored, d)
		}
	}
	if len(stored) > 0 {
		h.t.took(nil)
	}
	h.grown(slices.DeleteFunc(stored, isSpoilt))
	return nil
}

// admit finds the logs of chunks. It leaves out those that were refused before,
// are sealed, came on a newer stream, or are refused now.
func (h *shipment) admit(chunks []*pb.LogChunk) []delivery {
	admitted := make([]delivery, 0, len(chunks))
	h.t.mu.Lock()
	for _, c := range chunks {
		if f := h.flows[c.Lease]; f != nil {
			admitted = append(admitted, delivery{LogChunk: c, flow: f})
		}
	}
	h.t.mu.Unlock()
	now := time.Now()
	refused := func(d *delivery) string {
		data, err := unpack(&h.bench, d.Data, d.Packed)
		if err != nil {
			return err.Error()
		}
		d.Data = data
		if e := d.End; e != nil {
			d.final = &final{bytes: e.Bytes, at: now}
			if copy(d.final.digest[:], e.Sha256) != len(d.final.digest) {
				return fmt.Sprintf("its digest has %d bytes", len(e.Sha256))
			}
		}
		return h.overLimit(d.flow, d.LogChunk)
	}
	left := admitted[:0]
	for _, d := range admitted {
		if why := refused(&d); why != "" {
			h.giveUp(d.flow, "%s", why)
			continue
		}
		left = append(left, d)
	}
	return left
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

// grown notes the logs' new ends and passes the bytes on. Those that are whole
// go the way to being sealed; of the others the worker hears how far they are.
func (h *shipment) grown(deliveries []delivery) {
	if len(deliveries) == 0 {
		return
	}
	t, acks := h.t, make([]*pb.LogAck, 0, len(deliveries))
	t.mu.Lock()
	for _, d := range deliveries {
		f := d.flow
		f.gapped = false
		if d.final != nil {
			t.complete(f, d.final)
		} else {
			f.end = max(f.end, d.end)
			acks = append(acks, &pb.LogAck{Lease: f.lease, Want: d.end})
		}
		t.remember(f, d.LogChunk)
		t.feed(f)
	}
	t.mu.Unlock()
	h.ack(acks...)
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
		f.again = true
		t.restart(f, 0)
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
