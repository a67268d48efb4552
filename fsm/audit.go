package fsm

import (
	"fmt"
	"iter"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/proto/pb"
)

// The audit is the newest MaxChanges administrative changes, each with who made it
// and from where. An entry is made in the command that makes the change, so there
// is never one without the other. What needs no trace: submits by a client for
// itself, cancels of its own jobs, and what the leader does by itself.

const auditLevel = 4

// draft begins the audit's entry of a command, before it is applied; nil: it is
// not one that is audited.
func (s *State) draft(c *pb.Command) *pb.Change {
	if c.GetActor() == nil || s.level < auditLevel && c.GetSetFeatureLevel().GetLevel() < auditLevel {
		return nil
	}
	d := s.describe(c)
	if d == nil {
		return nil
	}
	by := c.GetActor()
	d.Who, d.From = clip(by.GetCapability(), MaxChangeText), clip(by.GetFrom(), MaxChangeText)
	if cp, ok := s.Capability(by.GetCapability()); ok {
		d.Kind, d.KnownAs = cp.Kind, cp.Note
		if cp.Client != "" {
			d.KnownAs = cp.Client
		}
	}
	return d
}

// record keeps a draft whose command has changed something.
func (s *State) record(d *pb.Change, r Result) {
	if d == nil || r.Refusal != nil || r.Repeat {
		return
	}
	switch {
	case r.ID != "":
		d.Target = r.ID
	case r.Job != 0 && d.Target == "":
		d.Target = r.Job.String()
	}
	s.lastChange++
	d.Number, d.AtMs = s.lastChange, s.now
	d.Target, d.Detail = clip(d.Target, MaxChangeText), clip(d.Detail, MaxChangeText)
	s.changes.set(d.Number, d)
	if d.Number > MaxChanges {
		s.changes.del(d.Number - MaxChanges)
	}
}

// describe says what a command is about to change; nil: nothing that is audited.
func (s *State) describe(c *pb.Command) *pb.Change {
	switch op := c.GetOp().(type) {
	case *pb.Command_CreatePool:
		return s.poolChange("pool.create", op.CreatePool.GetName(), configText(nil, op.CreatePool.GetConfig()))
	case *pb.Command_UpdatePool:
		old, _ := s.Pool(op.UpdatePool.GetName())
		if old == nil {
			return nil
		}
		return s.poolChange("pool.set", old.Name, configText(old.Config, op.UpdatePool.GetConfig()))
	case *pb.Command_DeletePool:
		return s.poolChange("pool.delete", op.DeletePool.GetName(), "")
	case *pb.Command_PausePool:
		return s.poolChange(pausing("pool", op.PausePool.GetResume()), op.PausePool.GetName(), op.PausePool.GetReason())
	case *pb.Command_PauseWorkers:
		p := op.PauseWorkers
		return &pb.Change{Action: pausing("worker", p.GetResume()), Pool: p.GetPool(), Target: strings.Join(sortedUnique(p.GetNames()), ","), Detail: p.GetReason()}
	case *pb.Command_ForgetWorker:
		return &pb.Change{Action: "worker.forget", Pool: op.ForgetWorker.GetPool(), Target: op.ForgetWorker.GetName()}
	case *pb.Command_AddClient:
		return &pb.Change{Action: "client.add", Target: op.AddClient.GetName(), Detail: rateText(op.AddClient.GetRate())}
	case *pb.Command_RemoveClient:
		return &pb.Change{Action: "client.remove", Target: op.RemoveClient.GetName()}
	case *pb.Command_SetClientRate:
		return &pb.Change{Action: "client.set-rate", Target: op.SetClientRate.GetName(), Detail: rateText(op.SetClientRate.GetRate())}
	case *pb.Command_SetClientLimit:
		return &pb.Change{Action: "client.set-limit", Target: op.SetClientLimit.GetName(), Detail: fmt.Sprintf("max_running=%d", op.SetClientLimit.GetMaxRunning())}
	case *pb.Command_CreateCapability:
		return capabilityChange(op.CreateCapability.GetCapability())
	case *pb.Command_RevokeCapability:
		return &pb.Change{Action: "capability.revoke", Target: op.RevokeCapability.GetId()}
	case *pb.Command_SetFeatureLevel:
		return &pb.Change{Action: "cluster.feature-level", Detail: fmt.Sprint(op.SetFeatureLevel.GetLevel())}
	case *pb.Command_RecordChange:
		r := op.RecordChange
		return &pb.Change{Action: clip(r.GetAction(), MaxChangeText), Pool: clip(r.GetPool(), MaxChangeText), Target: r.GetTarget(), Detail: r.GetDetail()}
	default:
		return s.describeJob(c)
	}
}

// describeJob is describe for what others than a job's client do to it.
func (s *State) describeJob(c *pb.Command) *pb.Change {
	by, _ := s.Capability(c.GetActor().GetCapability())
	switch op := c.GetOp().(type) {
	case *pb.Command_CancelJob:
		j, ok := s.jobs.get(JobID(op.CancelJob.GetJob()))
		if !ok || by != nil && by.Client == j.Client {
			return nil
		}
		return &pb.Change{Action: "job.cancel", Pool: j.Pool, Target: j.ID.String(), Detail: joined("client="+j.Client, op.CancelJob.GetReason())}
	case *pb.Command_ExpireLease:
		id, _ := s.leases.get(LeaseID(op.ExpireLease.GetLease()))
		j, ok := s.jobs.get(id)
		if !ok {
			return nil
		}
		return &pb.Change{Action: "job.evict", Pool: j.Pool, Target: j.ID.String(), Detail: joined("worker="+j.Last().Worker, op.ExpireLease.GetMessage())}
	case *pb.Command_SubmitJob:
		if by != nil && by.Client == op.SubmitJob.GetClient() {
			return nil
		}
		return &pb.Change{Action: "job.submit", Pool: op.SubmitJob.GetPool(), Detail: "client=" + op.SubmitJob.GetClient()}
	}
	return nil
}

func (s *State) poolChange(action, pool, detail string) *pb.Change {
	return &pb.Change{Action: action, Pool: pool, Target: pool, Detail: detail}
}

func capabilityChange(c *pb.Capability) *pb.Change {
	d := &pb.Change{Action: "capability.create", Detail: "kind=" + strings.ToLower(strings.TrimPrefix(c.GetKind().String(), "CAPABILITY_"))}
	if pools := c.GetPools(); len(pools) == 1 {
		d.Pool = pools[0]
	}
	for _, part := range []string{"client=" + c.GetClient(), "pools=" + strings.Join(c.GetPools(), ","), "note=" + c.GetNote()} {
		if !strings.HasSuffix(part, "=") {
			d.Detail = joined(d.Detail, part)
		}
	}
	return d
}

func pausing(what string, resume bool) string {
	if resume {
		return what + ".unpause"
	}
	return what + ".pause"
}

func rateText(rate float64) string { return "rate=" + strconv.FormatFloat(rate, 'g', -1, 64) }

func joined(parts ...string) string { return strings.TrimSuffix(strings.Join(parts, " "), " ") }

// configText lists the fields in which a configuration differs from another, in
// the order of their numbers' declaration.
func configText(old, next *pb.PoolConfig) string {
	var parts []string
	was, is := old.ProtoReflect(), next.ProtoReflect()
	fields := is.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		switch a, b := fieldText(was, f), fieldText(is, f); {
		case a == b:
		case a == "":
			parts = append(parts, fmt.Sprintf("%s=%s", f.Name(), b))
		case b == "":
			parts = append(parts, fmt.Sprintf("%s=default (was %s)", f.Name(), a))
		default:
			parts = append(parts, fmt.Sprintf("%s=%s (was %s)", f.Name(), b, a))
		}
	}
	return strings.Join(parts, " ")
}

// fieldText is a field's value; empty: it is not set.
func fieldText(m protoreflect.Message, f protoreflect.FieldDescriptor) string {
	if !m.IsValid() || !m.Has(f) {
		return ""
	}
	if f.Enum() != nil {
		if v := f.Enum().Values().ByNumber(m.Get(f).Enum()); v != nil {
			return string(v.Name())
		}
	}
	return m.Get(f).String()
}

// recordChange is for changes that the state does not see: the audit does it all.
func (s *State) recordChange(c *pb.RecordChange) Result {
	if c.GetAction() == "" {
		return refuse(Invalid, "record a change: its action is not named")
	}
	return Result{}
}

// tell emits what happened outside of the state, and changes nothing.
func (s *State) tell(c *pb.Tell) Result {
	if n := len(c.GetHappenings()); n > MaxHappenings {
		return refuse(Invalid, "tell of %d happenings; at most %d", n, MaxHappenings)
	}
	for _, h := range c.GetHappenings() {
		kind := happeningKind(h.GetKind())
		if kind == 0 {
			continue
		}
		s.emit(Event{Kind: kind, Pool: h.GetPool(), Worker: h.GetWorker(), Message: clip(h.GetMessage(), MaxReasonLen)})
	}
	return Result{}
}

func happeningKind(k pb.HappeningKind) EventKind {
	switch k {
	case pb.HappeningKind_HAPPENING_LEADER_CHANGED:
		return LeaderChanged
	case pb.HappeningKind_HAPPENING_WORKER_CONNECTED:
		return WorkerConnected
	case pb.HappeningKind_HAPPENING_WORKER_DISCONNECTED:
		return WorkerDisconnected
	}
	return 0
}

// Changes lists the audit's entries above a number, the oldest first.
func (s *State) Changes(after uint64) iter.Seq[*pb.Change] {
	return func(yield func(*pb.Change) bool) {
		s.changes.m.Ascend(after+1, func(_ uint64, c *pb.Change) bool { return yield(c) })
	}
}

// LastChanges lists them from the newest backwards.
func (s *State) LastChanges() iter.Seq[*pb.Change] {
	return func(yield func(*pb.Change) bool) {
		s.changes.m.Reverse(func(_ uint64, c *pb.Change) bool { return yield(c) })
	}
}

// ForgottenChanges is the number up to which entries have been given up.
func (s *State) ForgottenChanges() uint64 {
	if first, _, ok := s.changes.m.Min(); ok {
		return first - 1
	}
	return s.lastChange
}

// change takes over an entry of the audit.
func (b *builder) change(c *pb.Change) error {
	what := fmt.Sprintf("change %d", c.GetNumber())
	last, _, some := b.s.changes.m.Max()
	switch {
	case c.GetNumber() == 0, c.GetNumber() > b.s.lastChange:
		return fmt.Errorf("%s: the newest is %d", what, b.s.lastChange)
	case some && c.GetNumber() != last+1:
		return misplaced(what)
	case c.GetNumber()+MaxChanges <= b.s.lastChange:
		return fmt.Errorf("%s: more than %d are kept", what, MaxChanges)
	}
	for _, text := range []string{c.GetAction(), c.GetPool(), c.GetTarget(), c.GetDetail(), c.GetWho(), c.GetFrom()} {
		if err := validateSize(what, len(text), MaxChangeText); err != nil {
			return err
		}
	}
	b.s.changes.load(c.GetNumber(), c)
	return validTimes(what, c.GetAtMs())
}
