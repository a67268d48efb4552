package obuilder

import (
	"fmt"
	"io"
)

// lines is a build's log: notes begin lines of their own, whatever a command has
// printed before.
type lines struct {
	to      io.Writer
	atStart bool
}

func (l *lines) Write(p []byte) (int, error) {
	n, err := l.to.Write(p)
	if n > 0 {
		l.atStart = p[n-1] == '\n'
	}
	return n, err
}

func (l *lines) note(format string, args ...any) error {
	text := fmt.Sprintf(format, args...) + "\n"
	if !l.atStart {
		text = "\n" + text
	}
	if _, err := io.WriteString(l, text); err != nil {
		return fmt.Errorf("write log: %w", err)
	}
	return nil
}
