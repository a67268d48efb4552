package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// repository is a bare git repository and the commit to build.
type repository struct {
	dir    string // the bare repository
	commit string
	sample bool // made here: the source has no history of its own
}

// gitSource clones the history around the working directory, or makes a small
// sample when there is none.
func gitSource(ctx context.Context, dir string) (*repository, error) {
	r := &repository{dir: filepath.Join(dir, "weir.git")}
	top, err := git(ctx, "", "rev-parse", "--show-toplevel")
	if err == nil && isWeir(top) {
		if _, err = git(ctx, "", "clone", "--quiet", "--bare", "--no-local", "--", top, r.dir); err != nil {
			return nil, err
		}
	} else {
		r.sample = true
		if top, err = makeSample(ctx, filepath.Join(dir, "sample")); err != nil {
			return nil, err
		}
		if _, err = git(ctx, "", "clone", "--quiet", "--bare", "--no-local", "--", top, r.dir); err != nil {
			return nil, err
		}
	}
	r.commit, err = git(ctx, r.dir, "rev-parse", "HEAD")
	return r, err
}

func isWeir(top string) bool {
	mod, err := os.ReadFile(filepath.Join(top, "go.mod"))
	return err == nil && strings.HasPrefix(string(mod), "module github.com/weirbuild/weir\n")
}

// git runs one git command without the user's configuration.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		"GIT_AUTHOR_NAME=weir", "GIT_AUTHOR_EMAIL=weir@localhost", "GIT_COMMITTER_NAME=weir", "GIT_COMMITTER_EMAIL=weir@localhost")
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", fmt.Errorf("git %s: %w", args[0], err)
	}
	return strings.TrimSpace(string(out)), nil
}

// serveGit serves every repository below root by git's own HTTP backend.
func serveGit(ctx context.Context, root string) (url string, stop func() error, err error) {
	path, err := exec.LookPath("git")
	if err != nil {
		return "", nil, fmt.Errorf("serve git: %w; install git", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("serve git: %w", err)
	}
	server := &http.Server{
		Handler: &cgi.Handler{
			Path: path, Args: []string{"http-backend"}, Stderr: io.Discard,
			Env: []string{
				"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
				"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
			},
		},
		ReadHeaderTimeout: 10 * time.Second,
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }() // stop waits for it
	stop = func() error {
		err := server.Shutdown(context.WithoutCancel(ctx))
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = errors.Join(err, served)
		}
		return err
	}
	return "http://" + l.Addr().String(), stop, nil
}
