package spec

import (
	"slices"
	"strings"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
)

const copyForm = "(copy (src SOURCE...) (dst DEST))"

func decodeCopy(n sexp.Node, scope []string) (Op, error) {
	f, err := fieldsOf(n.Items[1:], "copy", "from", "src", "dst", "exclude")
	if err != nil {
		return nil, err
	}
	var c Copy
	if c.From, err = decodeOrigin(f["from"], scope); err != nil {
		return nil, err
	}
	if c.Dest, err = f.required(n, "dst", copyForm); err != nil {
		return nil, err
	}
	if c.Sources, err = decodeSources(n, f["src"]); err != nil {
		return nil, err
	}
	if exclude := f["exclude"]; len(exclude.Items) > 1 {
		if c.Exclude, err = atoms(exclude.Items[1:], "a name to exclude"); err != nil {
			return nil, err
		}
	}
	switch {
	case c.Dest == "":
		return nil, sexp.Errorf(f["dst"].Items[1].Start, "the destination is empty: write . for the working directory")
	case slices.Contains(strings.Split(c.Dest, "/"), ".."):
		return nil, sexp.Errorf(f["dst"].Items[1].Start, "destination %s: .. is not allowed, write the path without it", sexp.Quote(c.Dest))
	case len(c.Sources) > 1 && !strings.HasSuffix(c.Dest, "/"):
		return nil, sexp.Errorf(f["dst"].Items[1].Start, "several sources are copied into a directory: write (dst %s)", sexp.Quote(c.Dest+"/"))
	}
	return c, nil
}

// decodeOrigin reads where a copy copies from.
func decodeOrigin(n sexp.Node, scope []string) (string, error) {
	if len(n.Items) == 0 || len(n.Items) == 2 && !n.Items[1].List && n.Items[1].Atom == "context" {
		return "", nil
	}
	if len(n.Items) != 2 || name(n.Items[1]) != "build" {
		return "", sexp.Errorf(n.Start, "write (from (build NAME)), or leave the field out to copy from the context")
	}
	build, err := only(n.Items[1], "(from (build NAME))")
	switch {
	case err != nil:
		return "", err
	case slices.Contains(scope, build):
		return build, nil
	case len(scope) == 0:
		return "", sexp.Errorf(n.Items[1].Start, "unknown build %s: no build comes before this; add (build %s SPEC) in front of (from IMAGE)", sexp.Quote(build), sexp.Quote(build))
	}
	return "", sexp.Errorf(n.Items[1].Start, "unknown build %s%s", sexp.Quote(build), suggest(build, scope))
}

func decodeSources(n, field sexp.Node) ([]string, error) {
	if len(field.Items) < 2 {
		return nil, sexp.Errorf(n.Start, "nothing to copy: write %s", copyForm)
	}
	sources, err := atoms(field.Items[1:], "a source")
	if err != nil {
		return nil, err
	}
	for i, src := range sources {
		at := field.Items[i+1].Start
		switch {
		case src == "":
			return nil, sexp.Errorf(at, "a source is empty: write . for everything")
		case slices.Contains(strings.Split(src, "/"), ".."):
			return nil, sexp.Errorf(at, "source %s: .. is not allowed, as nothing outside of the context can be copied", sexp.Quote(src))
		}
	}
	return sources, nil
}
