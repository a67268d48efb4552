package sexp

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// render writes a tree on one line.
func render(n Node) string {
	if !n.List {
		return Quote(n.Atom)
	}
	var parts []string
	for _, item := range n.Items {
		parts = append(parts, render(item))
	}
	return "(" + strings.Join(parts, " ") + ")"
}

func TestRead(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`a`, `a`},
		{`()`, `()`},
		{" ( a\tb\r\n(c) ) ", `(a b (c))`},
		{`(a"b"c)`, `(a b c)`},
		{`"" `, `""`},
		{`"a b"`, `"a b"`},
		{`"\n\t\b\r\\\"\'\ x"`, `"\n\t\b\r\\\"' x"`},
		{`"\065\x42\255"`, `"AB\255"`},
		{`"\d+\.\x4"`, `"\\d+\\.\\x4"`},
		{`"\12"`, `"\\12"`},
		{"\"one\\\n   \ttwo\"", `onetwo`},
		{"\"one\\\r\n two\"", `onetwo`},
		{"\"one\n two\"", `"one\n two"`},
		{"(a ; b\n c)", `(a c)`},
		{"(a #| b #| c |# \"|#\" |# d)", `(a d)`},
		{"(a #;(b c) d #;#;e f)", `(a d)`},
		{"#;a b", `b`},
		{"(# | a#b a|b ## ||)", `(# | a#b a|b ## ||)`},
		{"é日本", `"é日本"`},
		{"\"\xff\x01\"", `"\255\001"`},
	} {
		got, _, err := Read(c.text)
		if err != nil || render(got) != c.want {
			t.Errorf("%q: %s, %v, want %s", c.text, render(got), err, c.want)
			continue
		}
		again, _, err := Read(render(got))
		if err != nil || render(again) != c.want {
			t.Errorf("%s read back: %s, %v", c.want, render(again), err)
		}
	}
}

func TestReadErrors(t *testing.T) {
	for _, c := range []struct {
		text string
		pos  Pos
		says string
	}{
		{"", Pos{1, 1}, "empty"},
		{" ; only a comment", Pos{1, 18}, "empty"},
		{")", Pos{1, 1}, "closes nothing"},
		{"(a\n (b)", Pos{1, 1}, "never closed"},
		{"(a\n  (b \"x)", Pos{2, 6}, `add the missing "`},
		{"(a)\n b", Pos{2, 2}, "ended before this"},
		{"(a))", Pos{1, 4}, "ended before this"},
		{"(a #| b", Pos{1, 4}, "add the missing |#"},
		{"(a |#)", Pos{1, 4}, "ends no comment"},
		{"(a b#|c|#)", Pos{1, 5}, "double quotes"},
		{"(é \"\\300\")", Pos{1, 5}, "no byte"},
		{"(a #;)", Pos{1, 4}, "no expression"},
		{"\"\\", Pos{1, 1}, "never closed"},
		{strings.Repeat("(", MaxDepth+1), Pos{1, MaxDepth + 1}, "nested more than"},
		{strings.Repeat("#;", MaxDepth+1), Pos{1, 2*MaxDepth + 1}, "nested more than"},
		{strings.Repeat("a", MaxBytes+1), Pos{1, 1}, "limit"},
	} {
		_, _, err := Read(c.text)
		var fault *Error
		if !errors.As(err, &fault) || fault.Pos != c.pos || !strings.Contains(fault.Text, c.says) {
			t.Errorf("%.40q: %v, want %q at %v", c.text, err, c.says, c.pos)
		}
	}
}

func TestPlaces(t *testing.T) {
	node, comments, err := Read("; one\n(é \"x\ny\" ; two\n #|three|# (b) #;(c d))#| four |#")
	if err != nil {
		t.Fatal(err)
	}
	var got []Pos
	for _, n := range append(node.Items, node) {
		got = append(got, n.Start, n.End)
	}
	want := []Pos{{2, 2}, {2, 2}, {2, 4}, {3, 2}, {4, 12}, {4, 14}, {2, 1}, {4, 23}}
	if !slices.Equal(got, want) {
		t.Errorf("places %v, want %v", got, want)
	}
	all := []Comment{
		{"; one", Pos{1, 1}, true}, {"; two", Pos{3, 4}, true}, {"#|three|#", Pos{4, 2}, false},
		{"#;(c d)", Pos{4, 16}, false}, {"#| four |#", Pos{4, 24}, false},
	}
	if !slices.Equal(comments, all) {
		t.Errorf("comments %v", comments)
	}
}

func FuzzRead(f *testing.F) {
	for _, s := range []string{`((from a) (run (shell "b\n\065")))`, "#| |# #;x (\x00)", `"\`, "(a |b| c#)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		node, _, err := Read(text)
		if err != nil {
			return
		}
		again, _, err := Read(render(node))
		if err != nil || render(again) != render(node) {
			t.Errorf("%q was read as %q, and that as %q, %v", text, render(node), render(again), err)
		}
	})
}
