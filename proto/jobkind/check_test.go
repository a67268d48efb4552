package jobkind

import (
	"slices"
	"strings"
	"testing"
)

func TestWhatAWorkerMayAnnounce(t *testing.T) {
	for what, c := range map[string]struct {
		kinds []string
		says  string
	}{
		"none":     {nil, ""},
		"as many":  {slices.Repeat([]string{Custom(strings.Repeat("k", 63))}, MaxKinds), ""},
		"too many": {slices.Repeat([]string{"command"}, MaxKinds+1), "65 kinds of job, at most 64"},
		"too long": {[]string{"command", Custom(strings.Repeat("k", 64))}, "71 bytes, want 1 to 70"},
		"no name":  {[]string{""}, "0 bytes"},
	} {
		if err := Check(c.kinds); (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", what, err, c.says)
		}
	}
}
