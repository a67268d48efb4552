package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// child is one benchmark process: it is told what to do by flags and tells its
// results as JSON lines on standard output.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

// spawn starts `weir bench ARGS...`.
func (b *bench) spawn(ctx context.Context, args ...string) (*child, error) {
	cmd := exec.CommandContext(ctx, b.Binary, append([]string{"bench"}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", args[0], err)
	}
	return &child{cmd: cmd, lines: bufio.NewScanner(out)}, nil
}

// next reads the next result.
func (c *child) next(v any) error {
	if !c.lines.Scan() {
		return errors.Join(errors.New("a benchmark process ended without a result"), c.lines.Err(), c.cmd.Wait())
	}
	return json.Unmarshal(c.lines.Bytes(), v)
}

// stop ends the process and waits for it.
func (c *child) stop() {
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	for c.lines.Scan() { // let it end its last line
	}
	_ = c.cmd.Wait()
}

// tell prints one result of a benchmark process.
func tell(v any) error {
	return json.NewEncoder(os.Stdout).Encode(v)
}
