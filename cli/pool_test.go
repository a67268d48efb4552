package cli

import (
	"slices"
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
)

// Every choice of a pool has a flag, and each can be reset by its flag's name.
func TestEveryChoiceOfAPoolCanBeReset(t *testing.T) {
	fields, err := poolFields(poolChoices())
	if err != nil {
		t.Fatal(err)
	}
	known := (&pb.PoolConfig{}).ProtoReflect().Descriptor().Fields()
	for i := range known.Len() {
		name := string(known.Get(i).Name())
		if has, choice := slices.Contains(fields, name), name != "recipient"; has != choice { // pool rotate-key changes that
			t.Errorf("a flag is for %s: %v, want %v", name, has, choice)
		}
	}
	if len(fields) != known.Len()-1 {
		t.Errorf("%d flags are for %d fields: %v", len(fields), known.Len(), fields)
	}
	code, _, said := run(t, "pool", "set", "p", "--reset", "max-queued,queue", "--connect", "x")
	if code != exitUsage || !strings.Contains(said, "--reset queue: use any of") || !strings.Contains(said, "keep-for") {
		t.Errorf("an unknown choice: exit code %d, %s", code, said)
	}
	if code, _, said := run(t, "pool", "set", "p", "--connect", "x"); code != exitUsage || !strings.Contains(said, "nothing to change") {
		t.Errorf("no choice: exit code %d, %s", code, said)
	}
}
