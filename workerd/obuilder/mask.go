package obuilder

import (
	"bytes"
	"io"
	"slices"
)

// mask keeps the values of secrets out of a log, also where writes split them.
type mask struct {
	to     io.Writer
	values [][]byte // longest first: one may be part of another
	held   []byte   // may be the beginning of a value
}

const masked = "***"

func newMask(to io.Writer, secrets []Secret) *mask {
	m := &mask{to: to}
	for _, s := range secrets {
		// A file's final newline is seldom part of what is printed.
		if v := bytes.TrimRight(s.Value, "\r\n"); len(v) > 0 {
			m.values = append(m.values, v)
		}
	}
	slices.SortFunc(m.values, func(a, b []byte) int { return len(b) - len(a) })
	return m
}

func (m *mask) Write(p []byte) (int, error) {
	if len(m.values) == 0 {
		return m.to.Write(p)
	}
	m.held = append(m.held, p...)
	if err := m.pass(false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// flush passes on what turned out to be no value.
func (m *mask) flush() error { return m.pass(true) }

// pass writes what can be no part of a value that is yet to come.
func (m *mask) pass(all bool) error {
	var safe []byte
	rest := m.held
	for len(rest) > 0 {
		v := m.valueAt(rest)
		if !all && m.partialAt(rest, v) {
			break // a longer value may begin here
		}
		if v == nil {
			safe, rest = append(safe, rest[0]), rest[1:]
		} else {
			safe, rest = append(safe, masked...), rest[len(v):]
		}
	}
	m.held = slices.Clone(rest)
	if len(safe) == 0 {
		return nil
	}
	_, err := m.to.Write(safe)
	return err
}

func (m *mask) valueAt(text []byte) []byte {
	for _, v := range m.values {
		if bytes.HasPrefix(text, v) {
			return v
		}
	}
	return nil
}

// partialAt says whether text may be the beginning of a value longer than found.
func (m *mask) partialAt(text, found []byte) bool {
	for _, v := range m.values {
		if len(v) > len(found) && len(v) > len(text) && bytes.HasPrefix(v, text) {
			return true
		}
	}
	return false
}
