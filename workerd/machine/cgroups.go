package machine

import (
	"strings"
)

// controllers are those that limits of jobs need.
var controllers = []string{"cpu", "memory", "pids"}

// cgroups looks for version 2, else for version 1.
func cgroups(read func(string) ([]byte, error)) Part {
	version, has := "2", map[string]bool{}
	text, err := read("/sys/fs/cgroup/cgroup.controllers")
	if err == nil {
		for name := range strings.FieldsSeq(string(text)) {
			has[name] = true
		}
	} else {
		version = "1"
		text, err = read("/proc/self/mountinfo")
		if err != nil {
			return Part{Name: "cgroups", Says: err.Error(), Mend: "mount /proc"}
		}
		has = mounted(string(text))
	}
	var missing []string
	for _, c := range controllers {
		if !has[c] {
			missing = append(missing, c)
		}
	}
	switch {
	case len(missing) == len(controllers):
		return Part{Name: "cgroups", Says: "no controller is there", Mend: "mount cgroups at /sys/fs/cgroup, version 2 if you may choose: mount -t cgroup2 none /sys/fs/cgroup"}
	case len(missing) > 0:
		return Part{Name: "cgroups", Says: "version " + version + " without " + strings.Join(missing, ", "),
			Mend: "enable these controllers: in a container's or slice's cgroup.subtree_control, or on the kernel's command line (cgroup_enable=memory)"}
	}
	return fine("cgroups", "version %s with %s", version, strings.Join(controllers, ", "))
}

// mounted are the controllers of version 1 in /sys/fs/cgroup, from mountinfo.
func mounted(mountinfo string) map[string]bool {
	has := map[string]bool{}
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - cgroup ")
		fields := strings.Fields(before)
		if !ok || len(fields) < 5 || !strings.HasPrefix(fields[4], "/sys/fs/cgroup/") {
			continue
		}
		rest := strings.Fields(after)
		for name := range strings.SplitSeq(rest[len(rest)-1], ",") {
			has[name] = true
		}
	}
	return has
}
