package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/bytesize"
	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
)

// defaultRetryFor rides out a cluster without a quorum.
const defaultRetryFor = 5 * time.Minute

type submitOptions struct {
	pool       string
	hint       string
	urgent     bool
	repo       string
	commits    []string
	slots      uint32
	labels     []string
	alone      string
	priority   uint32
	retryExits []int
	timeout    time.Duration
	wait       time.Duration
	logLimit   int64
	detach     bool
	disconnect bool
	retryFor   time.Duration
	requestKey string
	onBehalf   string
	secrets    secretOptions
	what       kindOptions
}

func newSubmit(e *env) *cobra.Command {
	var o submitOptions
	c := &cobra.Command{
		Use:   "submit --pool POOL [flags] {[--image REF] -- COMMAND [ARG...] | --obuilder FILE | --dockerfile PATH | --kind KIND}",
		Short: "Submit a build and follow it to its end",
		Long: "Submit a build and follow it to its end: what weir has to say goes to standard error, the build's own\n" +
			"log to standard output. Ctrl-C and SIGTERM ask the cluster to cancel the build; a lost connection does not.\n" +
			"The command runs with a minimal environment (see the README), in the checkout of --repo if one is given.\n\n" + exitHelp,
		Example: "  weir submit --pool linux -- make test\n" +
			"  weir submit --pool linux --repo https://example.org/app.git --commit $SHA --cache-hint app -- go test ./...\n" +
			"  weir submit --pool linux --repo https://example.org/app.git --commit $SHA --image golang:1.26 -- go vet ./...\n" +
			"  weir submit --pool linux --repo https://example.org/app.git --commit $SHA --cache-hint app --obuilder app.spec\n" +
			"  weir submit --pool linux --repo https://example.org/app.git --commit $SHA --cache-hint app --dockerfile Dockerfile \\\n" +
			"    --push registry.example.org/app:$SHA",
		RunE: func(c *cobra.Command, args []string) error {
			o.what.set = c.Flags().Changed
			return runSubmit(c, e, o, args)
		},
	}
	e.addClientFlags(c)
	e.addOutputFlag(c)
	o.addFlags(c)
	_ = c.MarkFlagRequired("pool")
	_ = c.RegisterFlagCompletionFunc("pool", e.completePools)
	c.Flags().SetInterspersed(false)
	return c
}

func (o *submitOptions) addFlags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.pool, "pool", "", "pool of workers that build it")
	f.StringVar(&o.hint, "cache-hint", "", "builds with the same hint like the same worker")
	f.BoolVar(&o.urgent, "urgent", false, "before every build that is not urgent")
	f.StringVar(&o.repo, "repo", "", "git repository to check out (http, https, git or ssh)")
	f.StringArrayVar(&o.commits, "commit", nil, "full hash of the commit to check out; more are merged onto the first")
	o.what.addFlags(f)
	o.secrets.addFlags(f)
	f.Uint32Var(&o.slots, "slots", 1, "slots of a worker that it takes")
	f.StringArrayVar(&o.labels, "label", nil, "NAME=VALUE that the worker must have")
	f.StringVar(&o.alone, "concurrency", "", "KEY=N: at most N builds with this key run at once in the pool")
	f.Uint32Var(&o.priority, "priority", 0, "among the waiting builds of the same client: higher goes first (0 to 100)")
	f.IntSliceVar(&o.retryExits, "retry-exit-codes", nil, "exit codes of a failed build after which it is tried again, as after the loss of its worker, at most as often as the pool says")
	f.DurationVar(&o.timeout, "timeout", 0, "running time of one attempt (the pool's limit when not given)")
	f.DurationVar(&o.wait, "wait-limit", 0, "time that it may wait for a worker, each time that it waits (the pool's limit when not given)")
	f.Var((*bytesize.Size)(&o.logLimit), "log-limit", "how much of the log is kept, such as 1GiB (the pool's limit when not given)")
	f.BoolVar(&o.detach, "detach", false, "print the job id and return at once")
	f.BoolVar(&o.disconnect, "cancel-on-disconnect", false, "cancel the build when this command dies")
	f.DurationVar(&o.retryFor, "retry-for", defaultRetryFor, "how long to ride out a cluster that does not answer")
	f.StringVar(&o.requestKey, "request-key", "", "key under which a repeated submit finds the same job, for an hour")
	f.StringVar(&o.onBehalf, "client", "", "submit as this client (admin and operator capabilities)")
}

func (o *submitOptions) request(e *env, argv []string) (*pb.SubmitRequest, error) {
	spec := &pb.JobSpec{
		CacheHint: o.hint, Urgent: o.urgent, Slots: o.slots, Priority: o.priority,
		TimeLimitMs: o.timeout.Milliseconds(), WaitLimitMs: o.wait.Milliseconds(), LogLimitBytes: o.logLimit,
	}
	if err := o.what.apply(e, spec, argv); err != nil {
		return nil, err
	}
	if err := o.rules(spec); err != nil {
		return nil, err
	}
	for _, text := range o.labels {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return nil, usageError("--label %q: want NAME=VALUE", text)
		}
		spec.Labels = append(spec.Labels, &pb.Label{Name: name, Value: value})
	}
	slices.SortFunc(spec.Labels, func(a, b *pb.Label) int { return strings.Compare(a.Name, b.Name) })
	switch {
	case o.detach && o.disconnect:
		return nil, usageError("--cancel-on-disconnect is of no use with --detach: nobody stays connected")
	case o.timeout != 0 && o.timeout < time.Second:
		return nil, usageError("--timeout %v: want at least 1s", o.timeout)
	case o.wait < 0 || o.wait > 0 && o.wait < time.Second:
		return nil, usageError("--wait-limit %v: want at least 1s", o.wait)
	case o.repo != "" && len(o.commits) == 0:
		return nil, usageError("--repo needs --commit: a build must say exactly what it builds")
	case o.repo == "" && len(o.commits) > 0:
		return nil, usageError("--commit needs --repo")
	case o.repo != "":
		spec.Git = &pb.GitContext{Url: o.repo, Commits: o.commits}
	}
	key := client.NewRequestKey(e.now())
	if o.requestKey != "" {
		key.Id = o.requestKey
	}
	return &pb.SubmitRequest{Pool: o.pool, Spec: spec, Key: key, Client: o.onBehalf}, nil
}

// rules says when the build may run, and when again.
func (o *submitOptions) rules(spec *pb.JobSpec) error {
	if o.alone != "" {
		cut := strings.LastIndexByte(o.alone, '=')
		most, err := strconv.ParseUint(o.alone[cut+1:], 10, 32)
		if cut < 1 || err != nil || most == 0 {
			return usageError("--concurrency %q: want KEY=N, as deploy=1", o.alone)
		}
		spec.Concurrency = &pb.Concurrency{Key: o.alone[:cut], Most: uint32(most)}
	}
	for _, code := range o.retryExits {
		if code < 1 || code > 255 {
			return usageError("--retry-exit-codes %d: want exit codes from 1 to 255", code)
		}
		spec.RetryExitCodes = append(spec.RetryExitCodes, int32(code))
	}
	slices.Sort(spec.RetryExitCodes)
	spec.RetryExitCodes = slices.Compact(spec.RetryExitCodes)
	return nil
}

func runSubmit(c *cobra.Command, e *env, o submitOptions, argv []string) error {
	if _, err := e.printer(); err != nil {
		return err
	}
	if e.output != "text" && !o.detach {
		return usageError("-o %s: want --detach, which prints the job alone; without it the build's log is printed", e.output)
	}
	req, err := o.request(e, argv)
	if err != nil {
		return err
	}
	secrets, err := o.secrets.read(e)
	if err == nil {
		err = checkUse(req.Spec, o.what.needs, secrets)
	}
	if err != nil {
		return err
	}
	cl, err := e.client(client.Options{Patience: o.retryFor, Notice: func(line string) { e.say("%s", line) }})
	if err != nil {
		return err
	}
	defer cl.Close()
	interrupts := listen()
	defer interrupts.stop()

	ctx, giveUp := context.WithCancelCause(c.Context())
	defer giveUp(nil)
	if err := o.secrets.seal(ctx, e, cl, req, secrets); err != nil {
		return err
	}
	reply, err := submitOrInterrupt(ctx, cl, req, interrupts, giveUp)
	if err != nil {
		return err
	}
	if o.detach {
		return e.printSubmitted(reply)
	}
	e.sayJob(reply)
	return e.follow(ctx, cl, reply.Job, o.disconnect, interrupts)
}

// submitOrInterrupt submits; a signal meanwhile gives up.
func submitOrInterrupt(ctx context.Context, cl *client.Client, req *pb.SubmitRequest, interrupts *interrupts, giveUp context.CancelCauseFunc) (*pb.SubmitReply, error) {
	var reply *pb.SubmitReply
	var err error
	answered := make(chan struct{})
	go func() { // ends with the call, which giveUp ends
		defer close(answered)
		reply, err = cl.Submit(ctx, req)
	}()
	if !interrupts.next(answered) {
		return reply, err
	}
	giveUp(errInterrupted)
	<-answered
	if err != nil {
		// The cluster may have the job: the same key finds it, or makes it, and
		// either way it is cancelled.
		cl = cl.RetryFor(client.DefaultPatience)
		reply, err = cl.Submit(context.WithoutCancel(ctx), req)
	}
	if err != nil {
		return nil, &codedError{exitCancelled, fmt.Errorf("interrupted before the cluster acknowledged the job, and it does not answer now; "+
			"if it got the job, `weir jobs` lists it: %w", err)}
	}
	return cancelSubmitted(cl, reply)
}

var errInterrupted = errors.New("interrupted")

func cancelSubmitted(cl *client.Client, r *pb.SubmitReply) (*pb.SubmitReply, error) {
	_, err := cl.RetryFor(client.DefaultPatience).Jobs().Cancel(context.Background(), &pb.CancelRequest{Id: r.Job, Reason: "interrupted"})
	return nil, &codedError{exitCancelled, errors.Join(fmt.Errorf("job %d was submitted and then cancelled", r.Job), err)}
}

func (e *env) printSubmitted(r *pb.SubmitReply) error {
	out, err := e.printer()
	if err != nil {
		return err
	}
	return out.Print(r, func(t *ui.Table) { t.Line("%d", r.Job) })
}

// done tells on standard error that a change was made, unless it was not.
func (e *env) done(err error, format string, args ...any) error {
	if err == nil {
		e.say(format, args...)
	}
	return err
}

// say tells the user something on standard error.
func (e *env) say(format string, args ...any) {
	fmt.Fprintf(e.stderr, "weir: "+format+"\n", args...)
}

func (e *env) sayJob(r *pb.SubmitReply) {
	switch {
	case r.Repeat:
		e.say("job %d (found again by its request key)", r.Job)
	default:
		e.say("job %d", r.Job)
	}
}
