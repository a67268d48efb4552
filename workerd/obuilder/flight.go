package obuilder

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/weirbuild/weir/workerd/room"
)

// flight is a step that is being made, or a result that is being removed. There
// is at most one for an id.
type flight struct {
	users   int // builds that wait for it; 0: it is being ended
	cancel  context.CancelCauseFunc
	log     *stepLog
	done    chan struct{}
	err     error // once done
	pending bool  // not done yet
}

// errAbandoned is why a step ends that nobody waits for any more.
var errAbandoned = errors.New("the last build that waited for this step has left")

// step makes a result, or finds it. Its log goes to out either way.
type step struct {
	id, base string
	// lent: make reads files of the build that began it, which must stay.
	lent bool
	make func(ctx context.Context, dir string, log io.Writer) (Image, error)
}

// ensure makes sure that a step's result is kept. Without an error it is pinned
// for the caller.
func (e *Engine) ensure(ctx context.Context, s step, out *lines) error {
	for {
		e.mu.Lock()
		if e.index.entries[s.id] != nil {
			err := e.use(s.id)
			e.mu.Unlock()
			if err = errors.Join(err, e.replay(s.id, out)); err != nil {
				e.unpin(s.id)
			}
			return err
		}
		f := e.flights[s.id]
		began := f == nil
		switch {
		case began:
			var err error
			if f, err = e.launch(s); err != nil {
				e.mu.Unlock()
				return err
			}
		case f.users > 0:
			f.users++
			f.log.attach()
		default:
			e.mu.Unlock()
			if err := wait(ctx, f); err != nil {
				return err
			}
			continue
		}
		e.mu.Unlock()
		err := e.attend(ctx, f, s.id, out)
		if began && s.lent {
			<-f.done
		}
		return err
	}
}

func (e *Engine) unpin(id string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.index.entries[id].pins--
}

// wait waits for the end of a flight that takes nobody on.
func wait(ctx context.Context, f *flight) error {
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// use counts a hit, and pins the result.
func (e *Engine) use(id string) error {
	e.metrics.hits.Inc()
	e.index.entries[id].pins++
	if err := e.index.touch(id, time.Now()); err != nil {
		return fmt.Errorf("note the use of result %s: %w", id, err)
	}
	return nil
}

func (e *Engine) replay(id string, out *lines) error {
	log, err := os.Open(e.index.log(id))
	if err != nil {
		return fmt.Errorf("replay log: %w", err)
	}
	defer log.Close()
	if _, err := io.Copy(out, log); err != nil {
		return fmt.Errorf("replay log: %w", err)
	}
	return out.note("---> using %q from cache", id)
}

// launch begins a step. The lock is held.
func (e *Engine) launch(s step) (*flight, error) {
	if e.closed {
		return nil, errClosed
	}
	log, err := createLog(e.index.log(s.id))
	if err != nil {
		return nil, fmt.Errorf("begin a step's log: %w", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	f := &flight{users: 1, cancel: cancel, log: log, done: make(chan struct{}), pending: true}
	e.flights[s.id] = f
	e.metrics.misses.Inc()
	e.running.Go(func() {
		defer cancel(nil)
		r, err := e.make(ctx, s, log)
		e.land(s.id, f, r, err)
	})
	return f, nil
}

// make makes a step's tree, and keeps it.
func (e *Engine) make(ctx context.Context, s step, log *stepLog) (result, error) {
	r := result{Base: s.base, Created: time.Now()}
	draft, err := e.store.Create(s.id, s.base)
	if err != nil {
		return r, err
	}
	r.Image, err = s.make(ctx, draft.Dir(), log)
	if err = withFault(err, log.failed(), draft.Dir()); err != nil {
		return r, errors.Join(err, draft.Discard())
	}
	if err := draft.Commit(); err != nil {
		return r, err
	}
	return r, e.index.add(s.id, r)
}

// withFault adds to a step's error what the disk has to do with it.
func withFault(err, fault error, dir string) error {
	full := room.Short(dir, nearlyFull)
	var failure *Failure
	switch {
	case errors.As(err, &failure) && full != "":
		return &Failure{Text: failure.Text + "; " + full, ExitCode: failure.ExitCode}
	case fault != nil:
		return errors.Join(err, fmt.Errorf("keep the step's log: %w", fault))
	}
	return err
}

// nearlyFull is how little room a step must have left for that to be worth telling.
const nearlyFull = 1 << 20

// land ends a flight. Only now does anybody see the result, pinned for them all.
func (e *Engine) land(id string, f *flight, r result, err error) {
	e.mu.Lock()
	if err == nil {
		e.index.entries[id] = &entry{result: r, used: time.Now(), pins: f.users}
	} else {
		err = errors.Join(err, os.Remove(e.index.log(id)))
	}
	delete(e.flights, id)
	f.err, f.pending = err, false
	e.mu.Unlock()
	f.log.end()
	close(f.done)
}

// attend waits for a flight with the log. Who leaves early lets it go on for the
// others; the last to leave ends it, and waits for that.
func (e *Engine) attend(ctx context.Context, f *flight, id string, out *lines) error {
	defer f.log.leave()
	err := f.log.follow(ctx, out)
	if err == nil {
		<-f.done
		if f.err != nil {
			return f.err
		}
		if err = out.note("---> saved as %q", id); err != nil {
			e.unpin(id)
		}
		return err
	}
	e.mu.Lock()
	last := false
	switch {
	case f.pending:
		f.users--
		last = f.users == 0
	case f.err == nil:
		e.index.entries[id].pins-- // it succeeded just now
	}
	e.mu.Unlock()
	if last {
		f.cancel(errAbandoned)
		<-f.done
	}
	return err
}
