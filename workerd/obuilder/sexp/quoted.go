package sexp

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var escapes = map[byte]byte{'n': '\n', 't': '\t', 'b': '\b', 'r': '\r', '\\': '\\', '"': '"', '\'': '\'', ' ': ' '}

// quoted reads an atom in double quotes.
func (r *reader) quoted() (string, error) {
	start := r.pos
	var b strings.Builder
	for r.step(); r.more(); {
		at := r.pos
		switch c := r.step(); c {
		case '"':
			return b.String(), nil
		case '\\':
			if err := r.escape(at, &b); err != nil {
				return "", err
			}
		default:
			b.WriteByte(c)
		}
	}
	return "", Errorf(start, `this string is never closed: add the missing "`)
}

// escape reads what follows a backslash. As in sexplib, a backslash before
// anything else stands for itself.
func (r *reader) escape(at Pos, b *strings.Builder) error {
	c := r.peek(0)
	known, simple := escapes[c]
	switch {
	case !r.more():
		return nil // the string has no end, which is the better message
	case simple:
		r.step()
		b.WriteByte(known)
	case c == '\n' || c == '\r' && r.peek(1) == '\n':
		for r.step() != '\n' {
		}
		for r.peek(0) == ' ' || r.peek(0) == '\t' {
			r.step()
		}
	case digits(r.ahead(0, 3), 3, "0123456789"):
		return r.code(at, b, r.ahead(0, 3), 10)
	case c == 'x' && digits(r.ahead(1, 2), 2, "0123456789abcdefABCDEF"):
		r.step()
		return r.code(at, b, r.ahead(0, 2), 16)
	default:
		b.WriteByte('\\')
	}
	return nil
}

// code writes the byte whose number is text, and passes it.
func (r *reader) code(at Pos, b *strings.Builder, text string, base int) error {
	n, err := strconv.ParseUint(text, base, 8)
	if err != nil {
		return Errorf(at, `\%s is no byte: the largest is \255`, text)
	}
	for range text {
		r.step()
	}
	b.WriteByte(byte(n))
	return nil
}

// ahead is the text of n bytes after skip more, less where the text ends.
func (r *reader) ahead(skip, n int) string {
	from := min(r.off+skip, len(r.text))
	return r.text[from:min(from+n, len(r.text))]
}

func digits(s string, n int, of string) bool {
	return len(s) == n && strings.Trim(s, of) == ""
}

// Quote writes an atom, in double quotes only where it needs them.
func Quote(atom string) string {
	if plain(atom) {
		return atom
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(atom); {
		c, size := utf8.DecodeRuneInString(atom[i:])
		quoteRune(&b, c, atom[i:i+size])
		i += size
	}
	b.WriteByte('"')
	return b.String()
}

func quoteRune(b *strings.Builder, c rune, text string) {
	switch c {
	case '"', '\\':
		b.WriteString(`\` + text)
		return
	case '\n':
		b.WriteString(`\n`)
		return
	case '\t':
		b.WriteString(`\t`)
		return
	case '\r':
		b.WriteString(`\r`)
		return
	case '\b':
		b.WriteString(`\b`)
		return
	}
	if unicode.IsPrint(c) && (c != utf8.RuneError || len(text) > 1) {
		b.WriteString(text)
		return
	}
	for i := range len(text) {
		code := strconv.Itoa(int(text[i]))
		b.WriteString(`\` + "000"[len(code):] + code)
	}
}

// plain says whether an atom can be read back without quotes.
func plain(atom string) bool {
	for i := range len(atom) {
		if c := atom[i]; c <= ' ' || c >= 0x7f || delimiter(c) || c == '\\' {
			return false
		}
	}
	return atom != "" && !strings.Contains(atom, "#|") && !strings.Contains(atom, "|#")
}
