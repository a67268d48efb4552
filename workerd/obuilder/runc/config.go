package runc

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/weirbuild/weir/workerd/obuilder/spec"
)

const hostname = "builder"

type (
	object map[string]any
	array  []any
)

// capabilities are what root may do in a container: what Docker gives it, less
// what would reach the network of the machine.
var capabilities = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

var maskedPaths = []string{
	"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
	"/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi",
}

var readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}

// config is the container's description for runc.
func (k *container) config() ([]byte, error) {
	return json.Marshal(object{
		"ociVersion": "1.0.2",
		"hostname":   hostname,
		"root":       object{"path": k.root},
		"process": object{
			"user": object{"uid": k.User.UID, "gid": k.User.GID},
			"args": k.Argv,
			"env":  k.Env,
			"cwd":  k.Dir,
			"capabilities": object{
				"bounding": capabilities, "effective": capabilities, "inheritable": capabilities, "permitted": capabilities,
			},
			"rlimits": array{openFiles()},
		},
		"mounts": k.mounts(),
		"linux": object{
			"namespaces":    k.namespaces(),
			"cgroupsPath":   "/" + k.id,
			"resources":     k.resources(),
			"maskedPaths":   maskedPaths,
			"readonlyPaths": readonlyPaths,
			"seccomp":       k.seccomp(),
		},
	})
}

// openFiles is what programs expect, or what this process may give.
func openFiles() object {
	ours := unix.Rlimit{Max: 1024}
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &ours) // else that will do
	return object{"type": "RLIMIT_NOFILE", "hard": min(ours.Max, 65536), "soft": min(ours.Max, 1024)}
}

func (k *container) namespaces() array {
	all := array{}
	for _, kind := range []string{"pid", "ipc", "uts", "mount", "network"} {
		if kind != "network" || k.Network != spec.HostNetwork {
			all = append(all, object{"type": kind})
		}
	}
	return all
}

func mount(kind, source, target string, options ...string) object {
	return object{"type": kind, "source": source, "destination": target, "options": options}
}

func (k *container) mounts() array {
	all := array{
		mount("proc", "proc", "/proc", "nosuid", "noexec", "nodev"),
		mount("tmpfs", "tmpfs", "/dev", "nosuid", "strictatime", "mode=755", "size=65536k"),
		mount("devpts", "devpts", "/dev/pts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
		mount("sysfs", "sysfs", "/sys", "nosuid", "noexec", "nodev", "ro"),
		mount("cgroup", "cgroup", "/sys/fs/cgroup", "ro", "nosuid", "noexec", "nodev"),
		mount("tmpfs", "shm", "/dev/shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
		mount("mqueue", "mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev"),
		mount("bind", k.path("hosts"), "/etc/hosts", "ro", "rbind", "rprivate"),
	}
	if k.Network == spec.HostNetwork {
		if _, err := os.Stat("/etc/resolv.conf"); err == nil {
			all = append(all, mount("bind", "/etc/resolv.conf", "/etc/resolv.conf", "ro", "rbind", "rprivate"))
		}
	}
	for _, b := range k.Binds {
		all = append(all, mount("bind", b.Source, b.Target, "bind", "rw", "nosuid", "nodev"))
	}
	for i, s := range k.Secrets {
		all = append(all, mount("bind", filepath.Join(k.secrets, strconv.Itoa(i)), s.Target, "bind", "ro", "rprivate", "nosuid", "nodev", "noexec"))
	}
	return all
}

func (k *container) resources() object {
	r := object{"pids": object{"limit": k.Limits.PIDs}}
	if k.Limits.Memory > 0 {
		r["memory"] = object{"limit": k.Limits.Memory}
	}
	if k.Limits.CPUs > 0 {
		const period = 100_000 // microseconds
		r["cpu"] = object{"period": period, "quota": int64(k.Limits.CPUs * period)}
	}
	return r
}

// seccomp makes calls that sync files succeed at once: a crash of the machine
// discards the build anyway.
func (k *container) seccomp() object {
	policy := object{"defaultAction": "SCMP_ACT_ALLOW"}
	if k.cfg.FastSync {
		policy["syscalls"] = array{object{
			"names":  []string{"fsync", "fdatasync", "msync", "sync", "syncfs", "sync_file_range"},
			"action": "SCMP_ACT_ERRNO", "errnoRet": 0,
		}}
	}
	return policy
}
