package cli

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// program is how this process was started, as far as another start needs it.
type program struct {
	path      string
	args, env []string
}

// thisProgram must be called before the environment is freed of secrets. An update
// puts another file in the place of the program, so its name is found out now.
func thisProgram() (program, error) {
	path, err := exec.LookPath(os.Args[0]) // a link stays one: the update may point it elsewhere
	if err == nil {
		path, err = filepath.Abs(path)
	}
	if err != nil {
		return program{}, fmt.Errorf("find this program, to start it again after updates: %w", err)
	}
	return program{path, os.Args, os.Environ()}, nil
}

// start puts the program, as it is on the disk by now, in the place of this
// process: supervisors see no end.
func (p program) start() error {
	err := syscall.Exec(p.path, p.args, p.env)
	return fmt.Errorf("start %s again after an update: %w", p.path, err)
}
