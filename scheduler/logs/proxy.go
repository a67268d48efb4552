package logs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weirbuild/weir/proto/logpack"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/logstore"
)

// unavailable is an answer that another node, or a later try, may better.
func unavailable(format string, args ...any) error {
	return status.Errorf(codes.Unavailable, format, args...)
}

// errSplit is an answer that does not go on where the last one ended.
var errSplit = errors.New("the answer does not go on where the reader is")

// errSilent is a node that has a log, and sends nothing of it.
var errSilent = fmt.Errorf("it has sent nothing for %v", pullStall)

func silence(ctx context.Context) error {
	if context.Cause(ctx) == errSilent {
		return errSilent
	}
	return nil
}

// proxy passes on what another node sends of the log, which goes on at the next
// byte whatever node sent the last. done: the reader has had the last message,
// or err is for the reader. A node that has all of the log is whole; when it is
// silent it hangs, and the others are asked sooner than its connection breaks.
func (r *reader) proxy(ctx context.Context, from raftnode.NodeID, whole bool) (done bool, err error) {
	conn, err := r.Peers.Conn(string(from))
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var stall *time.Timer
	if whole {
		stall = time.AfterFunc(pullStall, func() { cancel(errSilent) })
		defer stall.Stop()
	}
	stream, err := pb.NewJobServiceClient(conn).ReadLog(ctx, &pb.ReadLogRequest{
		Job: uint64(r.job), Attempt: uint32(r.attempt), Offset: r.offset, Follow: r.follow, PassedOn: true, Packed: r.packs,
	})
	if err != nil {
		return false, cmp.Or(silence(ctx), err)
	}
	for began := time.Now(); ; {
		d, err := stream.Recv()
		if err := silence(ctx); err != nil {
			return false, err
		}
		if stall != nil {
			stall.Stop() // the reader may be slow
		}
		if time.Since(began) > patience {
			r.trouble = time.Time{} // it was served, if with nothing new
		}
		if errors.Is(err, io.EOF) {
			return false, io.ErrUnexpectedEOF
		}
		if err != nil {
			return definite(err), err
		}
		if done, err := r.pass(d); done || err != nil {
			return !errors.Is(err, errSplit), err
		}
		if stall != nil {
			stall.Reset(pullStall)
		}
	}
}

// pass hands one message on.
func (r *reader) pass(d *pb.LogData) (done bool, err error) {
	if r.offset < 0 {
		r.offset = d.Offset
	}
	n := len(d.Data)
	if len(d.Packed) > 0 {
		if n, err = logpack.Len(d.Packed); err != nil {
			return false, err
		}
	}
	if n > 0 {
		if d.Offset != r.offset {
			return false, fmt.Errorf("%w: at %d, not %d", errSplit, d.Offset, r.offset)
		}
		return false, r.send(d.Data, d.Packed, int64(n))
	}
	return d.Complete || d.IncompleteWhy != "", r.out(d)
}

// definite says whether another node would answer the same.
func definite(err error) bool {
	switch status.Code(err) {
	case codes.InvalidArgument, codes.PermissionDenied:
		return true
	}
	return false
}

// holders reads a sealed log from the nodes that hold it, or else from any that
// has it, one after the other.
func (r *reader) holders(ctx context.Context, log *pb.LogInfo) (done bool, err error) {
	var errs []error
	order := r.sources(log)
	for _, id := range order {
		done, err := r.proxy(ctx, id, true)
		if done || ctx.Err() != nil {
			return true, err
		}
		errs = append(errs, fmt.Errorf("node %s: %w", r.nodeName(id), err))
	}
	return r.unsent(ctx, log, order, unavailable("no node sends the %s: %v", logName(r.key()), errors.Join(errs...)))
}

// downFor is how long a reader waits for a node that has the log and does not
// answer: it may only have been started again.
const downFor = 2 * time.Second

// unsent finds out what to tell of a sealed log that no other node sends: that
// it has expired, or that those who have it are down. cause is why it was not sent.
func (r *reader) unsent(ctx context.Context, log *pb.LogInfo, others []raftnode.NodeID, cause error) (done bool, err error) {
	key := r.key()
	here := r.stat(key)
	found := r.ask(ctx, others, []logstore.Key{key})
	has, evicted := here.Sealed, here.Expired
	var silent []raftnode.NodeID
	for _, id := range others {
		logs, ok := found[id]
		if !ok {
			silent = append(silent, id)
			continue
		}
		has, evicted = has || logs[0].Sealed, evicted || logs[0].Expired
	}
	switch {
	case ctx.Err() != nil:
		return true, context.Cause(ctx)
	case has, len(silent) == 0 && !evicted:
		return false, r.retry(ctx, cause)
	case len(silent) == 0:
		return true, expired(key)
	}
	why := r.downWhy(log, silent)
	switch {
	case r.follow: // which rides it out
		if err := r.note("the log pauses: %s", why); err != nil {
			return true, err
		}
	case !r.trouble.IsZero() && time.Since(r.trouble) > downFor:
		if 2*len(silent) < len(others)+1 {
			return true, r.incomplete("%s", why)
		}
		return true, unavailable("%s", why) // this node may be the one that is cut off
	}
	return false, r.retry(ctx, unavailable("%s", why))
}

// downWhy says which nodes may have a log that none of those that answer has.
func (r *reader) downWhy(log *pb.LogInfo, silent []raftnode.NodeID) string {
	var names, holders []string
	for _, id := range silent {
		names = append(names, r.nodeName(id))
		if slices.Contains(log.Holders, string(id)) {
			holders = append(holders, r.nodeName(id))
		}
	}
	has, them := "may have", names
	if len(holders) > 0 {
		has, them = "had", holders
	}
	do, one := "does", "it"
	if len(them) > 1 {
		do, one = "do", "one of them"
	}
	return fmt.Sprintf("no node that answers has the %s; %s %s it and %s not answer: start %s again, then read on ('weir status' shows the nodes)",
		logName(r.key()), strings.Join(them, " and "), has, do, one)
}

// sources are the other members, those that the state names as holders first.
func (r *reader) sources(log *pb.LogInfo) (ids []raftnode.NodeID) {
	for _, m := range r.Peers.Members() {
		if m.ID != r.Self {
			ids = append(ids, m.ID)
		}
	}
	later := func(id raftnode.NodeID) int {
		if slices.Contains(log.Holders, string(id)) {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(ids, func(a, b raftnode.NodeID) int { return cmp.Compare(later(a), later(b)) })
	return ids
}
