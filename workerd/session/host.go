package session

import "github.com/weirbuild/weir/proto/pb"

// Host is the worker whose state a session reports. Its methods are called from
// the session's goroutines, one session at a time, and must not block.
type Host interface {
	// Running returns the attempts that were accepted and have no result yet.
	Running() []*pb.RunningAttempt
	// HighestLease returns the highest lease number ever recorded.
	HighestLease() uint64
	// Status says whether the worker takes new jobs.
	Status() *pb.WorkerStatus
	// Results returns every result that the cluster has not acknowledged. An
	// attempt is in Running or in Results until it is acknowledged, never in none.
	Results() []*pb.FinishedAttempt

	// Welcome is called when the cluster has let the worker in. An error says
	// that this is not the worker's cluster, and ends the session for good.
	Welcome(*pb.Welcome) error
	// Grants, Stops and FinishAcks bring what the cluster decided. A grant may
	// come again for a lease that is known already.
	Grants([]*pb.Grant)
	Stops([]*pb.Stop)
	FinishAcks([]*pb.FinishAck)
}
