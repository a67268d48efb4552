package logpack

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
)

func TestWhatIsWorthIt(t *testing.T) {
	noise := make([]byte, MaxBytes)
	rand.NewChaCha8([32]byte{1}).Read(noise)
	lines := []byte(strings.Repeat("ok github.com/example/pkg 0.1s\n", 2*MaxBytes/31))
	for _, c := range []struct {
		what string
		data []byte
		want bool
	}{
		{"nothing", nil, false}, {"less than the least", lines[:MinBytes-1], false}, {"noise", noise, false},
		{"the least", lines[:MinBytes], true}, {"the most", lines[:MaxBytes], true}, {"more", lines[:MaxBytes+1], false},
	} {
		packed := Pack(c.data)
		if (packed != nil) != c.want {
			t.Errorf("%s: %d bytes became %d", c.what, len(c.data), len(packed))
		}
		if packed == nil {
			continue
		}
		if len(packed) > len(c.data)/5 {
			t.Errorf("%s: %d bytes of lines became %d", c.what, len(c.data), len(packed))
		}
		if n, err := Len(packed); n != len(c.data) || err != nil {
			t.Errorf("%s: length %d, %v", c.what, n, err)
		}
		if data, err := Unpack(nil, packed); !bytes.Equal(data, c.data) || err != nil {
			t.Errorf("%s: other bytes, %v", c.what, err)
		}
		var b Bench
		for range 3 {
			if data, err := b.Unpack(packed); !bytes.Equal(data, c.data) || err != nil {
				t.Errorf("%s: other bytes on a bench, %v", c.what, err)
			}
		}
		b.Clear()
	}
}

// A stranger's few bytes claim to be gigabytes, or are no block at all.
func TestLies(t *testing.T) {
	for what, packed := range map[string][]byte{
		"a bomb": s2.Encode(nil, make([]byte, MaxBytes+1)), "no block": []byte("\xff\xff\xff\xff\xff\xff"), "nothing": {},
		"a claim alone": {0x80, 0x80, 0x04},
	} {
		if data, err := Unpack(nil, packed); err == nil {
			t.Errorf("%s: unpacked to %d bytes", what, len(data))
		}
	}
}
