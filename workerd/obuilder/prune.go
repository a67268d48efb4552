package obuilder

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// Prune removes up to n results that were last used before a time, and returns
// how many it removed: the least recently used first, and none that another is
// based on or that a build uses.
func (e *Engine) Prune(ctx context.Context, before time.Time, n int) (int, error) {
	for removed := range n {
		if ctx.Err() != nil {
			return removed, context.Cause(ctx)
		}
		e.mu.Lock()
		id := e.oldestLeaf(before)
		if id == "" {
			e.mu.Unlock()
			return removed, nil
		}
		finish, err := e.forget(id)
		e.mu.Unlock()
		if err == nil {
			err = finish()
		}
		if err != nil {
			return removed, err
		}
		e.metrics.pruned.Inc()
	}
	return n, nil
}

// Room is what must be left for builds to come.
type Room struct {
	Free    Space // at least, in percent
	Results int   // at most; 0: any number
}

// pruneAtOnce is how many results go before the disk is asked again.
const pruneAtOnce = 10

// MakeRoom prunes until there is room, or nothing is left to prune, and says how
// many results it removed and whether there is room now.
func (e *Engine) MakeRoom(ctx context.Context, r Room) (removed int, enough bool, err error) {
	for {
		free, err := e.Free()
		if err != nil {
			return removed, false, err
		}
		excess := 0
		if r.Results > 0 {
			excess = max(0, e.Count()-r.Results)
		}
		if free.Bytes < r.Free.Bytes || free.Inodes < r.Free.Inodes {
			excess = max(excess, pruneAtOnce)
		}
		if excess == 0 {
			return removed, true, nil
		}
		n, err := e.Prune(ctx, time.Now(), excess)
		removed += n
		if err != nil || n == 0 {
			return removed, false, err
		}
	}
}

func (e *Engine) oldestLeaf(before time.Time) string {
	parents := e.index.parents()
	oldest := ""
	for id, x := range e.index.entries {
		if x.pins == 0 && parents[id] == 0 && x.used.Before(before) &&
			(oldest == "" || x.used.Before(e.index.entries[oldest].used)) {
			oldest = id
		}
	}
	return oldest
}

// Delete removes a result with all that is based on it. None may be in use.
func (e *Engine) Delete(id string) error {
	e.mu.Lock()
	var doomed []string
	e.descend(id, &doomed)
	for _, d := range doomed {
		if e.index.entries[d].pins > 0 {
			e.mu.Unlock()
			return fmt.Errorf("delete result %s: a build uses it: try again when it has ended", d)
		}
	}
	var finish []func() error
	var all error
	for _, d := range doomed {
		f, err := e.forget(d)
		if err != nil {
			all = err
			break
		}
		finish = append(finish, f)
	}
	e.mu.Unlock()
	for _, f := range finish {
		all = errors.Join(all, f())
	}
	return all
}

// descend lists a result after all that is based on it.
func (e *Engine) descend(id string, into *[]string) {
	if e.index.entries[id] == nil {
		return
	}
	for child, x := range e.index.entries {
		if x.Base == id {
			e.descend(child, into)
		}
	}
	*into = append(*into, id)
}

// forget takes a result out of the index, and returns what is left to do
// without the lock. Meanwhile nobody can make the result again.
func (e *Engine) forget(id string) (finish func() error, err error) {
	if err := e.index.remove(id); err != nil {
		return nil, err
	}
	f := &flight{done: make(chan struct{})}
	e.flights[id] = f
	return func() error {
		err := e.store.Delete(id)
		if logErr := os.Remove(e.index.log(id)); !errors.Is(logErr, fs.ErrNotExist) {
			err = errors.Join(err, logErr)
		}
		e.mu.Lock()
		delete(e.flights, id)
		e.mu.Unlock()
		close(f.done)
		return err
	}, nil
}
