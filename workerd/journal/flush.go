package journal

import (
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/workerd/room"
)

// compactAbove is the smallest size at which the file is written anew without
// what is over.
const compactAbove = 1 << 20

// headroom is how much room is kept beyond the file's end, so that a full disk
// takes the results of what runs: there is room for about 200 of the longest. Half
// of it may be used up before more is asked for.
const headroom = 1 << 20

// append applies a record and adds it to the next flush; mu is held. Only an
// outcome that cannot be encoded is an error, and then nothing has changed.
func (j *Journal) append(r record) (*round, error) {
	b, err := r.appendTo(j.pending)
	if err != nil {
		return nil, err
	}
	j.state.apply(r)
	j.pending = b
	return j.round, nil
}

// wait returns when a round is over. Whoever finds nobody flushing does it, for
// all that came in meanwhile.
func (j *Journal) wait(r *round) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	for !r.done {
		if j.flushing {
			j.flushed.Wait()
		} else {
			j.flush()
		}
	}
	return r.err
}

// flush writes the pending records and syncs them; mu is held, but not during
// the write. After an error nobody knows what is on the disk, so that the next
// flush writes the whole state to a new file.
func (j *Journal) flush() {
	r, data := j.round, j.pending
	j.round, j.pending = new(round), nil
	if j.closed {
		r.done, r.err = true, ErrClosed
		return
	}
	write := func() error { return j.extend(data) }
	switch {
	case j.err != nil:
		image, err := j.image()
		write = func() error { return errors.Join(err, j.replace(image)) }
	case j.size+int64(len(data)) > j.compact:
		image, err := j.image()
		write = func() error { return errors.Join(err, j.shorten(image, data)) }
	}
	j.flushing = true
	j.mu.Unlock()

	start := time.Now()
	err := write()
	j.synced(time.Since(start))

	j.mu.Lock()
	j.flushing = false
	if err != nil {
		err = fmt.Errorf("write journal %q: %w", j.path(), err)
	}
	j.err = err
	r.done, r.err = true, err
	j.flushed.Broadcast()
}

// extend adds records to the file. Only the flusher calls it.
func (j *Journal) extend(data []byte) error {
	j.secure(j.size + int64(len(data)))
	if _, err := j.file.WriteAt(data, j.size); err != nil {
		return err
	}
	j.size += int64(len(data))
	return j.sync(j.file)
}

// secure keeps room beyond the file's end. What a full disk refuses now is asked
// for again with the next flush; until then the room of before is used up.
func (j *Journal) secure(end int64) {
	if end+headroom/2 <= j.kept {
		return
	}
	if kept, err := room.Keep(j.file, end+headroom); err == nil {
		j.kept = kept
	}
}

// image encodes the whole state.
func (j *Journal) image() ([]byte, error) {
	b := []byte(magic)
	var err error
	for _, r := range j.state.records() {
		var e error
		b, e = r.appendTo(b)
		err = errors.Join(err, e)
	}
	return b, err
}

// replace puts a new file in place of the old one, all or nothing. Only the
// flusher calls it.
func (j *Journal) replace(image []byte) error {
	f, kept, err := j.stage(image)
	if err != nil {
		return err
	}
	return j.install(f, kept, image)
}

// shorten is replace, where the old file is sound and good enough: if there is no
// room for a new one, data is added to the old.
func (j *Journal) shorten(image, data []byte) error {
	f, kept, err := j.stage(image)
	if room.IsFull(err) {
		return j.extend(data)
	}
	if err != nil {
		return err
	}
	return j.install(f, kept, image)
}

func (j *Journal) next() string { return j.path() + ".new" }

// stage makes the new file, with its room, beside the old one.
func (j *Journal) stage(image []byte) (f *os.File, kept int64, err error) {
	f, err = os.OpenFile(j.next(), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, 0, err
	}
	kept, err = room.Keep(f, int64(len(image))+headroom)
	if err == nil {
		_, err = f.Write(image)
	}
	if err == nil {
		err = j.sync(f)
	}
	if err != nil {
		return nil, 0, errors.Join(err, f.Close(), os.Remove(j.next()))
	}
	return f, kept, nil
}

func (j *Journal) install(f *os.File, kept int64, image []byte) error {
	err := os.Rename(j.next(), j.path())
	if err == nil {
		err = syncDir(j.dir)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if j.file != nil {
		// Its content is in the new file; nothing can be lost with it.
		_ = j.file.Close()
	}
	j.file, j.size, j.kept = f, int64(len(image)), kept
	j.compact = max(compactAbove, 4*j.size)
	return nil
}

// load reads the file, and replaces it when there is none or a crash or damage
// left bytes in it that are not records.
func (j *Journal) load() error {
	j.state = newState()
	b, err := os.ReadFile(j.path())
	if errors.Is(err, os.ErrNotExist) {
		b = nil
	} else if err != nil {
		return err
	}
	rest, sound := trimMagic(b)
	found, damage, end := readAll(rest)
	for _, r := range found {
		j.state.apply(r)
	}
	if damage >= 0 || (!sound && len(b) > len(magic)) {
		// Leases may be among what was lost: no number up to here is taken again.
		j.state.floor = j.state.highest
		j.log.Warn("the journal was damaged: what is sound was kept, older leases count as started",
			"file", j.path(), "offset", len(b)-len(rest)+max(damage, 0), "highest_lease", j.state.highest)
	}
	if sound && damage < 0 && end == len(rest) {
		return j.adopt(int64(len(b)))
	}
	image, err := j.image()
	if err != nil {
		return err
	}
	return j.replace(image)
}

func (j *Journal) adopt(size int64) error {
	f, err := os.OpenFile(j.path(), os.O_RDWR, 0)
	if err != nil {
		return err
	}
	j.file, j.size, j.compact = f, size, max(compactAbove, 4*size)
	j.secure(size)
	return nil
}

func trimMagic(b []byte) (rest []byte, sound bool) {
	if len(b) >= len(magic) && string(b[:len(magic)]) == magic {
		return b[len(magic):], true
	}
	return b, false
}

// Fdatasync returns once what was written to a file is on its disk.
func Fdatasync(f *os.File) error {
	for {
		if err := unix.Fdatasync(int(f.Fd())); err != unix.EINTR {
			return err
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
