package clustertest

import (
	"errors"
	"math"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/weirbuild/weir/proto/client"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/reason"
)

// bytesCodec sends bytes as they are.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, errors.New("not bytes")
	}
	return *b, nil
}

func (bytesCodec) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = data
	return nil
}

// Messages that are none, or too large, are refused on every node, which goes
// on.
func TestBrokenMessages(t *testing.T) {
	c := Start(t, Options{})
	c.NewPool("p", nil)
	ci := c.NewClient("ci")
	for _, n := range c.Nodes {
		conn := rawConn(t, c, ci, n)
		for name, try := range map[string]struct {
			data []byte
			code codes.Code
		}{
			"garbage":        {[]byte("\xff\xff\xff\xff"), codes.Internal},
			"cut off":        {[]byte("\x12\x7fp"), codes.Internal},
			"not UTF-8":      {[]byte("\x12\x01\xff"), codes.Internal},
			"5 MiB":          {make([]byte, 5<<20), codes.ResourceExhausted},
			"nothing at all": {nil, codes.InvalidArgument},
		} {
			var reply []byte
			err := conn.Invoke(bearer(c.Context(), ci), pb.JobService_Submit_FullMethodName, &try.data, &reply, grpc.ForceCodec(bytesCodec{}))
			if status.Code(err) != try.code {
				t.Errorf("%s to %s: %v, want %v", name, n.Name, err, try.code)
			}
		}
	}
	_, err := c.Client(ci).Submit(c.Context(), submit("p", "k", "ok", "1"))
	c.must(err)
}

// Whatever can never work is refused with the limit or the grammar it breaks.
func TestBadRequests(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	c.NewPool("p", &pb.PoolConfig{MaxQueued: 8})
	admin, ci := c.Client(c.Admin).Admin(), c.Client(c.NewClient("ci"))
	ctx := c.Context()
	send := func(change func(*pb.SubmitRequest)) error {
		req := submit("p", "k", "ok", "1")
		change(req)
		_, err := ci.Submit(ctx, req)
		return err
	}
	_, hash := newToken()
	for name, try := range map[string]struct {
		err          error
		reason, says string
	}{
		"unknown pool":   {send(func(r *pb.SubmitRequest) { r.Pool = "nowhere" }), reason.NotFound, "nowhere"},
		"bad pool name":  {send(func(r *pb.SubmitRequest) { r.Pool = "a b" }), reason.Invalid, "letters"},
		"bad key":        {send(func(r *pb.SubmitRequest) { r.Key.Id = "a b" }), reason.Invalid, "request key"},
		"old key":        {send(func(r *pb.SubmitRequest) { r.Key.CreatedMs = 1 }), reason.TooOld, ""},
		"large spec":     {send(func(r *pb.SubmitRequest) { r.Spec.GetCommand().Argv[1] = strings.Repeat("x", 200<<10) }), reason.Invalid, "131072"},
		"zero rate":      {second(admin.AddClient(ctx, &pb.AddClientRequest{Name: "x", Rate: proto.Float64(0)})), reason.Invalid, "rate"},
		"negative rate":  {second(admin.AddClient(ctx, &pb.AddClientRequest{Name: "x", Rate: proto.Float64(-1)})), reason.Invalid, "rate"},
		"no number rate": {second(admin.AddClient(ctx, &pb.AddClientRequest{Name: "x", Rate: proto.Float64(math.NaN())})), reason.Invalid, "rate"},
		"pools, no cap":  {second(admin.AddClient(ctx, &pb.AddClientRequest{Name: "x", Pools: []string{"p"}})), reason.Invalid, "pools"},
		"negative limit": {second(admin.CreatePool(ctx, &pb.CreatePoolRequest{Name: "q", Config: &pb.PoolConfig{KeepJobs: -1}})), reason.Invalid, "finished jobs"},
		"same pool":      {second(admin.CreatePool(ctx, &pb.CreatePoolRequest{Name: "p", Config: &pb.PoolConfig{Attempts: 9}})), reason.Conflict, "p"},
		"short hash":     {second(admin.CreateCapability(ctx, &pb.CreateCapabilityRequest{Kind: pb.CapabilityKind_CAPABILITY_READ, TokenSha256: hash[:9]})), reason.Invalid, "SHA-256"},
		"no kind":        {second(admin.CreateCapability(ctx, &pb.CreateCapabilityRequest{TokenSha256: hash})), reason.Invalid, "kind"},
		"unknown cap":    {second(admin.RevokeCapability(ctx, &pb.RevokeCapabilityRequest{Id: "cap-77"})), reason.NotFound, "weir cap list"},
		"last admin":     {second(admin.RevokeCapability(ctx, &pb.RevokeCapabilityRequest{Id: "cap-1"})), reason.Refused, "last admin"},
	} {
		if client.Reason(try.err) != try.reason || !strings.Contains(try.err.Error(), try.says) {
			t.Errorf("%s: %v; want %s and %q", name, try.err, try.reason, try.says)
		}
	}
	// A client may fill a quarter of the pool's queue.
	for _, id := range []string{"a", "b"} {
		c.must(send(func(r *pb.SubmitRequest) { r.Key.Id = id }))
	}
	if err := send(func(r *pb.SubmitRequest) { r.Key.Id = "c" }); client.Reason(err) != reason.Full {
		t.Errorf("the third of two jobs: %v", err)
	}
}

// A pool's setting goes back to its default, others stay.
func TestPoolSettingsAreReset(t *testing.T) {
	c := Start(t, Options{Nodes: 1})
	c.NewPool("p", &pb.PoolConfig{MaxQueued: 8, Attempts: 7, KeepJobs: 9})
	admin, ctx := c.Client(c.Admin).Admin(), c.Context()
	pool, err := admin.UpdatePool(ctx, &pb.UpdatePoolRequest{Name: "p", Config: &pb.PoolConfig{KeepJobs: 11}, ToDefault: []string{"max_queued"}})
	c.must(err)
	if have, now := pool.Config, pool.Effective; have.MaxQueued != 0 || have.Attempts != 7 || have.KeepJobs != 11 || now.MaxQueued != 100_000 || now.MaxQueuedPerClient != 25_000 {
		t.Errorf("the pool has %v, in effect %v", have, now)
	}
	for says, req := range map[string]*pb.UpdatePoolRequest{
		"both set and reset":   {Config: &pb.PoolConfig{Attempts: 2}, ToDefault: []string{"attempts"}},
		"no setting \"queue\"": {ToDefault: []string{"queue"}},
	} {
		req.Name = "p"
		if _, err := admin.UpdatePool(ctx, req); client.Reason(err) != reason.Invalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%v; want %q", err, says)
		}
	}
}

func second[T any](_ T, err error) error { return err }
