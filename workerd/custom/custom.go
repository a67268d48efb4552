// Package custom runs the jobs of kinds that a worker's operator has named programs
// for.
//
// It promises that a program gets the job's payload on its standard input and
// nothing of the job in its arguments, that it runs like a command job (as the job
// user, in the checkout, and no process of it is left), and that the last line it
// writes to file descriptor 3 is the job's output. It refuses to know what a kind is.
package custom

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/command"
	"github.com/weirbuild/weir/workerd/executor"
)

// Kind is a kind of job, with the program that runs it.
type Kind struct {
	Name    string
	Program string // an absolute path
}

// ParseKind reads KIND=/path/to/program. The program must be there.
func ParseKind(text string) (Kind, error) {
	name, program, ok := strings.Cut(text, "=")
	if !ok || name == "" || !filepath.IsAbs(program) {
		return Kind{}, fmt.Errorf("custom kind %q: write KIND=/path/to/program", text)
	}
	k := Kind{Name: name, Program: program}
	return k, k.check()
}

// check refuses a program that cannot be run.
func (k Kind) check() error {
	info, err := os.Stat(k.Program)
	switch {
	case err != nil:
		return fmt.Errorf("custom kind %s: %w", k.Name, err)
	case info.IsDir() || info.Mode()&0o111 == 0:
		return fmt.Errorf("custom kind %s: %s cannot be executed: chmod +x it", k.Name, k.Program)
	}
	return nil
}

// Runner runs programs in checkouts, as a *command.Executor does.
type Runner interface {
	RunProgram(ctx context.Context, t executor.Task, p command.Program, out io.Writer) (*pb.Outcome, error)
}

// Executor runs the jobs of one kind.
type Executor struct {
	kind   Kind
	runner Runner
}

var _ executor.Checked = (*Executor)(nil)

// New makes the executor of a kind.
func New(kind Kind, r Runner) *Executor { return &Executor{kind: kind, runner: r} }

// Healthcheck implements executor.Checked: the program is there, and programs can be
// run. What it would do with a payload that is no job's only its operator knows.
func (e *Executor) Healthcheck(ctx context.Context) error {
	if err := e.kind.check(); err != nil {
		return err
	}
	return executor.Healthcheck(ctx, &pb.JobSpec{}, func(ctx context.Context, t executor.Task, out io.Writer) (*pb.Outcome, error) {
		return e.runner.RunProgram(ctx, t, command.Program{Argv: []string{"true"}}, out)
	})
}

// Run runs one attempt. See executor.Executor.
func (e *Executor) Run(ctx context.Context, t executor.Task, out io.Writer) (*pb.Outcome, error) {
	job := t.Spec.GetCustom()
	if job.GetKind() != e.kind.Name {
		return nil, fmt.Errorf("run a job of the custom kind %s: this job is of another kind", e.kind.Name)
	}
	payload, err := inMemory(job.GetPayload())
	if err != nil {
		return nil, fmt.Errorf("give the job its payload: %w", err)
	}
	defer payload.Close()
	result, err := listen()
	if err != nil {
		return nil, fmt.Errorf("listen for the job's output: %w", err)
	}
	outcome, err := e.runner.RunProgram(ctx, t, command.Program{
		Argv: []string{e.kind.Program}, Env: []*pb.EnvVar{{Name: "WEIR_KIND", Value: e.kind.Name}}, Stdin: payload, Result: result.write,
	}, out)
	line, readErr := result.close()
	if err = errors.Join(err, readErr); err != nil {
		return nil, err
	}
	outcome.Output = line
	return outcome, nil
}

// inMemory is a file with a content that is on no disk.
func inMemory(content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate("payload", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "payload")
	_, err = f.Write(content)
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// stragglerWait is how long the output is awaited of a process outside of the job
// that was handed the file.
const stragglerWait = time.Second

// maxOutput is how much of the output's last line is kept, in bytes.
const maxOutput = 4096

// result is where a program writes its output.
type result struct {
	read, write *os.File
	last        string
	err         error
	done        chan struct{}
}

func listen() (*result, error) {
	read, write, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	r := &result{read: read, write: write, done: make(chan struct{})}
	go func() { // ends when nobody can write any more, or with close
		defer close(r.done)
		r.last, r.err = lastLine(read)
	}()
	return r, nil
}

// close gives the last line, once the program has ended.
func (r *result) close() (string, error) {
	err := r.write.Close()
	_ = r.read.SetReadDeadline(time.Now().Add(stragglerWait)) // a pipe has deadlines
	<-r.done
	if errors.Is(r.err, os.ErrDeadlineExceeded) {
		r.err = nil
	}
	return r.last, errors.Join(err, r.err, r.read.Close())
}

// lastLine reads to the end, and gives the beginning of the last line that is not
// empty.
func lastLine(from io.Reader) (string, error) {
	in := bufio.NewReaderSize(from, maxOutput)
	last := ""
	begins := true // what is read begins a line
	for {
		part, more, err := in.ReadLine()
		if text := strings.TrimSpace(string(part)); begins && text != "" {
			last = text
		}
		begins = !more
		if errors.Is(err, io.EOF) {
			return last, nil
		}
		if err != nil {
			return last, err
		}
	}
}
