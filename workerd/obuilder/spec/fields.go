package spec

import (
	"slices"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
)

// fields are the named parts of an operation: (NAME VALUE...) each.
type fields map[string]sexp.Node

// fieldsOf sorts items by their names, which must be known and different.
func fieldsOf(items []sexp.Node, of string, known ...string) (fields, error) {
	f := fields{}
	for _, item := range items {
		word := name(item)
		switch {
		case word == "":
			return nil, sexp.Errorf(item.Start, "found %s instead of a field of %s: fields are lists that begin with %s", describe(item), of, orList(known))
		case !slices.Contains(known, word):
			return nil, sexp.Errorf(item.Start, "%s has no field %s%s", of, sexp.Quote(word), suggest(word, known))
		}
		if _, twice := f[word]; twice {
			return nil, sexp.Errorf(item.Start, "%s has the field %s twice: keep one", of, word)
		}
		f[word] = item
	}
	return f, nil
}

// required reads a field that must be there and has one argument.
func (f fields) required(n sexp.Node, name, form string) (string, error) {
	field, ok := f[name]
	if !ok {
		return "", sexp.Errorf(n.Start, "the field (%s ...) is missing: write %s", name, form)
	}
	return only(field, form)
}

func orList(words []string) string {
	text := words[0]
	for i, w := range words[1:] {
		if i == len(words)-2 {
			text += " or " + w
		} else {
			text += ", " + w
		}
	}
	return text
}
