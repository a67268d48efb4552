package spec

import (
	"fmt"
	"slices"
	"strings"
)

func (c *stage) run(s Step, op Run) error {
	var flags string
	if c.buildKit {
		for _, m := range op.Secrets {
			if !flaggable(m) {
				return inexpressible(s, "the secret "+m.ID)
			}
			flags += c.mount("secret", m)
		}
		for _, m := range op.Caches {
			if !flaggable(m) {
				return inexpressible(s, "the cache "+m.ID)
			}
			flags += c.mount("cache", m)
		}
	}
	if lines := strings.Split(op.Command, "\n"); joinable(lines) {
		for i := range lines {
			lines[i] = strings.TrimSpace(lines[i])
		}
		c.line("RUN %s%s", flags, strings.Join(lines, " \\\n    "))
		return nil
	}
	c.line("RUN %s%s", flags, array(append(c.shell[:len(c.shell):len(c.shell)], op.Command)))
	return nil
}

func (c *stage) mount(kind string, m Mount) string {
	text := fmt.Sprintf("--mount=type=%s,id=%s,target=%s,uid=%d", kind, m.ID, m.Target, c.user.UID)
	for _, o := range m.Options {
		text += "," + o.Name + "=" + o.Value
	}
	return text + " "
}

// flaggable says whether a mount's words can stand in a flag.
func flaggable(m Mount) bool {
	words := []string{m.ID, m.Target}
	for _, o := range m.Options {
		words = append(words, o.Name, o.Value)
	}
	return !slices.ContainsFunc(words, func(w string) bool { return strings.ContainsAny(w, " \t\n\r,\"'\\$=") })
}

// joinable says whether a command means the same to the shell when Docker has
// put its lines together. Another goes to the shell as it is, in the JSON form.
func joinable(lines []string) bool {
	for i, line := range lines {
		line = strings.TrimSpace(line)
		last := i == len(lines)-1
		switch {
		case line == "" || strings.HasPrefix(line, "#") || strings.HasSuffix(line, `\`):
			return false
		case i == 0 && (strings.HasPrefix(line, "--") || strings.HasPrefix(line, "[")):
			return false // a flag, or an array
		case strings.Contains(line, "<<"):
			return false // BuildKit has here documents of its own
		case !last && (!continues(line) || strings.Count(line, `"`)%2 != 0 || strings.Count(line, "'")%2 != 0):
			return false
		}
	}
	return true
}

// continues says whether a shell reads on in the next line anyway.
func continues(line string) bool {
	if strings.Contains(line, "#") {
		return false // a comment would swallow what is joined to it
	}
	return strings.HasSuffix(line, "&&") || strings.HasSuffix(line, "|") ||
		strings.HasSuffix(line, ";") && !strings.HasSuffix(line, ";;")
}
