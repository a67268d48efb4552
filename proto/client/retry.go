package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

const (
	firstPause = 50 * time.Millisecond
	longPause  = time.Second

	noticeEvery = 10 * time.Second
)

// try is the patience of one call.
type try struct {
	ctx     context.Context
	stop    context.CancelFunc
	pause   time.Duration
	notices *notices
}

// notices tells of each cause once in a while, whichever calls meet it.
type notices struct {
	tell func(string) // may be nil

	mu   sync.Mutex
	told map[string]time.Time
}

func (n *notices) note(why string) {
	if n.tell == nil {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if last, ok := n.told[why]; ok && now.Sub(last) < noticeEvery {
		return
	}
	if n.told == nil {
		n.told = make(map[string]time.Time) // of a few texts
	}
	n.told[why] = now
	n.tell(why)
}

func (c *Client) newTry(ctx context.Context) *try {
	t := &try{pause: firstPause, notices: c.notices}
	t.ctx, t.stop = context.WithTimeout(ctx, c.patience)
	return t
}

// again pauses and says whether to try once more.
func (t *try) again(err error) bool {
	if t.ctx.Err() != nil {
		return false
	}
	t.notices.note(passing(err))
	timer := time.NewTimer(t.pause/2 + rand.N(t.pause))
	defer timer.Stop()
	t.pause = min(2*t.pause, longPause)
	select {
	case <-t.ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// repeatable are the calls that may be made twice: reads, and the writes that
// the cluster recognises when they come again.
var repeatable = map[string]bool{
	pb.JobService_Submit_FullMethodName:             true,
	pb.JobService_GetJob_FullMethodName:             true,
	pb.JobService_ListJobs_FullMethodName:           true,
	pb.JobService_Explain_FullMethodName:            true,
	pb.JobService_Cancel_FullMethodName:             true,
	pb.JobService_Watch_FullMethodName:              true,
	pb.JobService_ReadLog_FullMethodName:            true,
	pb.JobService_WatchSettled_FullMethodName:       true,
	pb.JobService_SubmitStream_FullMethodName:       true, // opening it submits nothing
	pb.AdminService_AdminInit_FullMethodName:        true, // the same token is recognised
	pb.AdminService_CreateCapability_FullMethodName: true, // likewise
	pb.AdminService_ListPools_FullMethodName:        true,
	pb.AdminService_GetPool_FullMethodName:          true,
	pb.AdminService_ListClients_FullMethodName:      true,
	pb.AdminService_ListCapabilities_FullMethodName: true,
	pb.AdminService_ListWorkers_FullMethodName:      true,
	pb.AdminService_UpdatePool_FullMethodName:       true,
	pb.AdminService_ShowPool_FullMethodName:         true,
	pb.AdminService_ShowWorker_FullMethodName:       true,
	pb.AdminService_UpdateWorker_FullMethodName:     true, // the process that is meant hears it once
	pb.AdminService_ListChanges_FullMethodName:      true,
	pb.JobService_WatchEvents_FullMethodName:        true,
	pb.Membership_Status_FullMethodName:             true,
	pb.Membership_ListMembers_FullMethodName:        true,
}

// retryable says whether a failed call may be made again, on any node.
func retryable(method string, err error) bool {
	var unreached *unreachedError
	if errors.As(err, &unreached) {
		return true
	}
	switch status.Code(err) {
	case codes.Unavailable:
		switch Reason(err) {
		case reason.NoLeader, reason.Empty, reason.Busy: // nothing has happened
			return true
		}
		return repeatable[method]
	case codes.DeadlineExceeded:
		return repeatable[method]
	}
	return false
}

// elsewhere says whether another node may do better. A busy leader stays the
// leader.
func elsewhere(err error) bool {
	return status.Code(err) == codes.Unavailable && Reason(err) != reason.Busy
}

func passing(err error) string {
	var unreached *unreachedError
	if errors.As(err, &unreached) {
		return "no node answers; trying again"
	}
	switch Reason(err) {
	case reason.NoLeader:
		return "the cluster has no leader at the moment; trying again"
	case reason.Empty:
		return "the node is empty and waits for its cluster; trying another"
	case reason.Busy:
		return "the cluster is busy: too many changes are waiting; trying again"
	}
	return "the node went away; trying another"
}
