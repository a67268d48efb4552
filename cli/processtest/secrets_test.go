package processtest

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/obuilder/enginetest"
)

// look is a build that tells all that it can find: its environment, that of
// every process, the worker's state and whatever the cluster keeps in files.
const look = `exec 2>&1
id -u; env; set
for p in /proc/[0-9]*; do echo $p; cat $p/environ $p/cmdline $p/maps; ls -l $p/fd $p/cwd; cat $p/fd/*; done </dev/null
ls -laR %[1]s; cat %[1]s/* %[1]s/.* %[1]s/spool/*
cat %[2]s/*.cap %[2]s/*/log %[2]s/*/tls/*.pem %[2]s/*/data/* %[2]s/*/data/*/*
ls -la .. ../.. "$HOME" "$TMPDIR"
echo looked
`

// A worker that runs as root, with its capability in its environment, runs a
// build that looks for secrets. It finds none, and nobody else finds the
// capability in the worker's environment either.
func testSecrets(w *world) {
	if os.Geteuid() != 0 {
		enginetest.Missing(w.t, "needs root: another user's worker runs builds as itself, which can read what it can")
	}
	capFile := w.pool("secrets", nil)
	line, err := os.ReadFile(capFile)
	w.must(err)
	own, err := capability.Load(capFile)
	w.must(err)
	dir := w.cluster.WorkerDir("keeper")
	state := filepath.Join(dir, "state")
	w.must(os.Mkdir(dir, 0o755))
	flags := []string{"worker", "--name", "keeper", "--pool", "secrets", "--state-dir", state, "--allow-command"}
	w.refused(w.weir(capFile, flags...), 2, "--job-user is missing")

	worker := w.begin(strings.TrimSpace(string(line)), append(flags, "--job-user", "nobody")...)
	w.until("the worker to be ready", func() bool { return w.workerState("secrets", "keeper") == "ready" })
	key, err := os.ReadFile(filepath.Join(state, "instance-key"))
	w.must(err)
	if len(key) < 32 || bytes.Contains(key, []byte("\n\n")) {
		w.t.Fatalf("the worker's key has %d bytes", len(key))
	}
	if pids := holders(own.Token().Reveal()); len(pids) > 0 {
		w.t.Errorf("the environments of processes %v hold the worker's token; the worker is %d", pids, worker.cmd.Process.Pid)
	}

	req := submit("secrets", "sh", "-c", fmt.Sprintf(look, state, w.cluster.Dir))
	req.Client = "tests"
	made, err := w.admin.Submit(w.ctx, req)
	w.must(err)
	if j := w.settled(made.Job); j.Outcome.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		w.t.Errorf("the build: %v", j.Outcome)
	}
	text, err := w.readLog(w.admin, made.Job, 1)
	w.must(err)
	if !strings.HasPrefix(text, "Building on keeper\n65534\n") || !strings.HasSuffix(text, "\nlooked\nJob succeeded\n") ||
		!strings.Contains(text, "Permission denied") || !strings.Contains(text, "WEIR_JOB_ID=") {
		w.t.Fatalf("the build did not look: %s", text)
	}
	for what, secret := range map[string]string{
		"the worker's token": own.Token().Reveal(), "the admin's token": w.cluster.Admin.Token().Reveal(),
		"the worker's key": string(key), "its key in hexadecimal": hex.EncodeToString(key), "its key in base64": base64.StdEncoding.EncodeToString(key),
		"a private key": "PRIVATE KEY", "a capability": "weir://", "the variable of a capability": "WEIR_CAPABILITY",
	} {
		if at := strings.Index(text, secret); at >= 0 {
			w.t.Errorf("the build found %s: %q", what, text[max(0, at-200):min(len(text), at+200)])
		}
	}
	worker.signal(syscall.SIGTERM)
	if a := worker.wait(); a.code != 0 {
		w.t.Errorf("the worker ended with exit code %d: %s", a.code, a.err)
	}
}

// holders are the processes whose environment, as root sees it, holds a text.
func holders(text string) (pids []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range files {
		if block, err := os.ReadFile(file); err == nil && bytes.Contains(block, []byte(text)) {
			pids = append(pids, filepath.Base(filepath.Dir(file)))
		}
	}
	return pids
}
