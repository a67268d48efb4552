package obuilder

import "fmt"

// Failure is a build that failed for a reason of its own: a command that exits
// with an error, a file that is not there. Any other error is ours.
type Failure struct {
	Text     string
	ExitCode int // of a command, when it ended with one
}

func (f *Failure) Error() string { return f.Text }

// Failed makes a failure.
func Failed(format string, args ...any) *Failure { return &Failure{Text: fmt.Sprintf(format, args...)} }
