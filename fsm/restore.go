package fsm

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
)

// maxRecord bounds one record of a snapshot: a job with the largest spec and
// attempts fits well.
const maxRecord = 2 << 20

// Restore replaces the state by the one that was written to r, and derives its
// indexes anew. It reads to the end of r. On an error, which says at which record
// and what is wrong, the state is as it was.
func (s *State) Restore(r io.Reader) error {
	d := &decoder{r: bufio.NewReaderSize(r, snapshotBuffer), b: builder{New()}}
	fresh, err := d.state()
	if err != nil {
		return fmt.Errorf("restore snapshot: %w", err)
	}
	*s = *fresh
	return nil
}

type decoder struct {
	r       *bufio.Reader
	b       builder
	buf     []byte
	section int
	jobs    jobMessages
}

// jobKind is the number of pb.SnapshotRecord's field for jobs.
const jobKind = 8

// jobMessages is what every job is decoded into: almost all records are jobs,
// and nothing of these messages is kept but what they point to.
type jobMessages struct {
	pb.SnapshotRecord
	kind   pb.SnapshotRecord_Job
	record pb.JobRecord
	view   pb.Job
}

// clear returns the messages, empty but for each other.
func (m *jobMessages) clear() *pb.SnapshotRecord {
	proto.Reset(&m.view)
	proto.Reset(&m.record)
	m.record.Job, m.kind.Job, m.Record = &m.view, &m.record, &m.kind
	return &m.SnapshotRecord
}

func (d *decoder) state() (*State, error) {
	records, err := d.header()
	if err != nil {
		return nil, fmt.Errorf("header: %w", err)
	}
	for n := range records {
		m, err := d.next()
		if errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("it is cut off after %d of %d records", n, records)
		}
		if err == nil {
			err = d.take(m)
		}
		if err != nil {
			return nil, fmt.Errorf("record %d of %d: %w", n+1, records, err)
		}
	}
	if _, err := d.r.ReadByte(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("there is more after the last of %d records", records)
	}
	return d.b.done()
}

func (d *decoder) header() (records uint64, err error) {
	m, err := d.next()
	if errors.Is(err, io.EOF) {
		return 0, errors.New("it is empty or cut off")
	}
	if err != nil {
		return 0, err
	}
	h := m.GetHeader()
	switch {
	case h == nil:
		return 0, errors.New("it is not there: this is no snapshot of a state")
	case h.GetVersion() != snapshotVersion:
		return 0, fmt.Errorf("version %d, and this binary reads %d; upgrade this node", h.GetVersion(), snapshotVersion)
	case h.GetFeatureLevel() > FeatureLevel:
		return 0, fmt.Errorf("feature level %d, and this binary has %d; upgrade this node", h.GetFeatureLevel(), FeatureLevel)
	case !plausible(h):
		return 0, errors.New("a number is out of range")
	}
	s := d.b.s
	s.level, s.now, s.lastJob, s.epoch = h.GetFeatureLevel(), h.GetNowMs(), JobID(h.GetLastJob()), h.GetEpoch()
	s.lastLease, s.lastCap, s.adminMade = h.GetLastLease(), h.GetLastCapability(), h.GetAdminMade()
	s.lastChange = h.GetLastChange()
	return h.GetRecords(), nil
}

func plausible(h *pb.SnapshotHeader) bool {
	return h.GetFeatureLevel() >= 1 && h.GetNowMs() >= 0 && h.GetNowMs() <= maxTime &&
		h.GetEpoch()>>(64-leaseCounterBits) == 0 && h.GetLastLease()>>leaseCounterBits == 0 &&
		h.GetLastJob() < maxTime && h.GetLastCapability() < maxTime && h.GetLastChange() < maxTime
}

// next reads one record. io.EOF in the error means that the input ended, also
// within a record.
func (d *decoder) next() (*pb.SnapshotRecord, error) {
	size, err := binary.ReadUvarint(d.r)
	if err != nil {
		return nil, endOfInput(err)
	}
	if size > maxRecord {
		return nil, fmt.Errorf("its length is %d bytes; at most %d", size, maxRecord)
	}
	if uint64(cap(d.buf)) < size {
		d.buf = make([]byte, size)
	}
	d.buf = d.buf[:size]
	if _, err := io.ReadFull(d.r, d.buf); err != nil {
		return nil, endOfInput(err)
	}
	m := new(pb.SnapshotRecord)
	if kind, _, _ := protowire.ConsumeTag(d.buf); kind == jobKind {
		m = d.jobs.clear()
	}
	if err := (proto.UnmarshalOptions{Merge: true}).Unmarshal(d.buf, m); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return m, nil
}

func endOfInput(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return io.EOF
	}
	return err
}

// take enters one record. The sections come in order.
func (d *decoder) take(m *pb.SnapshotRecord) error {
	switch r := m.GetRecord().(type) {
	case *pb.SnapshotRecord_Pool:
		return d.enter(1, func() error { return d.b.pool(poolOf(r.Pool)) })
	case *pb.SnapshotRecord_Client:
		return d.enter(2, func() error { return d.b.client(clientOf(r.Client.GetClient())) })
	case *pb.SnapshotRecord_Share:
		return d.enter(3, func() error { return d.b.share(shareOf(r.Share)) })
	case *pb.SnapshotRecord_Capability:
		return d.enter(4, func() error { return d.capability(r.Capability) })
	case *pb.SnapshotRecord_Worker:
		return d.enter(5, func() error { return d.worker(r.Worker) })
	case *pb.SnapshotRecord_Hint:
		return d.enter(6, func() error { return d.b.hint(hintOf(r.Hint)) })
	case *pb.SnapshotRecord_Job:
		return d.enter(7, func() error { return d.job(r.Job) })
	case *pb.SnapshotRecord_Key:
		return d.enter(8, func() error { return d.key(r.Key) })
	case *pb.SnapshotRecord_Cost:
		return d.enter(9, func() error { return d.b.cost(costOf(r.Cost)) })
	case *pb.SnapshotRecord_Change:
		return d.enter(10, func() error { return d.b.change(r.Change) })
	default:
		return errors.New("its kind is unknown; upgrade this node")
	}
}

func (d *decoder) enter(section int, record func() error) error {
	if section < d.section {
		return errors.New("its section was over")
	}
	d.section = section
	return record()
}

func (d *decoder) capability(m *pb.CapabilityRecord) error {
	token, err := digestOf("token digest", m.GetTokenSha256())
	if err != nil {
		return err
	}
	c := m.GetCapability()
	digits, _ := strings.CutPrefix(c.GetId(), capabilityPrefix)
	number, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || c.GetId() != capabilityID(number) {
		return fmt.Errorf("%s is no capability id", quote(c.GetId()))
	}
	return d.b.capability(&Capability{
		ID: c.GetId(), Kind: c.GetKind(), Client: c.GetClient(), Pools: c.GetPools(), Note: c.GetNote(),
		Token: token, Created: c.GetCreatedMs(), Revoked: c.GetRevokedMs(), number: number,
	})
}

func (d *decoder) worker(m *pb.WorkerRecord) error {
	key, err := digestOf("instance key digest", m.GetKeySha256())
	if err != nil {
		return err
	}
	w := m.GetWorker()
	return d.b.worker(&Worker{
		Pool: w.GetPool(), Name: w.GetName(), Key: key, Slots: w.GetSlots(), Labels: labelsOf(w.GetLabels()),
		Version: w.GetVersion(), FirstSeen: w.GetFirstSeenMs(), Capability: m.GetCapability(),
		Pause: pauseOf(w.GetPause()),
	})
}

func (d *decoder) key(m *pb.KeyRecord) error {
	spec, err := digestOf("spec digest", m.GetSpecSha256())
	if err != nil {
		return err
	}
	return d.b.key(&requestKey{
		client: m.GetClient(), id: m.GetId(), pool: m.GetPool(), job: JobID(m.GetJob()), spec: spec,
		made: m.GetMadeMs(),
	})
}

func (d *decoder) job(m *pb.JobRecord) error {
	j, err := jobOf(m)
	if err != nil {
		return fmt.Errorf("job %d: %w", m.GetJob().GetId(), err)
	}
	d.b.intern(j)
	return d.b.job(j)
}

func jobOf(m *pb.JobRecord) (*Job, error) {
	sum, err := digestOf("spec digest", m.GetSpecSha256())
	if err != nil {
		return nil, err
	}
	attempts, err := attemptsOf(m)
	if err != nil {
		return nil, err
	}
	v := m.GetJob()
	j := &Job{
		ID: JobID(v.GetId()), Pool: v.GetPool(), Client: v.GetClient(), Spec: m.GetSpec(), SpecSHA256: sum, Sealed: m.GetSealed(),
		RequestKey: m.GetRequestKey(), Hint: v.GetCacheHint(), Labels: labelsOf(m.GetLabels()),
		Slots: v.GetSlots(), Urgent: v.GetUrgent(), State: v.GetState(), Submitted: v.GetSubmittedMs(),
		FairStart: v.GetFairStartMs(), Charge: m.GetCostMs(), NotBefore: v.GetNotBeforeMs(),
		Lease: LeaseID(m.GetLease()), Failures: m.GetFailures(), Attempts: attempts,
		Concurrency: v.GetConcurrency().GetKey(), AtMost: v.GetConcurrency().GetMost(), Priority: v.GetPriority(),
		RetryExits: m.GetRetryExitCodes(), WaitLimit: m.GetWaitLimitMs(), Settled: v.GetSettledMs(), Outcome: v.GetOutcome(),
	}
	if v.GetCancelRequested() {
		j.Cancel = &Cancellation{Reason: m.GetCancelReason()}
	}
	return j, nil
}

func attemptsOf(m *pb.JobRecord) ([]Attempt, error) {
	views, keys := m.GetJob().GetAttempts(), m.GetAttemptKeys()
	if len(views) != len(keys) {
		return nil, fmt.Errorf("it has %d attempts and %d keys of them", len(views), len(keys))
	}
	var attempts []Attempt
	for i, v := range views {
		key, err := digestOf("instance key digest", keys[i])
		if err != nil {
			return nil, fmt.Errorf("attempt %d: %w", v.GetNumber(), err)
		}
		attempts = append(attempts, Attempt{
			No: AttemptNo(v.GetNumber()), Lease: LeaseID(v.GetLease()), Worker: v.GetWorker(), Key: key,
			Started: v.GetStartedMs(), Ended: v.GetEndedMs(), Outcome: v.GetOutcome(), Log: v.GetLog(),
			Cached: v.GetCached(), Leash: v.GetLeashMs(), Held: v.GetHeld(),
		})
	}
	return attempts, nil
}

func poolOf(m *pb.PoolRecord) *Pool {
	p := m.GetPool()
	return &Pool{Name: p.GetName(), Config: configOf(p.GetConfig()), Created: p.GetCreatedMs(), Pause: pauseOf(p.GetPause()), deleted: m.GetDeleted()}
}

func clientOf(m *pb.Client) *Client {
	return &Client{Name: m.GetName(), Rate: m.GetRate(), Created: m.GetCreatedMs(), MaxRunning: int(m.GetMaxRunning())}
}

func shareOf(m *pb.ShareRecord) *Share {
	return &Share{Pool: m.GetPool(), Client: m.GetClient(), Next: m.GetNextMs(), UrgentSince: m.GetUrgentSinceMs(), Urgents: m.GetUrgent(), Hour: hourOf(m.GetUrgentMinutes())}
}

func hintOf(m *pb.HintRecord) *Hint {
	return &Hint{Pool: m.GetPool(), Hint: m.GetHint(), Worker: m.GetWorker(), Used: m.GetUsedMs()}
}

func costOf(m *pb.CostRecord) *Cost {
	return &Cost{
		Pool: m.GetPool(), Client: m.GetClient(), Hint: m.GetHint(), Plain: m.GetPlain(),
		Cached: m.GetCachedMs(), Uncached: m.GetUncachedMs(), Used: m.GetUsedMs(),
	}
}
