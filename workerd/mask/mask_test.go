package mask_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/mask"
)

func TestMask(t *testing.T) {
	for name, c := range map[string]struct {
		secrets []string
		text    string
		want    string
	}{
		"none":                    {nil, "abc", "abc"},
		"an empty value":          {[]string{""}, "abc", "abc"},
		"one":                     {[]string{"hunter2"}, "the password is hunter2, so", "the password is ***, so"},
		"again and again":         {[]string{"ab"}, "xab-ab", "x***-***"},
		"touching":                {[]string{"ab"}, "xababy", "x******y"},
		"a prefix of another":     {[]string{"abc", "abcdef"}, "abc abcdef abcde.", "*** *** ***de."},
		"overlapping":             {[]string{"abcd", "cdef"}, "-abcdef-", "-***-"},
		"one inside another":      {[]string{"bc", "abcd"}, "abcd xbcx", "*** x***x"},
		"its final newline":       {[]string{"token\n"}, "token!\n", "***!\n"},
		"at the end":              {[]string{"secret"}, "a secret", "a ***"},
		"only its beginning":      {[]string{"secret"}, "a secre", "a secre"},
		"each line":               {[]string{"first line\nsecond line\n"}, "2: second line\r\n1: first line\r\n", "2: ***\r\n1: ***\r\n"},
		"whole, of several lines": {[]string{"{\nfirst\n}\n"}, "x{\nfirst\n}y {}", "x***y {}"},
		"indented lines":          {[]string{"  key: value\n"}, "key: value", "***"},
		"repeated beginnings":     {[]string{"aab"}, "aaab aaaa", "a*** aaaa"},
		"not text":                {[]string{"\x00\xff"}, "\x00\x00\xff\xff", "\x00***\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			var values [][]byte
			for _, s := range c.secrets {
				values = append(values, []byte(s))
			}
			if got := mask.String(c.text, values...); got != c.want {
				t.Errorf("whole: %q, want %q", got, c.want)
			}
			for cut := range len(c.text) + 1 {
				if got := write(t, values, c.text[:cut], c.text[cut:]); got != c.want {
					t.Errorf("cut after %d: %q, want %q", cut, got, c.want)
				}
			}
			if got := write(t, values, strings.Split(c.text, "")...); got != c.want {
				t.Errorf("byte by byte: %q, want %q", got, c.want)
			}
		})
	}
}

func write(t *testing.T, values [][]byte, pieces ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := mask.New(&out, values...)
	for _, p := range pieces {
		if n, err := w.Write([]byte(p)); n != len(p) || err != nil {
			t.Fatalf("write %q: %d, %v", p, n, err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// What is no beginning of a value is passed on at once: a log is followed live.
func TestNothingElseIsKeptBack(t *testing.T) {
	var out bytes.Buffer
	w := mask.New(&out, []byte("secret"))
	for _, c := range []struct{ write, want string }{
		{"a line\n", "a line\n"}, {"sec", ""}, {"ond\n", "second\n"}, {"se", ""}, {"se", "se"}, {"cret\n", "***\n"},
	} {
		out.Reset()
		if _, err := w.Write([]byte(c.write)); err != nil {
			t.Fatal(err)
		}
		if out.String() != c.want {
			t.Errorf("after %q: %q, want %q", c.write, out.String(), c.want)
		}
	}
}

// However random texts of few letters are cut, no value is left, and what is not
// covered by one is left as it was.
func TestRandomTexts(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func(most int) string {
		b := make([]byte, 1+r.IntN(most))
		for i := range b {
			b[i] = "abc"[r.IntN(3)]
		}
		return string(b)
	}
	for range 5000 {
		values := [][]byte{[]byte(random(4)), []byte(random(4)), []byte(random(6))}
		text := random(40)
		var pieces []string
		for rest := text; rest != ""; {
			n := 1 + r.IntN(len(rest))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		if got, want := write(t, values, pieces...), naive(text, values); got != want {
			t.Fatalf("values %q, pieces %q: %q, want %q", values, pieces, got, want)
		}
	}
}

// naive marks every byte that a value covers; values that touch are two runs.
func naive(text string, values [][]byte) string {
	out := ""
	covered := 0
	for i := range len(text) {
		longest := 0
		for _, v := range values {
			if strings.HasPrefix(text[i:], string(v)) {
				longest = max(longest, len(v))
			}
		}
		if longest > covered {
			if covered == 0 {
				out += mask.Mark
			}
			covered = longest
		}
		if covered == 0 {
			out += text[i : i+1]
		} else {
			covered--
		}
	}
	return out
}

func BenchmarkMask(b *testing.B) {
	line := []byte(strings.Repeat("the quick brown fox jumps over the lazy dog ", 20) + "\n")
	w := mask.New(discard{}, []byte("hunter2"), []byte("correct horse battery staple"))
	b.SetBytes(int64(len(line)))
	for b.Loop() {
		_, _ = w.Write(line)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
