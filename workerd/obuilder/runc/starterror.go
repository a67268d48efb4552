package runc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/weirbuild/weir/workerd/obuilder"
)

// startError says why runc could not run a command, from runc's own log. A
// program that is not in the image is the build's failure, the rest is ours.
func startError(log string) error {
	text, err := os.ReadFile(log)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read runc's log: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		var entry struct{ Level, Msg string }
		if json.Unmarshal([]byte(line), &entry) != nil || entry.Level != "error" {
			continue
		}
		if _, reason, ok := strings.Cut(entry.Msg, "exec: "); ok {
			return obuilder.Failed("the program cannot be started: %s: check (shell ...) and what the image has", reason)
		}
		if _, reason, ok := strings.Cut(entry.Msg, "error mounting "); ok {
			return obuilder.Failed("a cache or secret cannot be mounted: %s", reason)
		}
		if _, reason, ok := strings.Cut(entry.Msg, "cwd: "); ok {
			return obuilder.Failed("the working directory cannot be entered: %s", reason)
		}
		return fmt.Errorf("run container: %s", entry.Msg)
	}
	return nil
}
