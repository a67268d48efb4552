package sexp

import "unicode/utf8"

// Read reads the one expression that text holds, and its comments in order.
func Read(text string) (Node, []Comment, error) {
	if len(text) > MaxBytes {
		return Node{}, nil, Errorf(Pos{1, 1}, "the text has %d bytes: the limit is %d", len(text), MaxBytes)
	}
	r := &reader{text: text, pos: Pos{1, 1}}
	node, ok, err := r.next(0)
	switch {
	case err != nil:
		return Node{}, nil, err
	case !ok && r.more():
		return Node{}, nil, Errorf(r.pos, "this ) closes nothing")
	case !ok:
		return Node{}, nil, Errorf(r.pos, "the text is empty: a spec looks like ((from IMAGE) (run (shell COMMAND)))")
	}
	if err := r.skip(0); err != nil {
		return Node{}, nil, err
	}
	if r.more() {
		return Node{}, nil, Errorf(r.pos, "the expression that began at line %d ended before this: put everything in one list, or check the parentheses", node.Start.Line)
	}
	return node, r.comments, nil
}

// reader walks over a text once.
type reader struct {
	text     string
	off      int
	pos      Pos // of text[off]
	last     Pos // of the character before
	comments []Comment
	dropped  int // datum comments around this place
}

func (r *reader) more() bool { return r.off < len(r.text) }

// peek is the byte n after this one, or 0 where the text ends.
func (r *reader) peek(n int) byte {
	if r.off+n < len(r.text) {
		return r.text[r.off+n]
	}
	return 0
}

// step passes one byte. Only a character's first byte moves the column.
func (r *reader) step() byte {
	c := r.text[r.off]
	r.off++
	if utf8.RuneStart(c) {
		r.last = r.pos
	}
	switch {
	case c == '\n':
		r.pos = Pos{r.pos.Line + 1, 1}
	case utf8.RuneStart(c):
		r.pos.Column++
	}
	return c
}

// next reads one expression. It is not ok at the end of the text and before a ).
func (r *reader) next(depth int) (Node, bool, error) {
	if err := r.skip(depth); err != nil || !r.more() {
		return Node{}, false, err
	}
	switch r.peek(0) {
	case ')':
		return Node{}, false, nil
	case '(':
		return r.list(depth)
	case '"':
		start := r.pos
		atom, err := r.quoted()
		return Node{Atom: atom, Start: start, End: r.last}, err == nil, err
	}
	return r.bare()
}

func (r *reader) list(depth int) (Node, bool, error) {
	node := Node{List: true, Start: r.pos}
	if depth >= MaxDepth {
		return Node{}, false, Errorf(r.pos, "lists are nested more than %d deep", MaxDepth)
	}
	r.step()
	for {
		item, ok, err := r.next(depth + 1)
		switch {
		case err != nil:
			return Node{}, false, err
		case ok:
			node.Items = append(node.Items, item)
			continue
		case !r.more():
			return Node{}, false, Errorf(node.Start, "this ( is never closed: add the missing )")
		}
		r.step()
		node.End = r.last
		return node, true, nil
	}
}

// skip passes blanks and comments.
func (r *reader) skip(depth int) error {
	for r.more() {
		start, from := r.pos, r.off
		c := r.peek(0)
		switch {
		case blank(c):
			r.step()
			continue
		case c == ';':
			for r.more() && r.peek(0) != '\n' && r.peek(0) != '\r' {
				r.step()
			}
		case c == '#' && r.peek(1) == '|':
			if err := r.block(); err != nil {
				return err
			}
		case c == '#' && r.peek(1) == ';':
			if err := r.datum(depth); err != nil {
				return err
			}
		case c == '|' && r.peek(1) == '#':
			return Errorf(start, "this |# ends no comment")
		default:
			return nil
		}
		if r.dropped == 0 {
			r.comments = append(r.comments, Comment{Text: r.text[from:r.off], Start: start, Line: c == ';'})
		}
	}
	return nil
}

// block passes a block comment. They nest, and strings in them count.
func (r *reader) block() error {
	start, level := r.pos, 0
	for r.more() {
		switch {
		case r.peek(0) == '#' && r.peek(1) == '|':
			level++
			r.step()
		case r.peek(0) == '|' && r.peek(1) == '#':
			level--
			r.step()
			if level == 0 {
				r.step()
				return nil
			}
		case r.peek(0) == '"':
			if _, err := r.quoted(); err != nil {
				return err
			}
			continue
		}
		r.step()
	}
	return Errorf(start, "this comment is never closed: add the missing |#")
}

// datum passes a commented-out expression.
func (r *reader) datum(depth int) error {
	start := r.pos
	if depth+r.dropped >= MaxDepth {
		return Errorf(start, "comments are nested more than %d deep", MaxDepth)
	}
	r.step()
	r.step()
	r.dropped++
	_, ok, err := r.next(depth)
	r.dropped--
	if err == nil && !ok {
		err = Errorf(start, "this #; has no expression after it to comment out")
	}
	return err
}

// bare reads an atom without quotes.
func (r *reader) bare() (Node, bool, error) {
	start, from := r.pos, r.off
	for r.more() && !blank(r.peek(0)) && !delimiter(r.peek(0)) {
		pair := string([]byte{r.peek(0), r.peek(1)})
		if pair == "#|" || pair == "|#" {
			return Node{}, false, Errorf(r.pos, "%s within an atom: put the atom in double quotes", pair)
		}
		r.step()
	}
	return Node{Atom: r.text[from:r.off], Start: start, End: r.last}, true, nil
}

func blank(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f'
}

func delimiter(c byte) bool { return c == '(' || c == ')' || c == '"' || c == ';' }
