package raftnode

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/hashicorp/raft"
	"github.com/klauspost/compress/zstd"
)

// A snapshot file is a header (magic, version, index of the last entry in it,
// bytes of all entries up to there) and the machine's state, compressed.
var snapshotMagic = [8]byte{'W', 'E', 'I', 'R', 'S', 'N', 'P', 1}

type snapshotHeader struct {
	index uint64
	bytes uint64
}

const headerSize = len(snapshotMagic) + 16

func (h snapshotHeader) encode() []byte {
	b := append(make([]byte, 0, headerSize), snapshotMagic[:]...)
	b = binary.BigEndian.AppendUint64(b, h.index)
	return binary.BigEndian.AppendUint64(b, h.bytes)
}

// openSnapshot reads the header and returns the state behind it.
func openSnapshot(r io.Reader) (h snapshotHeader, state io.ReadCloser, err error) {
	var b [headerSize]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return h, nil, fmt.Errorf("read snapshot header: %w", err)
	}
	if [8]byte(b[:8]) != snapshotMagic {
		return h, nil, errors.New("read snapshot header: not a snapshot of this version: upgrade this node")
	}
	h.index, h.bytes = binary.BigEndian.Uint64(b[8:]), binary.BigEndian.Uint64(b[16:])
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return h, nil, fmt.Errorf("read snapshot: %w", err)
	}
	return h, z.IOReadCloser(), nil
}

// persistOptions say how a snapshot is written.
type persistOptions struct {
	dir  string          // of the snapshot store
	rate int64           // bytes per second
	stop <-chan struct{} // closed when the node stops: the snapshot is given up
}

// persister writes one snapshot in the background.
type persister struct {
	snapshot Snapshot
	index    uint64
	bytes    uint64
	options  persistOptions
	metrics  *metrics
}

func (p *persister) Release() { p.snapshot.Release() }

func (p *persister) Persist(sink raft.SnapshotSink) error {
	begun := time.Now()
	w := &pacedWriter{
		to: sink, file: filepath.Join(p.options.dir, sink.ID()+".tmp", "state.bin"),
		pace: pacer{rate: p.options.rate, begun: begun, stop: p.options.stop},
	}
	if err := p.write(w); err != nil {
		return fmt.Errorf("write snapshot at index %d: %w", p.index, err)
	}
	if err := sink.Close(); err != nil {
		return fmt.Errorf("finish snapshot at index %d: %w", p.index, err)
	}
	p.metrics.snapshot.Observe(time.Since(begun).Seconds())
	return nil
}

func (p *persister) write(w io.Writer) error {
	if _, err := w.Write(snapshotHeader{p.index, p.bytes}.encode()); err != nil {
		return err
	}
	// One goroutine: the commits that go on meanwhile need the other cores.
	z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	slow := &pacer{rate: encodeRate, begun: time.Now(), stop: p.options.stop}
	if _, err := p.snapshot.WriteTo(slowly{z, slow}); err != nil {
		return errors.Join(err, z.Close())
	}
	return z.Close()
}

// encodeRate is how many bytes of the state are encoded and compressed in a
// second: about a third of a core, so that commits need not wait for theirs.
const encodeRate = 64 << 20

// breath is after how many bytes the encoding pauses: a few milliseconds' work.
const breath = 256 << 10

// slowly is a writer that pauses.
type slowly struct {
	to    io.Writer
	pacer *pacer
}

func (s slowly) Write(p []byte) (int, error) {
	n, err := s.to.Write(p)
	if err == nil {
		err = s.pacer.spend(int64(n), breath)
	}
	return n, err
}

// pacer keeps work to a rate: whoever is ahead of it waits.
type pacer struct {
	rate  int64 // bytes per second
	begun time.Time
	stop  <-chan struct{} // closed: nothing is to go on
	done  int64
	owed  int64 // since the last wait
}

// spend counts n bytes, and waits when a portion is full.
func (p *pacer) spend(n, portion int64) error {
	p.done += n
	if p.owed += n; p.owed < portion {
		return nil
	}
	p.owed = 0
	select {
	case <-time.After(time.Duration(p.done*int64(time.Second)/p.rate) - time.Since(p.begun)):
		return nil
	case <-p.stop:
		return ErrClosed
	}
}

// syncEvery is how much of a snapshot goes to disk at once: a single large sync
// at its end would stall the log's own for as long.
const syncEvery = 2 << 20

// pacedWriter writes no faster than its rate, and has what it wrote synced in
// small portions.
type pacedWriter struct {
	to       io.Writer
	file     string // where it ends up
	pace     pacer
	unsynced int64
}

func (w *pacedWriter) Write(p []byte) (int, error) {
	n, err := w.to.Write(p)
	w.unsynced += int64(n)
	if err != nil || w.unsynced < syncEvery {
		return n, err
	}
	portion := w.unsynced
	w.unsynced = 0
	if err := syncFile(w.file); err != nil {
		return n, err
	}
	return n, w.pace.spend(portion, 0)
}

// syncFile flushes a file that someone else is writing.
func syncFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
