package scheduler

import (
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/weirbuild/weir/proto/mtls"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler/peers"
)

func TestTypicalSkewBlamesTheOddOne(t *testing.T) {
	const s = time.Second
	for name, c := range map[string]struct {
		others []time.Duration
		want   time.Duration
	}{
		"alone":                      {nil, 0},
		"all agree":                  {[]time.Duration{0, 0}, 0},
		"this one is behind":         {[]time.Duration{5 * s, 6 * s}, 5 * s},
		"this one is ahead":          {[]time.Duration{-5 * s, -6 * s}, -5 * s},
		"another one is off":         {[]time.Duration{0, 9 * s}, 0},
		"one of two, cannot tell":    {[]time.Duration{9 * s}, 0},
		"one of two, the other way":  {[]time.Duration{-9 * s}, 0},
		"two of five are off":        {[]time.Duration{9 * s, 9 * s, 0, 0}, 0},
		"this one, in five":          {[]time.Duration{9 * s, 9 * s, 9 * s, 9 * s}, 9 * s},
		"this one, one does not say": {[]time.Duration{9 * s, 9 * s, 9 * s}, 9 * s},
	} {
		others := slices.Clone(c.others)
		if got := typical(c.others); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		if !slices.Equal(others, c.others) {
			t.Errorf("%s: the argument was changed", name)
		}
	}
}

func TestSkewSaysWhatToDo(t *testing.T) {
	for late, want := range map[time.Duration]string{
		0: "", time.Second: "", -time.Second: "",
		1500 * time.Millisecond: "this machine's clock is 1.5s behind the other nodes': set it right",
		-2 * time.Second:        "this machine's clock is 2s ahead of the other nodes': set it right",
	} {
		if got := (&skew{late: late}).why(); got != want {
			t.Errorf("%v: %q, want %q", late, got, want)
		}
	}
}

// clock is a node whose clock is wrong.
type clock struct {
	pb.UnimplementedMembershipServer
	ahead time.Duration
}

func (c clock) Status(context.Context, *pb.StatusRequest) (*pb.NodeStatus, error) {
	return &pb.NodeStatus{NowMs: time.Now().Add(c.ahead).UnixMilli()}, nil
}

// serveClock serves such a node until the test ends, and returns its address.
func serveClock(t *testing.T, id *mtls.Node, ahead time.Duration) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.Creds(credentials.NewTLS(id.ServerConfig())))
	pb.RegisterMembershipServer(server, clock{ahead: ahead})
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// The gauge and /readyz show how far most other nodes are ahead of this one.
func TestTheSkewIsMeasuredAndShown(t *testing.T) {
	s, err := Open(alone(t), hclog.NewNullLogger(), Hooks{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	id, err := mtls.LoadNode(mtls.Files{
		Cert: filepath.Join(s.cfg.TLSDir, certFile), Key: filepath.Join(s.cfg.TLSDir, keyFile), CA: filepath.Join(s.cfg.TLSDir, caFile),
	}, hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	const ahead = 100 * time.Second // a slow machine is not
	members := []raftnode.Member{{Peer: raftnode.Peer{Name: "n1", Address: "127.0.0.1:1"}}}
	for _, name := range []string{"n2", "n3"} {
		members = append(members, raftnode.Member{Peer: raftnode.Peer{Name: name, Address: serveClock(t, id, ahead)}})
	}
	set := peers.New(peers.Config{
		Credentials: id.Dialing(), Cluster: func() string { return "" }, Members: func() []raftnode.Member { return members },
	})
	defer set.Close()
	registry := prometheus.NewRegistry()
	s.skew = newSkew(set, "n1", registry)

	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.skew.run(ctx) }()
	for until := time.Now().Add(time.Minute); s.skew.why() == ""; {
		if time.Now().After(until) {
			t.Fatal("the skew is not noticed")
		}
		<-time.After(5 * time.Millisecond)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	if got := families[0].Metric[0].GetGauge().GetValue(); families[0].GetName() != "weir_clock_skew_seconds" || math.Abs(got-ahead.Seconds()) > 10 {
		t.Errorf("%s is %v, the others are ahead by %v", families[0].GetName(), got, ahead)
	}
	page := httptest.NewRecorder()
	s.pages().ServeHTTP(page, httptest.NewRequest(http.MethodGet, "/readyz", nil))
	if body := page.Body.String(); page.Code != http.StatusServiceUnavailable || !strings.Contains(body, "behind the other nodes': set it right") {
		t.Errorf("/readyz: %d %s", page.Code, body)
	}
}
