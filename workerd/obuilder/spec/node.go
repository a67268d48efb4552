package spec

import (
	"strconv"
	"strings"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
)

// The syntax of each operation in its canonical form.

func (c Comment) node() sexp.Node { return list("comment", c.Text) }
func (w Workdir) node() sexp.Node { return list("workdir", w.Dir) }
func (s Shell) node() sexp.Node   { return list("shell", s.Args...) }
func (e Env) node() sexp.Node     { return list("env", e.Name, e.Value) }

func (u User) node() sexp.Node {
	number := func(name string, n uint32) sexp.Node { return list(name, strconv.FormatUint(uint64(n), 10)) }
	return join("user", number("uid", u.UID), number("gid", u.GID))
}

func (r Run) node() sexp.Node {
	var fields []sexp.Node
	if len(r.Caches) > 0 {
		fields = append(fields, join("cache", mounts(r.Caches)...))
	}
	if r.Network != "" {
		fields = append(fields, list("network", r.Network))
	}
	if len(r.Secrets) > 0 {
		fields = append(fields, join("secrets", mounts(r.Secrets)...))
	}
	return join("run", append(fields, list("shell", r.Command))...)
}

func (c Copy) node() sexp.Node {
	var fields []sexp.Node
	if c.From != "" {
		fields = append(fields, join("from", list("build", c.From)))
	}
	fields = append(fields, list("src", c.Sources...), list("dst", c.Dest))
	if len(c.Exclude) > 0 {
		fields = append(fields, list("exclude", c.Exclude...))
	}
	return join("copy", fields...)
}

func (c Comment) String() string { return oneLine(c.node()) }
func (w Workdir) String() string { return oneLine(w.node()) }
func (s Shell) String() string   { return oneLine(s.node()) }
func (e Env) String() string     { return oneLine(e.node()) }
func (u User) String() string    { return oneLine(u.node()) }
func (r Run) String() string     { return oneLine(r.node()) }
func (c Copy) String() string    { return oneLine(c.node()) }

func mounts(all []Mount) []sexp.Node {
	var nodes []sexp.Node
	for _, m := range all {
		fields := []sexp.Node{list("target", m.Target)}
		if len(m.Options) > 0 {
			var pairs []sexp.Node
			for _, o := range m.Options {
				pairs = append(pairs, list(o.Name, o.Value))
			}
			fields = append(fields, join("buildkit_options", sexp.Node{List: true, Items: pairs}))
		}
		nodes = append(nodes, join(m.ID, fields...))
	}
	return nodes
}

// list is (name word...).
func list(name string, words ...string) sexp.Node {
	var nodes []sexp.Node
	for _, w := range words {
		nodes = append(nodes, sexp.Node{Atom: w})
	}
	return join(name, nodes...)
}

// join is (name item...).
func join(name string, items ...sexp.Node) sexp.Node {
	return sexp.Node{List: true, Items: append([]sexp.Node{{Atom: name}}, items...)}
}

func oneLine(n sexp.Node) string {
	if !n.List {
		return sexp.Quote(n.Atom)
	}
	var parts []string
	for _, item := range n.Items {
		parts = append(parts, oneLine(item))
	}
	return "(" + strings.Join(parts, " ") + ")"
}
