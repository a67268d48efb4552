package cgroup

import (
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// recorded are files of a machine, as they were read there.
type recorded map[string]string

func (r recorded) ReadFile(path string) ([]byte, error) {
	if text, ok := r[path]; ok {
		return []byte(text), nil
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
}

// WriteFile takes what the kernel has a file for: those of a directory that was made.
func (r recorded) WriteFile(path string, text []byte) error {
	if _, ok := r[path]; !ok {
		return &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	r[path] = string(text)
	return nil
}

// MkdirAll makes the files that the kernel makes.
func (r recorded) MkdirAll(path string) error {
	for file, text := range maps.Clone(r) {
		if name, ok := strings.CutPrefix(file, "new:"); ok && r["without"] != name {
			of, own, _ := strings.Cut(name, " ")
			if strings.HasPrefix(path, of) {
				r[path+"/"+own] = text
			}
		}
	}
	return nil
}

func machineOf(version string) recorded {
	if version == "2" {
		return recorded{
			root + "/cgroup.controllers":          "cpuset cpu io memory hugetlb pids rdma misc\n",
			root + "/cgroup.subtree_control":      "memory pids\n",
			"new:" + root + " memory.max":         "max\n",
			"new:" + root + " pids.max":           "max\n",
			"new:" + root + " cpu.max":            "max 100000\n",
			"new:" + root + " memory.events":      "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n",
			"new:" + root + " cgroup.procs":       "",
			root + "/killed/memory.events":        "low 0\nhigh 0\nmax 41\noom 2\noom_kill 1\noom_group_kill 0\n",
			root + "/killed/cgroup.procs":         "17\n4711\n",
			root + "/damaged/memory.events":       "low 0\n",
			root + "/short/buildkit/cgroup.procs": "",
		}
	}
	return recorded{
		"new:" + root + "/memory memory.limit_in_bytes": "9223372036854771712\n",
		"new:" + root + "/memory memory.oom_control":    "oom_kill_disable 0\nunder_oom 0\noom_kill 0\n",
		"new:" + root + "/memory memory.failcnt":        "0\n",
		"new:" + root + "/pids pids.max":                "max\n",
		"new:" + root + "/pids cgroup.procs":            "",
		"new:" + root + "/cpu cpu.cfs_period_us":        "100000\n",
		"new:" + root + "/cpu cpu.cfs_quota_us":         "-1\n",
		root + "/memory/killed/memory.oom_control":      "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
		root + "/memory/killed/memory.failcnt":          "41\n",
		root + "/pids/killed/cgroup.procs":              "17\n4711\n",
		root + "/memory/damaged/memory.oom_control":     "oom_kill_disable 0\n",
	}
}

// Both versions, as recorded, give the same answers.
func TestAnswers(t *testing.T) {
	for _, version := range []string{"1", "2"} {
		g := In(machineOf(version))
		kills, err := g.Kills("killed")
		shortages, err2 := g.Shortages("killed")
		pids, err3 := g.Processes("killed")
		if err != nil || err2 != nil || err3 != nil || kills != 1 || shortages != 41 || !slices.Equal(pids, []int{17, 4711}) {
			t.Errorf("version %s: %d kills, %d shortages, processes %v; %v, %v, %v", version, kills, shortages, pids, err, err2, err3)
		}
		if n, err := g.Kills("damaged"); err == nil {
			t.Errorf("version %s: %d kills of a damaged file", version, n)
		}
		if n, err := g.Kills("nosuch"); err == nil {
			t.Errorf("version %s: %d kills of no group", version, n)
		}
		if pids, err := g.Processes("nosuch"); err == nil {
			t.Errorf("version %s: processes %v of no group", version, pids)
		}
	}
}

func TestLimits(t *testing.T) {
	for version, want := range map[string]map[string]string{
		"1": {"/memory/new/memory.limit_in_bytes": "1048576", "/pids/new/pids.max": "20", "/cpu/new/cpu.cfs_quota_us": "150000"},
		"2": {"/new/memory.max": "1048576", "/new/pids.max": "20", "/new/cpu.max": "150000 100000", "/cgroup.subtree_control": "+cpu +memory +pids"},
	} {
		files := machineOf(version)
		g := In(files)
		if err := g.Limit("new", Limits{CPUs: 1.5, Memory: 1 << 20, PIDs: 20}); err != nil {
			t.Errorf("version %s: %v", version, err)
		}
		for file, value := range want {
			if files[root+file] != value {
				t.Errorf("version %s: %s is %q, want %q", version, file, files[root+file], value)
			}
		}
		if err := g.Limit("new", Limits{}); err != nil || files[root+"/new/memory.max"]+files[root+"/memory/new/memory.limit_in_bytes"] == "1048576" {
			t.Errorf("version %s: a limit that was taken back stays; %v", version, err)
		}
	}
}

// A limit without its controller is refused; no limit needs none.
func TestMissingController(t *testing.T) {
	files := machineOf("2")
	delete(files, "new:"+root+" memory.max")
	g := In(files)
	if err := g.Limit("new", Limits{PIDs: 5}); err != nil {
		t.Error(err)
	}
	if err := g.Limit("new", Limits{Memory: 5}); err == nil || !strings.Contains(err.Error(), "weir worker check") {
		t.Errorf("a limit on memory without its controller: %v", err)
	}
}

// The machine that this runs on takes the limits too.
func TestHere(t *testing.T) {
	if os.Getuid() != 0 {
		if os.Getenv("WEIR_NO_SKIP") != "" {
			t.Fatal("this test needs root")
		}
		t.Skip("this test needs root")
	}
	const group = "weir-test-of-cgroups"
	g := Here()
	t.Cleanup(func() {
		for _, dir := range []string{"", "memory/", "pids/", "cpu/"} {
			_ = unix.Rmdir(root + "/" + dir + group) // one version has the first, one the others
		}
	})
	if err := g.Limit(group, Limits{CPUs: 1, Memory: 64 << 20, PIDs: 30}); err != nil {
		t.Fatal(err)
	}
	kills, err := g.Kills(group)
	shortages, err2 := g.Shortages(group)
	pids, err3 := g.Processes(group)
	if err != nil || err2 != nil || err3 != nil || kills != 0 || shortages != 0 || len(pids) != 0 {
		t.Errorf("%d, %d, %v; %v, %v, %v", kills, shortages, pids, err, err2, err3)
	}
}
