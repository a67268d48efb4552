package command

import (
	"errors"
	"io"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/supervise"
)

// project is a repository on a git server on loopback, with directories and links.
func project(t *testing.T) (server *httptest.Server, url, commit string) {
	t.Helper()
	root, work := t.TempDir(), t.TempDir()
	git := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = work
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@b",
			"GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@b")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %q: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "--quiet", "--initial-branch=main", ".")
	write := func(name, content string) {
		if err := errors.Join(os.MkdirAll(filepath.Join(work, filepath.Dir(name)), 0o755), os.WriteFile(filepath.Join(work, name), []byte(content), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	write("sub/build", "#!/bin/sh\necho built in $(basename $(pwd)) at $WEIR_COMMIT of $WEIR_REPO with $WEIR_COMMITS\n")
	write("file", "x")
	for name, target := range map[string]string{"out": "/etc", "up": "../..", "in": "sub", "hop": "sub/../.."} {
		if err := os.Symlink(target, filepath.Join(work, name)); err != nil {
			t.Fatal(err)
		}
	}
	git("add", ".")
	git("commit", "--quiet", "--message", "one")
	git("clone", "--quiet", "--bare", ".", filepath.Join(root, "project.git"))
	server = httptest.NewServer(&cgi.Handler{Path: filepath.Join(git("--exec-path"), "git-http-backend"),
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1"}, Stderr: io.Discard})
	t.Cleanup(server.Close)
	return server, server.URL + "/project.git", git("rev-parse", "HEAD")
}

func TestRunsInACheckout(t *testing.T) {
	server, url, commit := project(t)
	eachMode(t, func(t *testing.T, r *supervise.Runner) {
		e := newExecutor(t, r)
		spec := func(dir string, argv ...string) *pb.JobSpec {
			return &pb.JobSpec{Git: &pb.GitContext{Url: url, Commits: []string{commit}},
				Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: argv, Dir: dir}}}
		}
		for _, dir := range []string{"sub", "in"} {
			o, log := run(t, e, spec(dir, "./build"))
			want := "built in sub at " + commit + " of " + url + " with " + commit + "\n"
			if o.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED || !strings.HasSuffix(log, want) {
				t.Errorf("%v, log %q", o, log)
			}
		}
		o, log := run(t, e, spec("", "sh", "-c", "git status --porcelain; git log --format=%s; echo more > new && git add new && git -c user.name=a -c user.email=a@b commit -qm two && git log --format=%s"))
		if o.GetKind() != pb.OutcomeKind_OUTCOME_SUCCEEDED || !strings.HasSuffix(log, "\none\ntwo\none\n") {
			t.Errorf("git in the checkout: %v, log %q", o, log)
		}
		for _, dir := range []string{"out", "up", "hop", "file", "sub/../../home"} {
			o, _ := run(t, e, spec(dir, "true"))
			wantFailed(t, o, "working directory")
		}
		absent := strings.Repeat("c", 40)
		bad := spec("", "true")
		bad.Git.Commits = []string{absent}
		o, _ = run(t, e, bad)
		wantFailed(t, o, "commit "+absent+" does not exist in "+url)
		wantNothingLeft(t, e)
	})
	server.Close()
	e := newExecutor(t, &supervise.Runner{Mode: supervise.Subreaper})
	t.Cleanup(e.runner.Close)
	job := script("true")
	job.Git = &pb.GitContext{Url: url, Commits: []string{commit}}
	if o, err := e.Run(t.Context(), task(job), &whenReady{}); err == nil || !strings.Contains(err.Error(), url) {
		t.Errorf("a git server that is down: %v, %v", o, err)
	}
	wantNothingLeft(t, e)
}
