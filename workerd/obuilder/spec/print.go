package spec

import (
	"strings"
	"unicode/utf8"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
)

// maxWidth is how wide a copy on one line may be.
const maxWidth = 80

// String is the canonical text of the spec, without the comments that are no
// operations.
func (s *Spec) String() string { return print(s, nil) }

// Format reads a spec and writes it in its canonical form. Every comment stays,
// before or behind the item that it was before, in or behind.
func Format(text string) (string, error) {
	s, comments, err := parse(text)
	if err != nil {
		return "", err
	}
	return print(s, comments), nil
}

func print(s *Spec, comments []sexp.Comment) string {
	p := &printer{comments: comments, fresh: true}
	p.before(s.firstEnd())
	p.line()
	p.spec(s, s.end)
	p.newline()
	p.write(")")
	p.rest()
	p.newline()
	return p.out.String()
}

// firstEnd is where the first (from IMAGE) of the text ends.
func (s *Spec) firstEnd() sexp.Pos {
	if len(s.Builds) > 0 {
		return s.Builds[0].Spec.firstEnd()
	}
	return s.from.end
}

// printer writes items, and with each the comments around it.
type printer struct {
	out      strings.Builder
	column   int            // characters on this line
	fresh    bool           // this line has no item yet
	open     bool           // this line ends with a comment that only a new line ends
	indent   int            // of the list that is being written
	limit    sexp.Pos       // where that list ended in the text
	comments []sexp.Comment // not yet written
}

func (p *printer) write(text string) {
	p.out.WriteString(text)
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text, p.column = text[i+1:], 0
	}
	p.column += utf8.RuneCountInString(text)
	p.fresh, p.open = false, false
}

func (p *printer) newline() {
	p.out.WriteByte('\n')
	p.column, p.fresh, p.open = 0, true, false
}

// line begins a new line of the list, unless this one is still empty.
func (p *printer) line() {
	if !p.fresh {
		p.newline()
	}
	p.write(strings.Repeat(" ", max(0, p.indent-p.column)))
}

// spec writes a list up to the parenthesis that closes it. Comments up to limit
// belong to it.
func (p *printer) spec(s *Spec, limit sexp.Pos) {
	indent, outer := p.indent, p.limit
	p.write("(")
	p.indent, p.limit, p.fresh = p.column, limit, true
	for _, b := range s.Builds {
		p.before(b.Spec.firstEnd())
		p.line()
		p.build(b)
		p.behind(b.at.end)
	}
	p.item(list("from", s.From), s.from)
	for _, step := range s.Steps {
		p.item(step.node(), step.at)
	}
	p.before(limit)
	p.indent, p.limit = indent, outer
}

func (p *printer) build(b Build) {
	outer := p.indent
	p.write("(build ")
	p.indent = p.column
	p.atom(b.Name)
	p.newline()
	p.line()
	p.spec(b.Spec, b.at.end)
	if p.open {
		p.newline()
		p.write(strings.Repeat(" ", p.indent))
	}
	p.write("))")
	p.indent = outer
}

func (p *printer) item(n sexp.Node, at span) {
	p.before(at.end)
	p.line()
	p.node(n, 1)
	p.behind(at.end)
}

// node writes a list. A run has each field on a line of its own, and so has a
// copy that is too wide.
func (p *printer) node(n sexp.Node, level int) {
	if !n.List {
		p.atom(n.Atom)
		return
	}
	word := name(n)
	apart := level == 1 && (word == "run" || word == "copy" && p.column+utf8.RuneCountInString(oneLine(n)) > maxWidth)
	p.write("(")
	start := p.column
	for i, item := range n.Items {
		switch {
		case i == 1 && apart:
			p.write(" ")
			start = p.column
		case i > 1 && apart:
			p.newline()
			p.write(strings.Repeat(" ", start))
		case i > 0:
			p.write(" ")
		}
		p.node(item, level+1)
	}
	p.write(")")
}

// atom writes text. Each line of a long command gets a line.
func (p *printer) atom(text string) {
	lines := strings.SplitAfter(strings.TrimRight(text, "\n"), "\n")
	if len(lines) == 1 {
		p.write(sexp.Quote(text))
		return
	}
	lines[len(lines)-1] += text[len(strings.TrimRight(text, "\n")):]
	margin := "\\\n" + strings.Repeat(" ", p.column+1)
	p.write(`"`)
	for i, line := range lines {
		if i > 0 {
			p.write(margin)
			if line[0] == ' ' {
				p.write(`\`) // else the reader would skip it with the margin
			}
		}
		p.write(inner(line))
	}
	p.write(`"`)
}

// inner is a line as it stands between double quotes.
func inner(line string) string {
	quoted := sexp.Quote(line + " ") // the blank makes it quote
	return quoted[1 : len(quoted)-2]
}

// before writes the comments that start before a place, a line for each.
func (p *printer) before(at sexp.Pos) {
	for len(p.comments) > 0 && p.comments[0].Start.Before(at) {
		p.line()
		p.comment()
	}
}

// behind writes the comments that follow on the line of what was just written.
func (p *printer) behind(end sexp.Pos) {
	for len(p.comments) > 0 {
		c := p.comments[0]
		if c.Start.Line != end.Line || !c.Start.Before(p.limit) || strings.Contains(c.Text, "\n") {
			return
		}
		p.write(" ")
		p.comment()
	}
}

// rest writes what follows the spec.
func (p *printer) rest() {
	for len(p.comments) > 0 {
		p.newline()
		p.comment()
	}
}

func (p *printer) comment() {
	c := p.comments[0]
	p.comments = p.comments[1:]
	if !c.Line {
		p.write(c.Text)
		return
	}
	p.write(strings.TrimRight(c.Text, " \t\f"))
	p.open = true
}
