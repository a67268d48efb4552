package gitsource

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Maintain packs clones that many fetches have scattered, one after the other,
// and prunes those that are over the limit. A clone that jobs use at this moment
// is left for the next time. Call it now and then, once an hour say.
func (s *Source) Maintain(ctx context.Context) error {
	clones, err := filepath.Glob(filepath.Join(s.dir, "*.git"))
	if err != nil {
		return fmt.Errorf("list clones: %w", err)
	}
	for _, dir := range clones {
		if err := s.maintain(ctx, &clone{Source: s, bare: dir}); err != nil {
			return err
		}
	}
	return s.prune(ctx)
}

var errBusy = errors.New("the clone is in use")

func (s *Source) maintain(ctx context.Context, c *clone) error {
	unlock, err := lock(ctx, lockFileOf(c.bare), alone, func() error { return errBusy })
	if errors.Is(err, errBusy) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := os.Stat(c.bare); err != nil {
		return nil // it has just been removed
	}
	if err := c.sweep(); err != nil {
		return err
	}
	said, ok, err := c.in(ctx, "-c", "gc.auto=2000", "-c", "gc.autoPackLimit=20", "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet")
	if err == nil && !ok {
		err = fmt.Errorf("pack clone %s: %s", strings.TrimPrefix(c.bare, s.dir+"/"), lastWords(said))
	}
	return err
}
