package bytesize

import "testing"

func TestSize(t *testing.T) {
	for text, want := range map[string]Size{"0": 0, "17": 17, "17B": 17, "4KiB": 4096, "3MiB": 3 << 20, "20GiB": 20 << 30, "1TiB": 1 << 40} {
		var s, again Size
		if err := s.Set(text); err != nil || s != want {
			t.Errorf("%q is %d, %v; want %d", text, s, err, want)
		}
		if err := again.Set(s.String()); err != nil || again != s {
			t.Errorf("%q printed as %q reads as %d, %v", text, s, again, err)
		}
	}
	for _, text := range []string{"", "GiB", "-1", "1.5GiB", "9999999TiB", "5GB"} {
		var s Size
		if err := s.Set(text); err == nil {
			t.Errorf("%q is accepted as %d", text, s)
		}
	}
}
