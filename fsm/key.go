package fsm

import (
	"time"

	"github.com/weirbuild/weir/proto/pb"
)

// checkKey answers a submit whose request key was seen before, and refuses one
// whose key is too old to tell. A key is forgotten only when it would be refused
// as too old: so a repeat never makes a second job.
func (s *State) checkKey(j *Job, key *pb.RequestKey) (r Result, answered bool) {
	if key.GetId() == "" {
		return Result{}, false
	}
	if err := ValidateRequestKey(key.GetId()); err != nil {
		return refuse(Invalid, "submit: %v", err), true
	}
	made := key.GetCreatedMs()
	switch {
	case made <= 0:
		return refuse(Invalid, "submit: request key %s does not say when it was made", quote(key.GetId())), true
	case s.now-made > KeyWindow:
		return refuse(TooOld, "request key %s was made %v ago and keys are remembered for %v: whether it made a job is unknown; look for the job, or submit with a new key", quote(key.GetId()), millis(s.now-made), millis(KeyWindow)), true
	case made-s.now > MaxKeySkew:
		return refuse(Invalid, "request key %s was made %v in the future of the cluster's time; set the client's clock", quote(key.GetId()), millis(made-s.now)), true
	}
	s.probe.key.client, s.probe.key.id = j.Client, key.GetId()
	k, ok := s.keys.get(&s.probe.key)
	if !ok {
		return Result{}, false
	}
	if k.spec != j.SpecSHA256 || k.pool != j.Pool {
		return refuse(Conflict, "request key %s of client %s was used before for another job, %d; submit with a new key", quote(k.id), k.client, k.job), true
	}
	return Result{Job: k.job, Repeat: true}, true
}

// rememberKey binds the request key to the job for KeyWindow, counted from now or
// from the key's own time, whichever is later.
func (s *State) rememberKey(j *Job, key *pb.RequestKey) {
	if j.RequestKey == "" {
		return
	}
	s.linkKey(&requestKey{
		client: j.Client, id: j.RequestKey, pool: j.Pool, job: j.ID, spec: j.SpecSHA256,
		made: max(s.now, key.GetCreatedMs()),
	})
}

func (s *State) linkKey(k *requestKey) {
	s.keys.load(k)
	s.keysByAge.load(k)
	n, _ := s.keyCounts.get(k.client)
	s.keyCounts.set(k.client, n+1)
}

// forgetKeys drops keys that are too old to be asked for.
func (s *State) forgetKeys() {
	for range dueBatch {
		k, ok := s.keysByAge.min()
		if !ok || s.now-k.made <= KeyWindow {
			return
		}
		s.keysByAge.del(k)
		s.keys.del(k)
		if n, _ := s.keyCounts.get(k.client); n > 1 {
			s.keyCounts.set(k.client, n-1)
		} else {
			s.keyCounts.del(k.client)
		}
	}
}

func millis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
