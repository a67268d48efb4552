package client

import (
	"bytes"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

const settled = pb.JobState_JOB_STATE_SETTLED

// brokenLog serves a log in small pieces, breaks off at random, and now and
// then begins before the wanted byte, as a node that reads whole chunks may.
func brokenLog(log []byte, rnd *rand.Rand, breaks *atomic.Int64) func(*pb.ReadLogRequest, pb.JobService_ReadLogServer) error {
	return func(r *pb.ReadLogRequest, s pb.JobService_ReadLogServer) error {
		at := max(r.Offset-int64(rnd.IntN(3)), 0)
		for at < int64(len(log)) {
			if rnd.IntN(4) == 0 {
				breaks.Add(1)
				return noLeader
			}
			end := min(at+1+int64(rnd.IntN(40)), int64(len(log)))
			if err := s.Send(&pb.LogData{Attempt: 1, Offset: at, Data: log[at:end]}); err != nil {
				return err
			}
			at = end
		}
		return s.Send(&pb.LogData{Attempt: 1, Offset: at, Complete: true})
	}
}

func TestTailLosesAndRepeatsNothing(t *testing.T) {
	for seed := range uint64(4) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		log := make([]byte, 600)
		for i := range log {
			log[i] = byte('a' + i%26)
		}
		var breaks atomic.Int64
		read := brokenLog(log, rnd, &breaks)
		cl := newCluster(t, &fakeNode{readLog: read}, &fakeNode{readLog: read}).client(t, Options{Patience: 20 * time.Second})
		var got bytes.Buffer
		complete := false
		err := cl.Tail(t.Context(), &pb.ReadLogRequest{Job: 1, Follow: true}, func(d *pb.LogData) error {
			got.Write(d.Data)
			complete = d.Complete
			return nil
		})
		if err != nil || !complete || !bytes.Equal(got.Bytes(), log) {
			t.Fatalf("seed %d: %d of %d bytes, complete %v, equal %v after %d breaks: %v",
				seed, got.Len(), len(log), complete, bytes.Equal(got.Bytes(), log), breaks.Load(), err)
		}
	}
}

func TestTailRefusesAGap(t *testing.T) {
	a := &fakeNode{readLog: func(_ *pb.ReadLogRequest, s pb.JobService_ReadLogServer) error {
		return s.Send(&pb.LogData{Attempt: 1, Offset: 10, Data: []byte("late")})
	}}
	err := newCluster(t, a).client(t, Options{}).Tail(t.Context(), &pb.ReadLogRequest{Job: 1}, func(*pb.LogData) error { return nil })
	if err == nil {
		t.Error("a log with a hole was taken as whole")
	}
}

// story is a follower that keeps everything.
type story struct {
	states []pb.JobState
	log    bytes.Buffer
}

func (s *story) Event(e *pb.JobEvent) error { s.states = append(s.states, e.Job.State); return nil }
func (s *story) Log(d *pb.LogData) error    { s.log.Write(d.Data); return nil }

// Follow goes from a lost attempt to the next, and ends with the last one's log.
func TestFollowOverTwoAttempts(t *testing.T) {
	lost := &pb.Attempt{Number: 1, Worker: "w1", Outcome: &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_WORKER_RESTARTED}}
	second := &pb.Attempt{Number: 2, Worker: "w2"}
	ended := &pb.Attempt{Number: 2, Worker: "w2", Outcome: &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}}
	jobs := []*pb.Job{
		{Id: 1, State: pb.JobState_JOB_STATE_QUEUED},
		{Id: 1, State: pb.JobState_JOB_STATE_RUNNING, Attempts: []*pb.Attempt{{Number: 1, Worker: "w1"}}},
		{Id: 1, State: pb.JobState_JOB_STATE_RUNNING, Attempts: []*pb.Attempt{lost, second}},
		{Id: 1, State: settled, Attempts: []*pb.Attempt{lost, ended}, Outcome: ended.Outcome},
	}
	logs := map[uint32]string{1: "first ", 2: "second"}
	var told atomic.Int64
	node := &fakeNode{
		// Each stream tells two changes and breaks.
		watch: func(_ *pb.WatchRequest, s pb.JobService_WatchServer) error {
			for range 2 {
				i := min(int(told.Add(1))-1, len(jobs)-1)
				if err := s.Send(&pb.JobEvent{Job: jobs[i]}); err != nil || i == len(jobs)-1 {
					return err
				}
			}
			return noLeader
		},
		readLog: func(r *pb.ReadLogRequest, s pb.JobService_ReadLogServer) error {
			return s.Send(&pb.LogData{Attempt: r.Attempt, Data: []byte(logs[r.Attempt]), Complete: true})
		},
	}
	var got story
	job, err := newCluster(t, node).client(t, Options{Patience: 10 * time.Second}).Follow(t.Context(), &pb.WatchRequest{Id: 1}, &got)
	if err != nil {
		t.Fatal(err)
	}
	if job.State != settled || got.log.String() != "first second" {
		t.Errorf("ended %v with log %q", job.State, got.log.String())
	}
	if n := len(got.states); n < 3 || got.states[0] != pb.JobState_JOB_STATE_QUEUED || got.states[n-1] != settled {
		t.Errorf("the states were %v", got.states)
	}
}

func TestFollowEndsWhenTheWatchIsRefused(t *testing.T) {
	a := &fakeNode{watch: func(*pb.WatchRequest, pb.JobService_WatchServer) error {
		return refusal(codes.NotFound, reason.Expired)
	}}
	_, err := newCluster(t, a).client(t, Options{}).Follow(t.Context(), &pb.WatchRequest{Id: 1}, &story{})
	if err == nil {
		t.Error("following a job that is gone succeeded")
	}
}

// over is a watch of a job that has ended.
func over(_ *pb.WatchRequest, s pb.JobService_WatchServer) error {
	ended := &pb.Attempt{Number: 1, Worker: "w1", Outcome: &pb.Outcome{Kind: pb.OutcomeKind_OUTCOME_SUCCEEDED}}
	return s.Send(&pb.JobEvent{Job: &pb.Job{Id: 1, State: settled, Attempts: []*pb.Attempt{ended}, Outcome: ended.Outcome}})
}

// slowStory takes its time for every piece, and keeps the last word.
type slowStory struct {
	story
	pause time.Duration
	why   string
}

func (s *slowStory) Log(d *pb.LogData) error {
	<-time.After(s.pause)
	s.why = d.IncompleteWhy
	return s.story.Log(d)
}

// A slow terminal gets the whole log of a job that ended long ago.
func TestFollowGivesASlowTakerTheWholeLog(t *testing.T) {
	const grace = 100 * time.Millisecond
	node := &fakeNode{watch: over, readLog: func(_ *pb.ReadLogRequest, s pb.JobService_ReadLogServer) error {
		for i := range int64(5) {
			if err := s.Send(&pb.LogData{Attempt: 1, Offset: i, Data: []byte("x"), Complete: i == 4}); err != nil {
				return err
			}
		}
		return nil
	}}
	got := &slowStory{pause: 2 * grace}
	_, err := newCluster(t, node).client(t, Options{}).follow(t.Context(), &pb.WatchRequest{Id: 1}, got, func(*pb.Attempt) time.Duration { return grace })
	if err != nil || got.log.String() != "xxxxx" || got.why != "" {
		t.Errorf("got %q, %q, %v", got.log.String(), got.why, err)
	}
}

// A log whose rest does not come ends with a word about it.
func TestFollowTellsOfALogWithoutEnd(t *testing.T) {
	node := &fakeNode{watch: over, readLog: func(_ *pb.ReadLogRequest, s pb.JobService_ReadLogServer) error {
		if err := s.Send(&pb.LogData{Attempt: 1, Data: []byte("begin")}); err != nil {
			return err
		}
		<-s.Context().Done()
		return s.Context().Err()
	}}
	got := &slowStory{}
	job, err := newCluster(t, node).client(t, Options{}).follow(t.Context(), &pb.WatchRequest{Id: 1}, got, func(*pb.Attempt) time.Duration { return 100 * time.Millisecond })
	if err != nil || job.GetState() != settled || got.log.String() != "begin" || got.why == "" {
		t.Errorf("got %q, %q, %v, %v", got.log.String(), got.why, job, err)
	}
}
