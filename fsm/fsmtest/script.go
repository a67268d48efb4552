package fsmtest

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
)

// Parse makes a command of one line: a verb, then words "name=value" or, for
// flags, "name". A value with spaces is quoted as in Go.
//
//	pool NAME attempts=2 backoff_ms=1000 ..      any field of PoolConfig; pool-set too, pool-delete NAME
//	client NAME rate=2                           also client-rate NAME rate=2, client-remove NAME
//	worker POOL NAME slots=4 label=os=linux key=other replace
//	submit CLIENT POOL key=K made=1 hint=H urgent slots=2 label=os=linux grant=W leash=MS wait=MS spec=TEXT
//	       concurrency=KEY most=N priority=N retry=1,2 sliding
//	client-limit NAME most=N                     free LEASE
//	grant JOB WORKER leash=MS for=JOB                             forget POOL WORKER
//	finish LEASE POOL WORKER OUTCOME exit=1 message="no space" output=X key=other
//	expire LEASE OUTCOME message=TEXT            cancel JOB reason=TEXT
//	seal LEASE [POOL WORKER] bytes=5 log=TEXT on=n1,n2
//	move JOB ATTEMPT on=n1,n2                    expire-log JOB ATTEMPT
//	trim JOB ..                                  tick
//	cap KIND token=T client=C pools=a,b note=N first      revoke ID
//	pause POOL WORKER .. reason=TEXT resume      pause-pool POOL reason=TEXT resume
//	level N                                      epoch
func Parse(line string) (*pb.Command, error) {
	w, err := split(line)
	if err != nil {
		return nil, err
	}
	verb, ok := verbs[w.verb]
	if !ok {
		return nil, fmt.Errorf("unknown command %q", w.verb)
	}
	c := verb(w)
	if w.err == nil && len(w.named) > 0 {
		w.err = fmt.Errorf("%s does not take %v", w.verb, w.named)
	}
	return c, w.err
}

var verbs = map[string]func(*words) *pb.Command{
	"pool": func(w *words) *pb.Command { return CreatePool(w.arg(), w.config()) },
	"pool-set": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_UpdatePool{UpdatePool: &pb.UpdatePool{Name: w.arg(), Base: w.base(), Config: w.config()}}}
	},
	"pool-delete": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_DeletePool{DeletePool: &pb.DeletePool{Name: w.arg()}}}
	},
	"client": func(w *words) *pb.Command { return AddClient(w.arg(), w.float("rate")) },
	"client-rate": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_SetClientRate{SetClientRate: &pb.SetClientRate{Name: w.arg(), Rate: w.float("rate")}}}
	},
	"client-remove": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_RemoveClient{RemoveClient: &pb.RemoveClient{Name: w.arg()}}}
	},
	"worker": parseWorker,
	"forget": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_ForgetWorker{ForgetWorker: &pb.ForgetWorker{Pool: w.arg(), Name: w.arg()}}}
	},
	"submit": parseSubmit,
	"grant": func(w *words) *pb.Command {
		c := Grant(fsm.JobID(w.id()), w.arg())
		c.GetGrantLease().LeashMs, c.GetGrantLease().InPlaceOf = w.number("leash"), uint64(w.number("for"))
		return c
	},
	"free": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_FreePermit{FreePermit: &pb.FreePermit{Lease: w.id()}}}
	},
	"client-limit": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_SetClientLimit{SetClientLimit: &pb.SetClientLimit{Name: w.arg(), MaxRunning: w.number("most")}}}
	},
	"finish": parseFinish,
	"expire": func(w *words) *pb.Command {
		return Expire(fsm.LeaseID(w.id()), w.outcome(), w.text("message"))
	},
	"cancel": func(w *words) *pb.Command { return Cancel(fsm.JobID(w.id()), w.text("reason")) },
	"seal":   parseSeal,
	"move": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_MoveLog{MoveLog: &pb.MoveLog{Job: w.id(), Attempt: uint32(w.id()), Holders: w.list("on")}}}
	},
	"expire-log": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_ExpireLog{ExpireLog: &pb.ExpireLog{Job: w.id(), Attempt: uint32(w.id())}}}
	},
	"trim": func(w *words) *pb.Command {
		c := &pb.Trim{}
		for len(w.args) > 0 {
			c.Jobs = append(c.Jobs, w.id())
		}
		return &pb.Command{Op: &pb.Command_Trim{Trim: c}}
	},
	"pause": func(w *words) *pb.Command {
		c := &pb.PauseWorkers{Pool: w.arg(), Resume: w.flag("resume"), Reason: w.text("reason"), Names: w.args}
		w.args = nil
		return &pb.Command{Op: &pb.Command_PauseWorkers{PauseWorkers: c}}
	},
	"pause-pool": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_PausePool{PausePool: &pb.PausePool{Name: w.arg(), Resume: w.flag("resume"), Reason: w.text("reason")}}}
	},
	"tick": func(*words) *pb.Command { return Tick() },
	"cap":  parseCapability,
	"revoke": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_RevokeCapability{RevokeCapability: &pb.RevokeCapability{Id: w.arg()}}}
	},
	"level": func(w *words) *pb.Command {
		return &pb.Command{Op: &pb.Command_SetFeatureLevel{SetFeatureLevel: &pb.SetFeatureLevel{Level: uint32(w.id())}}}
	},
	"epoch": func(*words) *pb.Command { return &pb.Command{Op: &pb.Command_BumpEpoch{BumpEpoch: &pb.BumpEpoch{}}} },
}

func parseWorker(w *words) *pb.Command {
	c := RegisterWorker(w.arg(), w.arg(), uint32(w.number("slots")), w.labels()...)
	op := c.GetRegisterWorker()
	if key := w.text("key"); key != "" {
		op.KeySha256 = Sum(key)
	}
	op.Replace = w.flag("replace")
	return c
}

func parseSubmit(w *words) *pb.Command {
	return Submit(w.arg(), w.arg(), w.text("key"), func(c *pb.SubmitJob) {
		if spec := w.text("spec"); spec != "" {
			c.Spec = Spec(spec)
			c.SpecSha256 = Sum(string(c.Spec))
		}
		if made := w.number("made"); made != 0 {
			c.Key.CreatedMs = made
		}
		c.CacheHint, c.Urgent, c.Slots = w.text("hint"), w.flag("urgent"), uint32(w.number("slots"))
		c.Labels, c.GrantTo, c.Sealed = w.labels(), w.text("grant"), []byte(w.text("sealed"))
		c.WaitLimitMs, c.LeashMs, c.SlidingHour, c.Priority = w.number("wait"), w.number("leash"), w.flag("sliding"), uint32(w.number("priority"))
		if key := w.text("concurrency"); key != "" {
			c.Concurrency = &pb.Concurrency{Key: key, Most: uint32(w.number("most"))}
		}
		for _, code := range w.list("retry") {
			n, _ := strconv.ParseInt(code, 10, 32)
			c.RetryExitCodes = append(c.RetryExitCodes, int32(n))
		}
	})
}

func parseFinish(w *words) *pb.Command {
	lease, holder := fsm.LeaseID(w.id()), Holder(w.arg(), w.arg())
	c := Finish(lease, holder, w.outcome())
	if key := w.text("key"); key != "" {
		holder.KeySha256 = Sum(key)
	}
	out := c.GetFinishAttempt().GetOutcome()
	out.ExitCode, out.Signal = int32(w.number("exit")), w.text("signal")
	out.Message, out.Output = w.text("message"), w.text("output")
	return c
}

func parseSeal(w *words) *pb.Command {
	c := Seal(fsm.LeaseID(w.id()), nil, w.number("bytes"))
	op := c.GetSealLog()
	if len(w.args) > 0 {
		op.Holder = Holder(w.arg(), w.arg())
	}
	op.Sha256, op.Holders = Sum(w.text("log")), w.list("on")
	return c
}

func parseCapability(w *words) *pb.Command {
	kind := pb.CapabilityKind_value["CAPABILITY_"+strings.ToUpper(w.arg())]
	return &pb.Command{Op: &pb.Command_CreateCapability{CreateCapability: &pb.CreateCapability{
		Capability: &pb.Capability{
			Kind: pb.CapabilityKind(kind), Client: w.text("client"), Pools: w.list("pools"), Note: w.text("note"),
		},
		TokenSha256: Sum(w.text("token")), FirstAdmin: w.flag("first"),
	}}}
}

// base is the configuration of base=KNOB:VALUE,KNOB:VALUE; nil without it.
func (w *words) base() *pb.PoolConfig {
	if _, ok := w.named["base"]; !ok {
		return nil
	}
	base := &words{verb: w.verb, named: map[string][]string{}}
	for _, knob := range w.list("base") {
		name, value, _ := strings.Cut(knob, ":")
		base.named[name] = []string{value}
	}
	c := base.config()
	if base.err != nil {
		w.err = base.err
	}
	return c
}

// config takes every remaining word for a field of PoolConfig.
func (w *words) config() *pb.PoolConfig {
	c := &pb.PoolConfig{}
	m := c.ProtoReflect()
	for name, values := range w.named {
		f := m.Descriptor().Fields().ByName(protoreflect.Name(name))
		if f != nil && f.Kind() == protoreflect.StringKind {
			m.Set(f, protoreflect.ValueOfString(values[0]))
			continue
		}
		n, err := strconv.ParseInt(values[0], 10, 64)
		if f == nil || err != nil {
			w.fail("no such setting of a pool: %s=%s", name, values[0])
			continue
		}
		switch f.Kind() {
		case protoreflect.Uint32Kind:
			m.Set(f, protoreflect.ValueOfUint32(uint32(n)))
		case protoreflect.EnumKind:
			m.Set(f, protoreflect.ValueOfEnum(protoreflect.EnumNumber(n)))
		default:
			m.Set(f, protoreflect.ValueOfInt64(n))
		}
	}
	clear(w.named)
	return c
}
