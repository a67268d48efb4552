package docker_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/executor"
	"github.com/weirbuild/weir/workerd/logins"
)

// A step gets its secret, the push its credentials; neither is in the log, nor in
// what the worker keeps of the build.
func secrets(b *bench) {
	const token, password = "hunter2-token", "hunter2-password"
	config := b.registry.private("robot", password)
	defer b.registry.private("", "")
	job := contents("FROM busybox\nRUN --mount=type=secret,id=token wc -c < /run/secrets/token; cat /run/secrets/token\n")
	run := func(secrets map[string][]byte) (*pb.Outcome, string) {
		b.Helper()
		task := b.task(nil, job)
		task.Secrets = secrets
		var out bytes.Buffer
		outcome, err := executor.Standard(b.executor, "w").Run(context.WithoutCancel(b.Context()), task, &out)
		if err != nil {
			b.Fatalf("%v\n%s", err, out.String())
		}
		if strings.Contains(out.String()+outcome.String(), "hunter2") {
			b.Errorf("a secret is shown: %v\n%s", outcome, out.String())
		}
		return outcome, out.String()
	}
	o, said := run(map[string][]byte{"token": []byte(token)})
	if o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || !strings.Contains(said, "13\n") {
		b.Errorf("a step with a secret: %v\n%s", o, said)
	}
	job.Push = b.registry.host + "/app/private/web:v1" // refuses everybody but the robot
	o, said = run(map[string][]byte{"token": []byte(token), logins.Secret: config})
	if o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED || !strings.Contains(o.Output, "/app/private/web@sha256:") {
		b.Errorf("a push with credentials: %v\n%s", o, said)
	}
	err := filepath.WalkDir(b.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte("hunter2")) {
			b.Errorf("a secret is in %s", path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		b.Error(err)
	}
}
