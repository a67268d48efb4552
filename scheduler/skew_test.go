package scheduler

import (
	"slices"
	"testing"
	"time"
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
