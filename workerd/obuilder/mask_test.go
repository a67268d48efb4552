package obuilder

import (
	"bytes"
	"strings"
	"testing"
)

func TestMask(t *testing.T) {
	secrets := []Secret{{Value: []byte("hunter2\n")}, {Value: []byte("hunt")}, {Value: []byte("aab")}, {Value: []byte("\n")}, {}}
	for in, want := range map[string]string{
		"":                        "",
		"nothing\n":               "nothing\n",
		"hunter2":                 "***",
		"xhunter2y hunt hunter":   "x***y *** ***er",
		"hunter":                  "***er",
		"hun":                     "hun",
		"aaab aab aa":             "a*** *** aa",
		strings.Repeat("aab", 50): strings.Repeat("***", 50),
	} {
		for size := 1; size <= max(1, len(in)); size++ {
			var out bytes.Buffer
			m := newMask(&out, secrets)
			for at := 0; at < len(in); at += size {
				if _, err := m.Write([]byte(in[at:min(at+size, len(in))])); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.flush(); err != nil || out.String() != want {
				t.Errorf("%q in writes of %d became %q, want %q; %v", in, size, out.String(), want, err)
			}
		}
	}
}
