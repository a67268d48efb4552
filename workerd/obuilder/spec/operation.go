package spec

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weirbuild/weir/workerd/obuilder/sexp"
)

// atom reads text. What the kernel or a log could not hold is refused here.
func atom(n sexp.Node, what string) (string, error) {
	switch {
	case n.List:
		return "", sexp.Errorf(n.Start, "%s is a list: write a single word, or a text in double quotes", what)
	case strings.Contains(n.Atom, "\x00"):
		return "", sexp.Errorf(n.Start, "%s has a zero byte in it", what)
	case !utf8.ValidString(n.Atom):
		return "", sexp.Errorf(n.Start, "%s is not valid UTF-8", what)
	}
	return n.Atom, nil
}

// only reads the argument of an operation that has exactly one.
func only(n sexp.Node, form string) (string, error) {
	if !n.List || len(n.Items) != 2 {
		return "", sexp.Errorf(n.Start, "write %s: one argument, in double quotes if it has blanks", form)
	}
	return atom(n.Items[1], "the argument of "+form)
}

func atoms(nodes []sexp.Node, what string) ([]string, error) {
	var all []string
	for _, n := range nodes {
		text, err := atom(n, what)
		if err != nil {
			return nil, err
		}
		all = append(all, text)
	}
	return all, nil
}

func decodeWorkdir(n sexp.Node) (Op, error) {
	dir, err := only(n, "(workdir DIR)")
	if err == nil && dir == "" {
		err = sexp.Errorf(n.Items[1].Start, "the directory is empty: write (workdir /src), or a path below the directory before")
	}
	return Workdir{dir}, err
}

func decodeShell(n sexp.Node) (Op, error) {
	args, err := atoms(n.Items[1:], "a word of the shell")
	if err == nil && (len(args) == 0 || args[0] == "") {
		err = sexp.Errorf(n.Start, "the shell is empty: write its program and arguments, as in (shell /bin/sh -c)")
	}
	return Shell{args}, err
}

func decodeEnv(n sexp.Node) (Op, error) {
	if len(n.Items) != 3 {
		return nil, sexp.Errorf(n.Start, "write (env NAME VALUE): two arguments, the value in double quotes if it has blanks")
	}
	words, err := atoms(n.Items[1:], "an argument of (env NAME VALUE)")
	if err != nil {
		return nil, err
	}
	if words[0] == "" || strings.Contains(words[0], "=") {
		return nil, sexp.Errorf(n.Items[1].Start, "%s is no name of a variable: write (env NAME VALUE)", sexp.Quote(words[0]))
	}
	return Env{words[0], words[1]}, nil
}

func decodeUser(n sexp.Node) (Op, error) {
	const form = "(user (uid N) (gid N))"
	if len(n.Items) == 2 && name(n.Items[1]) == "name" {
		return nil, sexp.Errorf(n.Start, "users by name are for Windows, and this builds on Linux: write %s", form)
	}
	f, err := fieldsOf(n.Items[1:], "user", "uid", "gid")
	if err != nil {
		return nil, err
	}
	var ids [2]uint32
	for i, name := range []string{"uid", "gid"} {
		text, err := f.required(n, name, form)
		if err != nil {
			return nil, err
		}
		id, bad := strconv.ParseUint(text, 10, 32)
		if bad != nil || id > maxID {
			return nil, sexp.Errorf(f[name].Items[1].Start, "%s is no %s: write a number from 0 to %d", sexp.Quote(text), name, maxID)
		}
		ids[i] = uint32(id)
	}
	return User{ids[0], ids[1]}, nil
}

// maxID is the largest user id: one more means "do not change" to the kernel.
const maxID = 1<<32 - 2

func decodeRun(n sexp.Node) (Op, error) {
	f, err := fieldsOf(n.Items[1:], "run", "cache", "network", "secrets", "shell")
	if err != nil {
		return nil, err
	}
	var r Run
	if r.Command, err = f.required(n, "shell", "(run (shell COMMAND))"); err != nil {
		return nil, err
	}
	if r.Network, err = decodeNetwork(f["network"]); err != nil {
		return nil, err
	}
	if r.Caches, err = decodeMounts(f["cache"], "cache"); err != nil {
		return nil, err
	}
	if r.Secrets, err = decodeMounts(f["secrets"], "secret"); err != nil {
		return nil, err
	}
	return r, checkTargets(n, slices.Concat(r.Caches, r.Secrets))
}

func decodeNetwork(n sexp.Node) (string, error) {
	if len(n.Items) == 0 {
		return "", nil
	}
	names, err := atoms(n.Items[1:], "a network")
	switch {
	case err != nil:
		return "", err
	case len(names) == 0 || slices.Equal(names, []string{"none"}):
		return "", nil
	case slices.Equal(names, []string{HostNetwork}):
		return HostNetwork, nil
	}
	return "", sexp.Errorf(n.Start, "unknown network %s: write (network host), or leave the field out for no network", strings.Join(names, " "))
}

// decodeMounts reads the caches or secrets of a run.
func decodeMounts(n sexp.Node, kind string) ([]Mount, error) {
	if len(n.Items) == 0 {
		return nil, nil
	}
	var mounts []Mount
	for _, item := range n.Items[1:] {
		id := name(item)
		if id == "" {
			return nil, sexp.Errorf(item.Start, "a %s is (NAME (target PATH))", kind)
		}
		if _, err := atom(item.Items[0], "the name of a "+kind); err != nil {
			return nil, err
		}
		f, err := fieldsOf(item.Items[1:], kind+" "+sexp.Quote(id), "target", "buildkit_options")
		if err != nil {
			return nil, err
		}
		m := Mount{ID: id}
		if m.Target, err = f.required(item, "target", "("+sexp.Quote(id)+" (target PATH))"); err != nil {
			return nil, err
		}
		if !path.IsAbs(m.Target) || path.Clean(m.Target) == "/" {
			return nil, sexp.Errorf(f["target"].Items[1].Start, "target %s: write an absolute path below /", sexp.Quote(m.Target))
		}
		if m.Options, err = decodeOptions(f["buildkit_options"]); err != nil {
			return nil, err
		}
		mounts = append(mounts, m)
	}
	return mounts, nil
}

func decodeOptions(n sexp.Node) ([]Option, error) {
	if len(n.Items) == 0 {
		return nil, nil
	}
	const form = "write (buildkit_options ((NAME VALUE) ...))"
	if len(n.Items) != 2 || !n.Items[1].List {
		return nil, sexp.Errorf(n.Start, form)
	}
	var options []Option
	for _, item := range n.Items[1].Items {
		words, err := atoms(item.Items, "an option")
		switch {
		case err != nil:
			return nil, err
		case len(words) != 2:
			return nil, sexp.Errorf(item.Start, form)
		}
		options = append(options, Option{words[0], words[1]})
	}
	return options, nil
}

// checkTargets refuses two mounts of which one would hide the other.
func checkTargets(n sexp.Node, mounts []Mount) error {
	seen := map[string]bool{}
	for _, m := range mounts {
		if clean := path.Clean(m.Target); seen[clean] {
			return sexp.Errorf(n.Start, "two caches or secrets have the target %s: give each its own", sexp.Quote(clean))
		} else {
			seen[clean] = true
		}
	}
	return nil
}
