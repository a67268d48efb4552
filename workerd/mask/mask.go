// Package mask keeps the values of secrets out of a log.
//
// It promises that no value passes, however writes split it, also where values
// overlap or one begins another; of a value of several lines no line of at least
// MinLine bytes passes either. It keeps back only what may be the beginning of a
// value, until more is written or Flush is called.
//
// It refuses to guess: a value that a program encodes, reverses or takes apart is
// not recognised.
package mask

import (
	"bytes"
	"io"
	"slices"
)

// Mark stands for what was masked.
const Mark = "***"

// MinLine is how long a line of a value must be to be masked by itself. Shorter
// ones, a brace say, tell nothing and would spoil the log.
const MinLine = 4

// Writer masks what goes through it. It is not safe for use by several goroutines.
type Writer struct {
	to      io.Writer
	values  [][]byte
	begins  [256][][]byte // values by their first byte
	held    []byte        // may be the beginning of a value
	covered int           // bytes of held that belong to a value already begun
}

// New masks the values in what is written to it before it goes to to.
func New(to io.Writer, values ...[]byte) *Writer {
	w := &Writer{to: to}
	for _, v := range values {
		// A file's final newline is seldom part of what is printed.
		w.add(bytes.TrimRight(v, "\r\n"))
		for line := range bytes.Lines(v) {
			if line = bytes.TrimSpace(line); len(line) >= MinLine {
				w.add(line)
			}
		}
	}
	return w
}

func (w *Writer) add(v []byte) {
	if len(v) == 0 || slices.ContainsFunc(w.values, func(o []byte) bool { return bytes.Equal(o, v) }) {
		return
	}
	v = bytes.Clone(v)
	w.values = append(w.values, v)
	w.begins[v[0]] = append(w.begins[v[0]], v)
}

// Write passes p on, but for values and what may become one.
func (w *Writer) Write(p []byte) (int, error) {
	if len(w.values) == 0 {
		return w.to.Write(p)
	}
	w.held = append(w.held, p...)
	if err := w.pass(false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Flush passes on what turned out to be no value.
func (w *Writer) Flush() error { return w.pass(true) }

// String masks the values in a text that is complete.
func String(text string, values ...[]byte) string {
	var b bytes.Buffer
	w := New(&b, values...)
	w.held = []byte(text)
	_ = w.Flush() // a buffer takes everything
	return b.String()
}

// pass writes what can be no part of a value that is yet to come. A run of bytes
// that values cover becomes one mark.
func (w *Writer) pass(all bool) error {
	safe := make([]byte, 0, len(w.held))
	at := 0
	for ; at < len(w.held); at++ {
		found, open := w.valueAt(w.held[at:])
		if open && !all {
			break
		}
		if found > w.covered {
			if w.covered == 0 {
				safe = append(safe, Mark...)
			}
			w.covered = found
		}
		if w.covered == 0 {
			safe = append(safe, w.held[at])
			continue
		}
		w.covered--
	}
	w.held = append(w.held[:0], w.held[at:]...)
	if len(safe) == 0 {
		return nil
	}
	_, err := w.to.Write(safe)
	return err
}

// valueAt returns the length of the longest value that text begins with, and
// whether a longer one may begin here.
func (w *Writer) valueAt(text []byte) (found int, open bool) {
	for _, v := range w.begins[text[0]] {
		switch {
		case bytes.HasPrefix(text, v):
			found = max(found, len(v))
		case len(v) > len(text) && bytes.HasPrefix(v, text):
			open = true
		}
	}
	return found, open
}
