// Package sexp reads and writes S-expressions as OCaml's sexplib does, which is
// what OBuilder's specs are written in.
//
// It promises the place of everything it read, an error with its place and a
// remedy for everything it cannot read, and bounded work for any input. It keeps
// comments beside the tree, so that a formatter loses none. It knows nothing of
// what a list means.
package sexp

import "fmt"

// The limits of what is read. A spec that people write is far below them.
const (
	MaxBytes = 1 << 20
	MaxDepth = 100
)

// Pos is a place in the text. Both count from 1; a column counts characters.
type Pos struct{ Line, Column int }

// Before says whether p comes first.
func (p Pos) Before(q Pos) bool {
	return p.Line < q.Line || p.Line == q.Line && p.Column < q.Column
}

// Node is an atom or a list.
type Node struct {
	List  bool
	Atom  string // when not a list
	Items []Node // when a list
	Start Pos
	End   Pos // of its last character
}

// Comment is a comment as it was written, its marks included.
type Comment struct {
	Text  string
	Start Pos
	Line  bool // it ends its line: nothing may follow on it
}

// Error is what is wrong with a text, and where.
type Error struct {
	Pos  Pos
	Text string
}

func (e *Error) Error() string {
	return fmt.Sprintf("line %d, column %d: %s", e.Pos.Line, e.Pos.Column, e.Text)
}

// Errorf makes an error at a place.
func Errorf(at Pos, format string, args ...any) *Error {
	return &Error{Pos: at, Text: fmt.Sprintf(format, args...)}
}
