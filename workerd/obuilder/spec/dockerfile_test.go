package spec

import (
	"errors"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
)

const dockerSpec = `((build tools ((from base) (run (shell "make tools"))))
 (build T0ols! ((build tools ((from inner))) (from other) (copy (from (build tools)) (src /x) (dst /y))))
 (from base)
 (comment "A test
comment")
 (workdir "/a $b")
 (run (shell command1))
 (shell /bin/sh -c)
 (run (cache (a (target /data)) (b (target /srv) (buildkit_options ((sharing private)))))
      (secrets (password (target /secrets/password)))
      (network host)
      (shell "command2 &&
              command3"))
 (run (shell "for x in 1 2
do echo \"$x\"; done"))
 (copy (src a b) (dst c/) (exclude .git _build))
 (env DEBUG 1)
 (env ESCAPE "\"quote\\sla\\sh\" $HOME")
 (user (uid 1) (gid 2))
 (copy (src a) (dst "d e"))
 (copy (from (build tools)) (src binary) (dst /usr/local/bin/))
 (copy (from (build T0ols!)) (src binary) (dst .)))`

const dockerWant = `FROM base as tools
RUN make tools

FROM inner as tools-2

FROM other as t0ols-
COPY --from=tools-2 /x /y

FROM base
# A test
# comment
WORKDIR /a \$b
RUN command1
SHELL [ "/bin/sh", "-c" ]
RUN MOUNTScommand2 && \
    command3
RUN [ "/bin/sh", "-c", "for x in 1 2\ndo echo \"$x\"; done" ]
COPY a b c/
ENV DEBUG="1"
ENV ESCAPE="\"quote\\sla\\sh\" \$HOME"
USER 1:2
COPY --chown=1:2 [ "a", "d e" ]
COPY --chown=1:2 --from=tools binary /usr/local/bin/
COPY --chown=1:2 --from=t0ols- binary .
`

const dockerMounts = "--mount=type=secret,id=password,target=/secrets/password,uid=0 " +
	"--mount=type=cache,id=a,target=/data,uid=0 --mount=type=cache,id=b,target=/srv,uid=0,sharing=private "

func TestDockerfile(t *testing.T) {
	s, err := Parse(dockerSpec)
	if err != nil {
		t.Fatal(err)
	}
	for buildKit, mounts := range map[bool]string{false: "", true: dockerMounts} {
		got, err := s.Dockerfile(buildKit)
		if want := strings.Replace(dockerWant, "MOUNTS", mounts, 1); err != nil || got != want {
			t.Errorf("BuildKit %v: %v\n%s", buildKit, err, got)
		}
	}
}

func TestDockerfileRuns(t *testing.T) {
	const bash = `[ "/usr/bin/env", "bash", "-c", `
	for command, want := range map[string]string{
		"a && b":        "a && b",
		"a | \n b;\n c": "a | \\\n    b; \\\n    c",
		"a\nb":          bash + `"a\nb" ]`,
		"a ||\n\nb":     bash + `"a ||\n\nb" ]`,
		"a # x &&\nb":   bash + `"a # x &&\nb" ]`,
		"'a &&\nb'":     bash + `"'a &&\nb'" ]`,
		"a ;;\nb":       bash + `"a ;;\nb" ]`,
		"a &&\n# b":     bash + `"a &&\n# b" ]`,
		`a \`:           bash + `"a \\" ]`,
		"--flag":        bash + `"--flag" ]`,
		`["a"]`:         bash + `"[\"a\"]" ]`,
		"cat <<EOF":     bash + `"cat <<EOF" ]`,
		"":              bash + `"" ]`,
		"a > b & c < d": "a > b & c < d",
	} {
		s := &Spec{From: "x", Steps: []Step{{Op: Run{Command: command}}}}
		got, err := s.Dockerfile(false)
		if err != nil || got != "FROM x\nRUN "+want+"\n" {
			t.Errorf("%q: %v\n%s", command, err, got)
		}
	}
}

func TestDockerfileCannot(t *testing.T) {
	for _, text := range []string{
		`((from a) (comment x) (env b "c\nd"))`,
		`((from a) (comment x) (env "b c" d))`,
		`((from a) (comment x) (workdir "c\nd"))`,
		`((from a) (comment x) (run (secrets (s (target "/a b"))) (shell d)))`,
		`((from a) (comment x) (run (cache (s (target /a) (buildkit_options ((b "c,d"))))) (shell d)))`,
	} {
		s, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Dockerfile(true)
		var fault *sexp.Error
		if !errors.As(err, &fault) || fault.Pos != (sexp.Pos{Line: 1, Column: 23}) || got != "" {
			t.Errorf("%s: %v\n%s", text, err, got)
		}
	}
}
