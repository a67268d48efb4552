package workerd

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
	"github.com/weirbuild/weir/workerd/executor"
)

// saveKeys writes the worker's capability with these keys.
func (b *bench) saveKeys(keys ...seal.Key) {
	b.t.Helper()
	var texts []string
	for _, k := range keys {
		texts = append(texts, k.Reveal())
	}
	file := b.cluster.Save(b.t, b.dir)
	c, err := capability.Load(file)
	if err == nil {
		c, err = c.WithValues(capability.ParamKey, texts...)
	}
	if err == nil {
		err = c.Save(file)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

func newKey(t *testing.T) seal.Key {
	t.Helper()
	k, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// grantSealed grants a job that prints its secret; change is what somebody does to
// it on the way.
func (b *bench) grantSealed(lease uint64, k seal.Key, change func(*pb.JobSpec)) {
	b.t.Helper()
	spec := &pb.JobSpec{Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"tell"}}}}
	if err := seal.Seal(k.Recipient(), "p", spec, map[string][]byte{"token": []byte("hunter2")}); err != nil {
		b.t.Fatal(err)
	}
	box := spec.Sealed.Box
	spec = seal.WithoutBox(spec)
	change(spec)
	bytes, err := proto.Marshal(spec)
	if err != nil {
		b.t.Fatal(err)
	}
	b.send(&pb.NodeMessage{Grants: []*pb.Grant{{Lease: lease, Job: 100 + lease, Attempt: 1, Pool: "p", Spec: bytes, Sealed: box}}})
}

// teller is an executor whose job prints its secret, in two writes.
type teller struct{ *script }

func (e teller) Run(ctx context.Context, t executor.Task, out io.Writer) (*pb.Outcome, error) {
	if t.Spec.GetCommand().Argv[0] != "tell" {
		return e.script.Run(ctx, t, out)
	}
	value := string(t.Secrets["token"])
	if _, err := fmt.Fprintf(out, "it has %d bytes: %s", len(value), value[:len(value)/2]); err != nil {
		return nil, err
	}
	_, err := fmt.Fprintln(out, value[len(value)/2:])
	return &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}, err
}

func TestSealedSecretsReachTheJobAndNotTheLog(t *testing.T) {
	b := newBench(t)
	old, key := newKey(t), newKey(t)
	hello := b.startTelling(old)
	if !slices.Equal(hello.Keys, []string{old.ID()}) {
		t.Errorf("it announces %q, want %s", hello.Keys, old.ID())
	}
	none := func(*pb.JobSpec) {}
	b.grantSealed(1, old, none)
	if o := b.result(1); o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("outcome: %v", o)
	}
	if text := b.sealed(1); !strings.Contains(text, "it has 7 bytes: ***\n") {
		t.Errorf("log: %q", text)
	}
	b.grantSealed(2, old, func(s *pb.JobSpec) { s.CacheHint = "changed" })
	if o := b.result(2); o.Kind != pb.OutcomeKind_OUTCOME_FAILED || !strings.Contains(o.Message, "sealed for another job") {
		t.Errorf("a job that was changed on the way: %v", o)
	}
	b.grantSealed(3, key, none)
	if o := b.result(3); o.Kind != pb.OutcomeKind_OUTCOME_WORKER_ERROR || !strings.Contains(o.Message, key.ID()) {
		t.Errorf("a job that is sealed to a key which it does not hold: %v", o)
	}
}

// A worker that reads its capability again tells the cluster of its new keys, keeps
// what runs, and opens what was sealed to any of them.
func TestReloadTakesNewKeysAndKeepsJobs(t *testing.T) {
	b := newBench(t)
	old, key := newKey(t), newKey(t)
	b.startTelling(old)
	b.grant(7, "wait")
	b.runs(7)

	b.saveKeys(key, old)
	if err := b.worker.Reload(); err != nil {
		t.Fatal(err)
	}
	hello := b.hello()
	if !slices.Equal(hello.Keys, []string{key.ID(), old.ID()}) || len(hello.Running) != 1 || hello.Running[0].Lease != 7 {
		t.Errorf("the new hello: keys %q, running %v", hello.Keys, hello.Running)
	}
	for lease, k := range map[uint64]seal.Key{8: old, 9: key} {
		b.grantSealed(lease, k, func(*pb.JobSpec) {})
		if o := b.result(lease); o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
			t.Errorf("sealed to %v: %v", k, o)
		}
	}
	close(b.script.release)
	if o := b.result(7); o.Kind != pb.OutcomeKind_OUTCOME_SUCCEEDED {
		t.Errorf("what ran: %v", o)
	}
}

// startTelling starts a worker that holds the key.
func (b *bench) startTelling(k seal.Key) *pb.WorkerHello {
	b.t.Helper()
	b.build = func(Env) (map[string]executor.Executor, error) {
		return map[string]executor.Executor{"command": teller{b.script}}, nil
	}
	return b.start(func(c *Config) { c.keys = []seal.Key{k} })
}

func TestACapabilityThatCameAsALineCannotBeReadAgain(t *testing.T) {
	b := newBench(t)
	b.start(func(c *Config) { c.file = "" })
	if err := b.worker.Reload(); err == nil || !strings.Contains(err.Error(), "--connect FILE") {
		t.Errorf("reload: %v", err)
	}
}
