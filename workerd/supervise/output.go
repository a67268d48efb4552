package supervise

import (
	"errors"
	"io"
	"os"
	"time"
)

// stragglerWait is how long output is awaited from a pipe that some process
// outside of a dead command keeps open.
const stragglerWait = 500 * time.Millisecond

// pipeSize is how much a pipe holds at most.
const pipeSize = 64 << 10

// copyOutput copies until no process holds the pipe, or until the command is dead
// (the read deadline says so) and the pipe is empty. After a failed write it
// kills the command and reads on, so that nothing waits for us.
func (p *process) copyOutput(from *os.File, out io.Writer) (failed error) {
	buf := make([]byte, pipeSize)
	for left := -1; left != 0; {
		n, err := from.Read(buf)
		if n > 0 && failed == nil {
			if _, failed = out.Write(buf[:n]); failed != nil {
				p.stop(0)
			}
		}
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded) && left < 0:
			left = pipeSize // out may have been slow: take what the dead have left
		case err != nil:
			return failed
		case left > 0:
			left = max(0, left-n)
		}
		if left > 0 {
			_ = from.SetReadDeadline(time.Now().Add(stragglerWait))
		}
	}
	return failed
}
