package fsm

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/pb"
)

// snapshotVersion is the layout that WriteTo writes: SnapshotRecords, each after
// its length as a varint; the header, then the sections in the order of the
// record's fields, each sorted by key. Equal states give equal bytes.
const snapshotVersion = 1

const snapshotBuffer = 64 << 10

// WriteTo writes the state, in O(n): do it on a Clone where commands must not
// wait for it.
func (s *State) WriteTo(w io.Writer) (int64, error) {
	e := &encoder{w: bufio.NewWriterSize(w, snapshotBuffer)}
	e.put(&pb.SnapshotRecord{Record: &pb.SnapshotRecord_Header{Header: s.header()}})
	s.writeOperators(e)
	s.writeWorkers(e)
	s.writeJobs(e)
	s.writeKeys(e)
	s.writeCosts(e)
	for c := range s.changes.values() {
		e.put(&pb.SnapshotRecord{Record: &pb.SnapshotRecord_Change{Change: c}})
	}
	if e.err == nil {
		e.err = e.w.Flush()
	}
	if e.err != nil {
		return e.written, fmt.Errorf("write snapshot: %w", e.err)
	}
	return e.written, nil
}

func (s *State) header() *pb.SnapshotHeader {
	records := s.pools.len() + s.clients.len() + s.shares.len() + s.caps.len() + s.workers.len() +
		s.hints.len() + s.jobs.len() + s.keys.len() + s.costs.len() + s.changes.len()
	return &pb.SnapshotHeader{
		Version: snapshotVersion, FeatureLevel: s.level, NowMs: s.now, LastJob: uint64(s.lastJob),
		Epoch: s.epoch, LastLease: s.lastLease, LastCapability: s.lastCap, AdminMade: s.adminMade,
		Records: uint64(records), LastChange: s.lastChange,
	}
}

// writeOperators writes what operators made: pools, clients with their shares,
// and capabilities.
func (s *State) writeOperators(e *encoder) {
	for p := range s.pools.values() {
		e.put(&pb.SnapshotRecord{Record: &pb.SnapshotRecord_Pool{Pool: &pb.PoolRecord{
			Pool:    &pb.Pool{Name: p.Name, Config: p.Config, CreatedMs: p.Created, Pause: pausePB(p.Pause)},
			Deleted: p.deleted,
		}}})
	}
	for c := range s.clients.values() {
		e.put(&pb.SnapshotRecord{Record: &pb.SnapshotRecord_Client{Client: &pb.ClientRecord{Client: ClientPB(c)}}})
	}
	for h := range s.shares.all() {
		e.put(&pb.SnapshotRecord{Record: &pb.SnapshotRecord_Share{Share: &pb.ShareRecord{
			Pool: h.Pool, Client: h.Client, NextMs: h.Next, UrgentSinceMs: h.UrgentSince, Urgent: h.Urgents, UrgentMinutes: h.Hour.pb(),
		}}})
	}
	for c := range s.caps.values() {
		e.put(&pb.SnapshotRecord{Record: &pb.SnapshotRecord_Capability{Capability: &pb.CapabilityRecord{
			Capability: CapabilityPB(c), TokenSha256: c.Token[:],
		}}})
	}
}

func (s *State) writeWorkers(e *encoder) {
	for w := range s.workers.all() {
		m := WorkerPB(w)
		m.Running = 0 // derived
		e.put(&pb.SnapshotRecord{Record: &pb.SnapshotRecord_Worker{Worker: &pb.WorkerRecord{
			Worker: m, KeySha256: w.Key[:], Capability: w.Capability,
		}}})
	}
	m := new(pb.HintRecord)
	record := &pb.SnapshotRecord{Record: &pb.SnapshotRecord_Hint{Hint: m}}
	for h := range s.hints.all() {
		m.Pool, m.Hint, m.Worker, m.UsedMs = h.Pool, h.Hint, h.Worker, h.Used
		e.put(record)
	}
}

// writeJobs fills one message again and again: there may be a million jobs, and
// the garbage would slow the commands beside it.
func (s *State) writeJobs(e *encoder) {
	m := &pb.JobRecord{Job: new(pb.Job)}
	record := &pb.SnapshotRecord{Record: &pb.SnapshotRecord_Job{Job: m}}
	for j := range s.jobs.values() {
		fillJob(m.Job, j)
		m.Spec, m.SpecSha256, m.Sealed, m.RequestKey = j.Spec, j.SpecSHA256[:], j.Sealed, j.RequestKey
		m.Labels, m.Lease, m.CostMs, m.Failures = labelsPB(j.Labels), uint64(j.Lease), j.Charge, j.Failures
		m.AttemptKeys = m.AttemptKeys[:0]
		for i := range j.Attempts {
			m.AttemptKeys = append(m.AttemptKeys, j.Attempts[i].Key[:])
		}
		m.WaitLimitMs, m.RetryExitCodes = j.WaitLimit, j.RetryExits
		m.CancelReason = ""
		if j.Cancel != nil {
			m.CancelReason = j.Cancel.Reason
		}
		e.put(record)
	}
}

func (s *State) writeKeys(e *encoder) {
	m := new(pb.KeyRecord)
	record := &pb.SnapshotRecord{Record: &pb.SnapshotRecord_Key{Key: m}}
	for k := range s.keys.all() {
		m.Client, m.Id, m.Pool = k.client, k.id, k.pool
		m.Job, m.SpecSha256, m.MadeMs = uint64(k.job), k.spec[:], k.made
		e.put(record)
	}
}

func (s *State) writeCosts(e *encoder) {
	m := new(pb.CostRecord)
	record := &pb.SnapshotRecord{Record: &pb.SnapshotRecord_Cost{Cost: m}}
	for c := range s.costs.all() {
		m.Pool, m.Client, m.Hint, m.Plain = c.Pool, c.Client, c.Hint, c.Plain
		m.CachedMs, m.UncachedMs, m.UsedMs = c.Cached, c.Uncached, c.Used
		e.put(record)
	}
}

// encoder writes records until the first error, which it keeps.
type encoder struct {
	w       *bufio.Writer
	buf     []byte
	written int64
	err     error
}

func (e *encoder) put(m *pb.SnapshotRecord) {
	if e.err != nil {
		return
	}
	var length [binary.MaxVarintLen64]byte
	if e.buf, e.err = (proto.MarshalOptions{Deterministic: true}).MarshalAppend(e.buf[:0], m); e.err != nil {
		return
	}
	e.write(binary.AppendUvarint(length[:0], uint64(len(e.buf))))
	e.write(e.buf)
}

func (e *encoder) write(p []byte) {
	if e.err != nil {
		return
	}
	var n int
	n, e.err = e.w.Write(p)
	e.written += int64(n)
}
