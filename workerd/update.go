package workerd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/weirbuild/weir/proto/mtls"
)

const (
	// updateTime is how long an update command may take.
	updateTime = 5 * time.Minute
	// updateTail is how much of the end of its output is kept.
	updateTail = 2 << 10
	// updateFile holds at what the latest update failed.
	updateFile = "update-error"
)

// beginUpdate makes the worker end its jobs, update itself and ask to be started
// again.
func (w *Worker) beginUpdate() {
	w.log.Info("the cluster asks for an update", "command", w.cfg.UpdateCommand)
	w.update.raise()
	w.drain.raise()
}

// Restart says, once Run has returned, that the worker was told to update itself
// and did what it could: its program should be started again, with the same
// arguments. An order of its own machine to stop comes first.
func (w *Worker) Restart() bool { return w.update.set() && !w.leave.set() }

// runUpdate runs the operator's command. At what it fails is stored, and told to
// the cluster by the next process: the worker is needed, also as it is.
func (w *Worker) runUpdate(ctx context.Context) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-w.stop.ch:
			cancel(errors.New("the worker was told to stop"))
		case <-ctx.Done():
		}
	})
	failed := runUpdateCommand(ctx, w.cfg.UpdateCommand)
	cancel(nil)
	watching.Wait()
	text := ""
	if failed != nil {
		text = failed.Error()
		w.log.Error("the update failed: the worker goes on as it was", "error", failed)
	} else {
		w.log.Info("the update command has ended: starting again")
	}
	if err := w.state.setUpdateError(text); err != nil {
		w.log.Error("what became of the update is not stored", "error", err)
	}
}

// runUpdateCommand returns an error of one line, which ends with what the command
// said last.
func runUpdateCommand(ctx context.Context, program string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, updateTime, fmt.Errorf("it took longer than %v", updateTime))
	defer cancel()
	var out tail
	cmd := exec.CommandContext(ctx, program)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = time.Second // for what holds its output open
	cmd.Env = os.Environ()      // the capability is not in it any more
	err := cmd.Run()
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	text := fmt.Sprintf("run %s: %v", program, err)
	lines := bytes.Split(bytes.TrimSpace(out.bytes), []byte("\n"))
	if last := oneLine(string(lines[len(lines)-1])); last != "" {
		text += ": " + last
	}
	return errors.New(text)
}

// tail keeps the end of what is written to it.
type tail struct{ bytes []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.bytes = append(t.bytes, p...)
	t.bytes = t.bytes[max(len(t.bytes)-updateTail, 0):]
	return len(p), nil
}

// updateError reads at what the latest update failed; empty: it did not.
func (s *stateDir) updateError() (string, error) {
	text, err := os.ReadFile(filepath.Join(s.path, updateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return string(text), err
}

func (s *stateDir) setUpdateError(text string) error {
	file := filepath.Join(s.path, updateFile)
	if text != "" {
		return mtls.WriteSecret(file, []byte(text))
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
