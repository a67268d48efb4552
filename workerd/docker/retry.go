package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// tries is how often a registry that stumbles is asked.
const tries = 5

// persist does something again while it stumbles, and says so in the log.
func (e *Executor) persist(ctx context.Context, out io.Writer, do func() error) error {
	wait := e.cfg.Backoff
	for try := 1; ; try++ {
		err := do()
		var stumble *Stumble
		if !errors.As(err, &stumble) || try == tries {
			return err
		}
		if _, err := fmt.Fprintf(out, "%s: trying again in %v (%d of %d)\n", stumble, wait, try+1, tries); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		wait *= 2
	}
}
