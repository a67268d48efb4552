package spool

import "io"

// memory is the medium that forgets.
type memory struct{}

func (memory) create(ID) (backing, error) { return new(buffer), nil }
func (memory) settle() error              { return nil }
func (memory) String() string             { return "memory" }

const pageBytes = 64 << 10

// buffer holds a log in pages, all full but the last, so that a long one is not
// copied again and again as it grows.
type buffer struct{ pages [][]byte }

func (b *buffer) append(p []byte, _ bool) (int, error) {
	for rest := p; len(rest) > 0; {
		last := len(b.pages) - 1
		if last < 0 || len(b.pages[last]) == pageBytes {
			b.pages = append(b.pages, nil)
			last++
		}
		n := min(len(rest), pageBytes-len(b.pages[last]))
		b.pages[last] = append(b.pages[last], rest[:n]...)
		rest = rest[n:]
	}
	return len(p), nil
}

func (b *buffer) readAt(p []byte, off int64) (n int, err error) {
	for n < len(p) {
		page := int(off / pageBytes)
		if page >= len(b.pages) || off%pageBytes >= int64(len(b.pages[page])) {
			return n, io.EOF
		}
		got := copy(p[n:], b.pages[page][off%pageBytes:])
		n += got
		off += int64(got)
	}
	return n, nil
}

func (b *buffer) finish(End) error { return nil }
func (b *buffer) sync() error      { return nil }
func (b *buffer) close() error     { return nil }

func (b *buffer) remove() error {
	b.pages = nil
	return nil
}
