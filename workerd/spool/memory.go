package spool

import "io"

// memory is the medium that forgets.
type memory struct{}

func (memory) create(ID) (backing, error) { return new(buffer), nil }
func (memory) settle() error              { return nil }
func (memory) String() string             { return "memory" }

type buffer struct{ data []byte }

func (b *buffer) append(p []byte) (int, error) {
	b.data = append(b.data, p...)
	return len(p), nil
}

func (b *buffer) readAt(p []byte, off int64) (int, error) {
	n := copy(p, b.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (b *buffer) finish(End) error { return nil }
func (b *buffer) sync() error      { return nil }
func (b *buffer) close() error     { return nil }

func (b *buffer) remove() error {
	b.data = nil
	return nil
}
