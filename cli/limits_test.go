package cli

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weirbuild/weir/fsm"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
	"github.com/weirbuild/weir/raftnode"
	"github.com/weirbuild/weir/scheduler"
	"github.com/weirbuild/weir/scheduler/api"
	"github.com/weirbuild/weir/workerd"
)

// The README's table of limits says what the code does, in every row.
func TestReadmeHasTheLimits(t *testing.T) {
	pool := (&fsm.Pool{Config: &pb.PoolConfig{}}).Limits()
	if 4*pool.MaxQueuedPerClient != pool.MaxQueued {
		t.Errorf("a client may queue %d of %d jobs: no quarter", pool.MaxQueuedPerClient, pool.MaxQueued)
	}
	worker := workerd.Default()
	poolFlag := func(flags ...string) string {
		var all []string
		for _, f := range flags {
			if !slices.Contains(poolChoices(), f) {
				t.Errorf("a pool has no --%s", f)
			}
			all = append(all, "`weir pool set --"+f+"`")
		}
		return strings.Join(all, ", ")
	}
	rows := [][3]string{
		{"description of a job, encoded", sizeOf(fsm.MaxSpecBytes), ""},
		{"its command", fmt.Sprintf("%s arguments, %s", number(api.MaxArgs), sizeOf(api.MaxArgBytes)), ""},
		{"its environment", fmt.Sprintf("%s variables, %s", number(api.MaxEnv), sizeOf(api.MaxEnvBytes)), ""},
		{"its secrets, sealed", fmt.Sprintf("%d, %s", seal.MaxSecrets, sizeOf(seal.MaxBytes)), ""},
		{"its directory, its repository's URL", fmt.Sprintf("%s bytes, %s bytes", number(api.MaxDir), number(api.MaxURL)), ""},
		{"its commits", number(api.MaxCommits), ""},
		{"its labels, or a worker's", number(fsm.MaxLabels), ""},
		{"its slots, or a worker's", number(fsm.MaxSlots), ""},
		{"running time of an attempt", fmt.Sprintf("%s; a job may ask for %s", inWords(pool.TimeLimit), inWords(api.MaxTimeLimit.Milliseconds())),
			poolFlag("time-limit") + ", `weir submit --timeout`"},
		{"log of an attempt", fmt.Sprintf("%s; a job may ask for %s", sizeOf(pool.LogLimit), sizeOf(api.MaxLogLimit)), poolFlag("log-limit") + ", `weir submit --log-limit`"},
		{"attempts of a job", fmt.Sprintf("%d; at most %d", pool.Attempts, fsm.MaxAttempts), poolFlag("attempts")},
		{"jobs that wait in a pool", fmt.Sprintf("%s; at most %s", number(int64(pool.MaxQueued)), number(fsm.MaxQueued)), poolFlag("max-queued")},
		{"of those, one client's", "a quarter", poolFlag("max-queued-per-client")},
		{"urgent jobs of a client in any hour", "none", poolFlag("max-urgent-per-hour")},
		{"jobs that run at once in a pool; of those, one client's", "none; none",
			poolFlag("max-running", "max-running-per-client") + ", `weir client set-max-running`"},
		{"jobs with a concurrency key that run at once in a pool", "what they say, at most " + number(fsm.MaxPermits), "`weir submit --concurrency`"},
		{"waiting of a job for a worker, each time", "none", poolFlag("wait-limit") + ", `weir submit --wait-limit`"},
		{"finished jobs that a pool keeps", fmt.Sprintf("%s, for %s", number(int64(pool.KeepJobs)), inWords(pool.KeepFor)), poolFlag("keep-jobs", "keep-for")},
		{"life of a request key", inWords(fsm.KeyWindow), ""},
		{"request keys of a client", number(fsm.MaxKeys), ""},
		{"build logs on a node", sizeOf(int64(scheduler.Default().LogBudget)), "`weir server --log-budget`"},
		{"logs on a worker that are not sealed", sizeOf(worker.SpoolLimit), "`weir worker --spool-limit`"},
		{"clones of repositories on a worker", sizeOf(worker.GitCacheLimit), "`weir worker --git-cache-limit`"},
		{"free disk that a worker leaves for builds", sizeOf(worker.MinFree), "`weir worker --min-free`"},
		{"message of a call; command in the Raft log", fmt.Sprintf("%s; %s", sizeOf(api.MaxMessage), sizeOf(raftnode.MaxCommand)), ""},
		{"pools, clients, capabilities", fmt.Sprintf("%s, %s, %s", number(fsm.MaxPools), number(fsm.MaxClients), number(fsm.MaxCapability)), ""},
		{"workers of a pool", number(fsm.MaxWorkers), ""},
		{"what a pool remembers of who has which cache", number(fsm.MaxHints) + " pairs", ""},
		{"output, message of an attempt's end", fmt.Sprintf("%s, %s", sizeOf(fsm.MaxOutputLen), sizeOf(fsm.MaxReasonLen)), ""},
	}
	section := readmeSection(t, "Limits and names")
	for _, r := range rows {
		row := fmt.Sprintf("| %s | %s | %s |", r[0], r[1], r[2])
		if row = strings.ReplaceAll(row, "|  |", "| |"); !strings.Contains(section, row+"\n") {
			t.Errorf("the table of limits lacks\n%s", row)
		}
	}
	if n := strings.Count(section, "\n| ") - 2; n != len(rows)+5 { // without the heads
		t.Errorf("there are %d rows; %d limits and 5 kinds of names are known here", n, len(rows))
	}
	for _, grammar := range []string{
		fmt.Sprintf("1 to %d of `A-Z a-z 0-9 . _ -`", fsm.MaxNameLen), fmt.Sprintf("0 to %d of `A-Z a-z 0-9 . _ - + : / @ =`", fsm.MaxValueLen),
		fmt.Sprintf("1 to %d printable ASCII characters, no space", fsm.MaxKeyLen), fmt.Sprintf("1 to %d bytes of UTF-8, no control character", fsm.MaxHintLen),
	} {
		if !strings.Contains(section, grammar) {
			t.Errorf("the grammar of names lacks %q", grammar)
		}
	}
}

func readmeSection(t *testing.T, title string) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## "+title+"\n")
	if !ok {
		t.Fatalf("the README has no section %q", title)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	return section
}

// sizeOf, number and inWords write a limit as the table does.
func sizeOf(n int64) string {
	for _, unit := range []string{"B", "KiB", "MiB", "GiB"} {
		if n < 1024 {
			return fmt.Sprintf("%d %s", n, unit)
		}
		n /= 1024
	}
	return fmt.Sprint(n, " TiB")
}

func number(n int64) string {
	if n >= 1000 {
		return fmt.Sprintf("%s,%03d", number(n/1000), n%1000)
	}
	return fmt.Sprint(n)
}

func inWords(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	if d < 48*time.Hour {
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}
