package top

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	tea "charm.land/bubbletea/v2"
)

// Options say what to show.
type Options struct {
	Pool     string        // only this; empty: all
	Interval time.Duration // between two samples
}

// Live shows the cluster in a terminal until the user has seen enough.
func Live(ctx context.Context, cluster Cluster, o Options, in io.Reader, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	s := &source{cluster: cluster, pool: o.Pool}
	p := tea.NewProgram(&screen{}, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out))
	var parts sync.WaitGroup
	parts.Go(func() { s.watch(ctx) })
	parts.Go(func() {
		every(ctx, o.Interval, func() bool {
			p.Send(s.take(ctx))
			return true
		})
	})
	_, err := p.Run()
	cancel()
	parts.Wait()
	if errors.Is(err, tea.ErrInterrupted) || errors.Is(err, tea.ErrProgramKilled) && ctx.Err() != nil {
		return nil
	}
	return err
}

// Text writes a frame as text: one, or with an interval one after another. The
// first has no rates yet.
func Text(ctx context.Context, cluster Cluster, o Options, out io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	s := &source{cluster: cluster, pool: o.Pool}
	if o.Interval > 0 {
		parts.Go(func() { s.watch(ctx) })
	}
	first, err := true, error(nil)
	every(ctx, max(o.Interval, time.Millisecond), func() bool {
		sample := s.take(ctx)
		if sample.Err != nil && (first || ctx.Err() != nil) {
			err = sample.Err
			return false
		}
		if !first {
			fmt.Fprintln(out)
		}
		first = false
		_, err = fmt.Fprintln(out, strings.Join(Frame(sample, minWidth, 0), "\n"))
		return err == nil && o.Interval > 0
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// every does something again and again, until it is enough or ctx ends.
func every(ctx context.Context, interval time.Duration, do func() bool) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for ctx.Err() == nil && do() {
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
}

// screen is the terminal's contents.
type screen struct {
	sample        Sample
	width, height int
}

// Init implements tea.Model.
func (s *screen) Init() tea.Cmd { return nil }

// Update implements tea.Model.
func (s *screen) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch m := msg.(type) {
	case Sample:
		s.sample = m
	case tea.WindowSizeMsg:
		s.width, s.height = m.Width, m.Height
	case tea.KeyPressMsg:
		switch m.String() {
		case "q", "esc", "ctrl+c":
			return s, tea.Quit
		}
	}
	return s, nil
}

// View implements tea.Model.
func (s *screen) View() tea.View {
	text := "weir top  asking the cluster"
	if !s.sample.At.IsZero() || s.sample.Err != nil {
		lines := Frame(s.sample, s.width, max(s.height-1, 1))
		text = strings.Join(lines, "\n") + strings.Repeat("\n", max(s.height-len(lines), 1)) + "q: quit"
	}
	v := tea.NewView(text)
	v.AltScreen = true
	return v
}
