// Command custom is a program for a kind of job of your own, as a worker runs it:
//
//	weir worker --custom checksums=/usr/local/bin/checksums ...
//	weir submit --kind checksums --payload patterns.txt --repo URL --commit SHA ...
//
// It sums up the files of the checkout whose names match a pattern of the payload. The
// sums are its log; the one of them all is the job's output.
package main

import (
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
)

func main() {
	if err := run(os.Stdin, os.Stdout, os.NewFile(3, "the job's output")); err != nil {
		fmt.Fprintln(os.Stderr, "checksums:", err)
		os.Exit(1)
	}
}

// run reads the payload, writes the log, and gives the job its output.
func run(payload io.Reader, log io.Writer, output io.Writer) error {
	var patterns []string
	for lines := bufio.NewScanner(payload); lines.Scan(); {
		if lines.Text() != "" {
			patterns = append(patterns, lines.Text())
		}
	}
	if len(patterns) == 0 {
		return errors.New("the payload has no pattern: write one a line, such as *.go")
	}
	all := sha256.New()
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, d fs.DirEntry, err error) error {
		matches := func(pattern string) bool { ok, _ := path.Match(pattern, d.Name()); return ok }
		if err != nil || !d.Type().IsRegular() || !slices.ContainsFunc(patterns, matches) {
			return err
		}
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(io.MultiWriter(log, all), "%x  %s\n", sha256.Sum256(text), file)
		return err
	})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(output, "sha256:%x\n", all.Sum(nil))
	return err
}
