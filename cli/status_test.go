package cli

import (
	"bytes"
	"strings"
	"testing"

	"github.com/weirbuild/weir/cli/ui"
	"github.com/weirbuild/weir/proto/pb"
)

// Below the table stands what is wrong, and what needs care soon.
func TestStatusTellsWhatNeedsCare(t *testing.T) {
	nodes := []*pb.StatusOfNode{
		{Address: "a:1", Status: &pb.NodeStatus{Name: "n1", State: "leader", Ready: true, Warning: "the certificate expires"}},
		{Address: "b:1", Status: &pb.NodeStatus{Name: "n2", State: "follower", Why: "catching up", Warning: "the certificate expires"}},
		{Address: "c:1", Error: "no route"},
	}
	var out bytes.Buffer
	if err := (ui.Text{W: &out}).Print(nil, func(t *ui.Table) { listNodes(t, nodes) }); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"a:1 (n1): the certificate expires\n", "b:1 (n2): catching up\n", "b:1 (n2): the certificate expires\n", "c:1: no route\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it lacks %q:\n%s", want, out.String())
		}
	}
}
