// Package bench is `weir bench`: it measures a cluster of real processes on
// this machine, each figure beside the limit that the parts allow, measured in
// the same run. It promises real disks, fsync and TLS, and figures that can be
// compared only as ratios: machines differ and are noisy. It judges nothing
// but says which figure missed its mark.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Options choose what is measured.
type Options struct {
	Binary string
	Dir    string   // "" makes a temporary one and removes it
	Only   []string // sections; nil: all
	Quick  bool     // smaller runs, for a first look
	Stores []string // Raft log stores to measure; nil: all
	Loads  []int    // jobs in flight to measure lifecycles at; nil: 64, 256 and 1024
	Out    io.Writer
	Err    io.Writer
}

// section is one part of the benchmark.
type section struct {
	name string
	what string
	run  func(*bench, context.Context) error
}

var sections = []section{
	{"lifecycle", "jobs through their whole life, with many in flight", (*bench).lifecycle},
	{"latency", "submit to start, one at a time", (*bench).latency},
	{"failover", "the leader's death, and a graceful transfer", (*bench).failover},
	{"worker", "real workers and /bin/true", (*bench).worker},
	{"idle", "memory and processor time of an idle server", (*bench).idle},
	{"logs", "a build's log through the cluster", (*bench).logs},
	{"queue", "a million queued jobs", (*bench).queue},
}

// Sections lists their names and what they measure.
func Sections() (names []string, help string) {
	var b strings.Builder
	for _, s := range sections {
		names = append(names, s.name)
		fmt.Fprintf(&b, "  %-10s %s\n", s.name, s.what)
	}
	return names, b.String()
}

// bench is one run.
type bench struct {
	Options
	missed []string
}

// Run measures and prints. The error says what could not be measured; figures
// that missed their mark are only listed.
func Run(ctx context.Context, o Options) (err error) {
	b := &bench{Options: o}
	if b.Dir == "" {
		if b.Dir, err = os.MkdirTemp("", "weir-bench-"); err != nil {
			return fmt.Errorf("make a directory for the benchmark: %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(b.Dir)) }()
		if err := os.Chmod(b.Dir, 0o755); err != nil { // jobs may run as another user
			return fmt.Errorf("make a directory for the benchmark: %w", err)
		}
	}
	for _, s := range sections {
		if len(o.Only) > 0 && !slices.Contains(o.Only, s.name) {
			continue
		}
		fmt.Fprintf(o.Out, "\n%s: %s\n", s.name, s.what)
		started := time.Now()
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
		fmt.Fprintf(o.Err, "(%s took %v)\n", s.name, time.Since(started).Round(time.Second))
	}
	if len(b.missed) > 0 {
		fmt.Fprintf(o.Out, "\nmissed: %s\n", strings.Join(b.missed, "; "))
	}
	return nil
}

// row prints one figure beside its mark.
func (b *bench) row(name, value, mark string, ok bool) {
	verdict := "ok"
	if !ok {
		verdict = "MISSED"
		b.missed = append(b.missed, name)
	}
	fmt.Fprintf(b.Out, "  %-44s %-22s %-34s %s\n", name, value, mark, verdict)
}

// dir makes a directory for one part.
func (b *bench) dir(name string) (string, error) {
	dir := filepath.Join(b.Dir, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	return dir, nil
}

// size picks the full or the quick size of a run.
func (b *bench) size(full, quick int) int {
	if b.Quick {
		return quick
	}
	return full
}
