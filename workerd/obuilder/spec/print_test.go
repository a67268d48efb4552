package spec

import (
	"os"
	"strings"
	"testing"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
)

// TestFormat compares with testdata: NAME.in formatted is NAME.spec.
func TestFormat(t *testing.T) {
	in, err := os.ReadFile("testdata/messy.in")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/messy.spec")
	if err != nil {
		t.Fatal(err)
	}
	got, err := Format(string(in))
	if err != nil || got != string(want) {
		t.Errorf("%v, formatted:\n%s", err, got)
	}
	again, err := Format(got)
	if err != nil || again != got {
		t.Errorf("%v, formatted again:\n%s", err, again)
	}
}

func TestFormatRefuses(t *testing.T) {
	if text, err := Format("((from a) (rnu b))"); err == nil || text != "" {
		t.Errorf("%q, %v", text, err)
	}
}

// A text that can be read means the same once printed or formatted, formatting
// twice changes nothing, and no comment is lost.
func FuzzFormat(f *testing.F) {
	in, err := os.ReadFile("testdata/messy.in")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(in))
	for _, c := range badInput {
		f.Add(c.text)
	}
	for _, s := range []string{
		"((from a) (run (shell \"b\n  c\\n\\n\")))", "#;(x)((from a);b\n)#|c|#", "((build b ((from a)) #|c\n|#) (from d) ; e\n)",
		"((from a) (comment \"\n\n \n\tb\\\\\n\"))",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, comments, err := parse(text)
		if err != nil {
			return
		}
		printed := s.String()
		if again, err := Parse(printed); err != nil || oneLineSpec(again) != oneLineSpec(s) || again.String() != printed {
			t.Fatalf("%q printed as %q: %v", text, printed, err)
		}
		formatted, err := Format(text)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if again, err := Parse(formatted); err != nil || oneLineSpec(again) != oneLineSpec(s) {
			t.Fatalf("%q formatted as %q: %v", text, formatted, err)
		}
		if twice, err := Format(formatted); err != nil || twice != formatted {
			t.Fatalf("%q formatted as %q, and that as %q: %v", text, formatted, twice, err)
		}
		_, kept, err := sexp.Read(formatted)
		if err != nil || len(kept) != len(comments) {
			t.Fatalf("%q had %d comments, %q has %d: %v", text, len(comments), formatted, len(kept), err)
		}
		for i, c := range kept {
			if c.Text != strings.TrimRight(comments[i].Text, " \t\f") && c.Text != comments[i].Text {
				t.Fatalf("comment %q became %q", comments[i].Text, c.Text)
			}
		}
	})
}
