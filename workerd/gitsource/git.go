package gitsource

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weirbuild/weir/workerd/supervise"
)

// command is one run of git.
type command struct {
	dir   string
	args  []string
	user  *supervise.User // nil: the worker
	env   []string        // added to the environment that every run has
	stdin *os.File
	log   io.Writer // gets git's output as it comes; nil: nobody does
	hide  []string  // of supervise.Command
	keep  string
}

// settings hold for every run, beside the environment. Nothing that a repository
// brings along is started: no hook, no monitor, no pager, no helper, and, in
// submodules too, no transport but those that Validate allows.
var settings = []string{
	"core.hooksPath=/dev/null",
	"core.fsmonitor=false",
	"advice.detachedHead=false",
	"fetch.unpackLimit=1", // packs appear whole or not at all, whenever we die
	"fetch.recurseSubmodules=false",
	"gc.auto=0", // Maintain does it
	"maintenance.auto=false",
	"http.lowSpeedLimit=1000", // bytes a second,
	"http.lowSpeedTime=60",    // for that many seconds: the server hangs
}

// git runs git to its end. said is the end of what it printed, which explains an
// exit code that is not 0. An error is this machine's, or ctx's.
func (s *Source) git(ctx context.Context, c command) (said string, ok bool, err error) {
	var kept tail
	out := io.Writer(&kept)
	if c.log != nil {
		out = io.MultiWriter(&kept, c.log)
	}
	exit, err := s.run.Run(ctx, supervise.Command{
		Argv:  append([]string{"git"}, c.args...),
		Env:   slices.Concat(s.environment(c.user), c.env),
		Dir:   c.dir,
		User:  c.user,
		Stdin: c.stdin,
		Hide:  c.hide,
		Keep:  []string{c.keep},
		Grace: func(error) time.Duration { return 0 }, // whatever it leaves half-done, the next run repairs
	}, out)
	switch {
	case ctx.Err() != nil:
		return "", false, fmt.Errorf("git %s: %w", c.args[0], context.Cause(ctx))
	case err != nil:
		return "", false, err
	case exit.Signal != 0:
		return "", false, fmt.Errorf("git %s: %s", c.args[0], exit)
	}
	return string(kept), exit.Ok(), nil
}

func (s *Source) environment(user *supervise.User) []string {
	settings := settings
	if s.credentials != "" && user == nil { // what the job's user runs has no use for the worker's credentials
		settings = append(slices.Clone(settings), helper(s.credentials))
	}
	env := []string{
		"PATH=" + s.path,
		"HOME=/nonexistent",
		"LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_ATTR_NOSYSTEM=1",
		"GIT_TEMPLATE_DIR=",
		"GIT_TERMINAL_PROMPT=0",
		"GIT_SSH_COMMAND=ssh -o BatchMode=yes",
		"GIT_PAGER=cat",
		"GIT_EDITOR=false",
		"GIT_ALLOW_PROTOCOL=" + strings.Join(schemes, ":"),
		"GIT_PROTOCOL_FROM_USER=0",
		"GIT_CONFIG_COUNT=" + strconv.Itoa(len(settings)),
	}
	for i, kv := range settings {
		key, value, _ := strings.Cut(kv, "=")
		env = append(env, fmt.Sprintf("GIT_CONFIG_KEY_%d=%s", i, key), fmt.Sprintf("GIT_CONFIG_VALUE_%d=%s", i, value))
	}
	return append(env, s.env...)
}

// tail keeps the end of what was written.
type tail []byte

func (t *tail) Write(p []byte) (int, error) {
	*t = append(*t, p...)
	if extra := len(*t) - 16<<10; extra > 0 {
		*t = slices.Delete(*t, 0, extra)
	}
	return len(p), nil
}
