package auth

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/pb"
)

// A client that hammers the node with a wrong token, over many connections,
// fills no log: what is alike is counted.
func TestAHammeringClientDoesNotFillTheLog(t *testing.T) {
	f := newFixture(t)
	const calls = 40
	for range calls {
		client := pb.NewJobServiceClient(f.conn(t, nil))
		if _, err := client.GetJob(with(t, capability.NewToken()), &pb.GetJobRequest{}); err == nil {
			t.Fatal("an unknown token is good")
		}
		f.guard.Alert("192.0.2.1:1234", "the certificate has expired")
	}
	if n := strings.Count(f.audit.String(), "\n"); n != 2*paceBurst {
		t.Errorf("%d lines for two kinds of refusals, want %d", n, 2*paceBurst)
	}
	other, _ := f.state.grant(t, &pb.Capability{Kind: pb.CapabilityKind_CAPABILITY_WORKER, Pools: []string{"p"}})
	if _, err := pb.NewJobServiceClient(f.conn(t, nil)).GetJob(with(t, other), &pb.GetJobRequest{}); err == nil {
		t.Fatal("a worker's capability reads jobs")
	}
	if line := f.audit.last(); !strings.Contains(line, "kind=denied") {
		t.Errorf("another refusal is not in the log, but %q", line)
	}

	f.guard.tellMore(time.Now().Add(paceWindow))
	text := f.audit.String()
	for _, want := range []string{
		"refused again: who=unknown remote=127.0.0.1 kind=unauthenticated more=35 last_reason=\"this cluster does not know",
		"refused again: who=unknown remote=192.0.2.1 kind=connection more=35 last_reason=\"the certificate has expired",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
	before := strings.Count(text, "\n")
	f.guard.tellMore(time.Now().Add(2 * paceWindow))
	f.guard.Alert("192.0.2.1:1234", "the certificate has expired")
	if now := strings.Count(f.audit.String(), "\n"); now != before+1 {
		t.Errorf("%d lines after the next minute's first refusal, want %d", now, before+1)
	}
}

// Callers from everywhere share one tally once there are too many to tell apart.
func TestPacerIsBounded(t *testing.T) {
	var p pacer
	now, written := time.Now(), 0
	const callers = 10 * maxAlike
	for i := range callers {
		if p.write("unknown", fmt.Sprintf("[2001:db8::%x]:99", i), "connection", "no", now) {
			written++
		}
	}
	if len(p.tallies) != maxAlike+1 || written != maxAlike+paceBurst {
		t.Errorf("%d tallies and %d lines", len(p.tallies), written)
	}
	if sums := p.take(now.Add(paceWindow / 2)); len(sums) != 0 {
		t.Errorf("told before the time: %v", sums)
	}
	sums := p.take(time.Time{})
	if len(sums) != 1 || sums[0].who != "others" || sums[0].more != callers-maxAlike-paceBurst || len(p.tallies) != 0 {
		t.Errorf("counted %v, %d tallies are left", sums, len(p.tallies))
	}
}
