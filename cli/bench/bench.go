// Package bench is `weir bench`: it measures a cluster of real processes on
// this machine, each figure beside the limit that the parts allow, measured in
// the same run. It promises real disks, fsync and TLS, and figures that can be
// compared only as ratios: machines differ and are noisy. It judges nothing
// but says which figure missed its mark. README.md tells how each is measured.
package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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
	JSON   bool     // one document instead of a table
	Out    io.Writer
	Err    io.Writer // what goes on meanwhile
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
	out     printer
	current string // section
	missed  []string
}

// Run measures and prints. The error says what could not be measured; figures
// that missed their mark are only listed.
func Run(ctx context.Context, o Options) (err error) {
	b := &bench{Options: o, out: text{o.Out}}
	if o.JSON {
		b.out = &document{w: o.Out}
	}
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
		b.current = s.name
		b.out.section(s.name, s.what)
		started := time.Now()
		if err := s.run(b, ctx); err != nil {
			return fmt.Errorf("measure %s: %w", s.name, err)
		}
		b.note("%s took %v", s.name, time.Since(started).Round(time.Second))
	}
	return b.out.end(b.missed)
}

// show prints a figure.
func (b *bench) show(f Figure) {
	f.Section = b.current
	if !f.Met {
		b.missed = append(b.missed, f.Name)
	}
	b.out.figure(f)
}

// note tells what is no figure.
func (b *bench) note(format string, args ...any) {
	fmt.Fprintf(b.Err, "("+format+")\n", args...)
}

// tries is how often a measurement is begun. One that fails says little on a
// machine that was busy with something else: a leader that got no processor for
// half a second has lost its office.
const tries = 3

// patiently makes a measurement, and makes it anew when it fails.
func (b *bench) patiently(ctx context.Context, measure func() error) (err error) {
	for range tries {
		if err = measure(); err == nil || ctx.Err() != nil {
			return err
		}
		b.note("measured anew: %v", err)
	}
	return err
}

// dir makes a directory for one part.
func (b *bench) dir(name string) (string, error) {
	if err := os.MkdirAll(b.Dir, 0o755); err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	dir, err := os.MkdirTemp(b.Dir, name+"-")
	if err != nil {
		return "", fmt.Errorf("make a directory: %w", err)
	}
	return dir, os.Chmod(dir, 0o755) // jobs may run as another user
}

// size picks the full or the quick size of a run.
func (b *bench) size(full, quick int) int {
	if b.Quick {
		return quick
	}
	return full
}
