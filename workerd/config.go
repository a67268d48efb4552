package workerd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"github.com/weirbuild/weir/proto/bytesize"
	"github.com/weirbuild/weir/proto/capability"
	"github.com/weirbuild/weir/proto/jobkind"
	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/proto/seal"
)

// Config is everything that a worker may be told.
type Config struct {
	// Required.
	Connect  string // a capability, or a file that holds one; empty: EnvCapability
	StateDir string

	// Who it is.
	Name   string   // empty: the host's name
	Pool   string   // empty: the one that the capability names
	Labels []string // name=value

	// What it runs.
	Slots         int
	AllowCommand  bool
	AllowOBuilder bool
	AllowSandbox  bool
	Docker        string   // the engine for Dockerfiles; empty: such jobs are not run
	Custom        []string // kind=/path/to/program
	JobUser       string
	PassEnv       []string
	WorkDir       string // empty: beside the state directory
	UpdateCommand string // a program; empty: the cluster cannot have the worker updated

	// Tuning.
	Grace          time.Duration
	DrainWait      time.Duration
	LogLimit       int64         // bytes; 0: the pool's alone
	SpoolLimit     int64         // bytes
	GitCacheLimit  int64         // bytes; 0: none
	GitCredentials string        // a file; empty: none
	MinFree        int64         // bytes; 0: any
	HealthCheck    time.Duration // between two; 0: none
	MetricsListen  string
	MetricsPages   []string // NAME=URL
	LogLevel       string
	LogJSON        bool

	Version      string // announced to the cluster; not a flag
	FeatureLevel uint32 // likewise

	capability  capability.Capability // set by Complete
	keys        []seal.Key            // likewise: of the capability
	file        string                // likewise: that it was read from; empty: it came as a line
	syncJournal func(*os.File) error  // nil: fdatasync
}

// OBuilderLabel is the label of workers that run OBuilder jobs.
const OBuilderLabel = "obuilder"

// DefaultMetricsListen is where a worker serves its metrics without being told.
const DefaultMetricsListen = "127.0.0.1:7002"

// featureLevel is what this worker understands of grants: from 4 on it keeps their
// leashes.
const featureLevel = 4

// Default returns the configuration that flags start from.
func Default() Config {
	return Config{
		Slots:         runtime.NumCPU(),
		Grace:         10 * time.Second,
		DrainWait:     30 * time.Second,
		SpoolLimit:    4 << 30,
		GitCacheLimit: 20 << 30,
		MinFree:       256 << 20,
		HealthCheck:   5 * time.Minute,
		MetricsListen: DefaultMetricsListen,
		LogLevel:      "info",
		FeatureLevel:  featureLevel,
	}
}

// AddFlags adds a flag for each field.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	fs.StringVar(&c.Connect, "connect", c.Connect, "worker capability: a file, @FILE, or the line itself, which other users can then see in ps (default: $"+EnvCapability+", which is removed from the environment)")
	fs.StringVar(&c.StateDir, "state-dir", c.StateDir, "directory of the worker's identity, journal and logs, of mode 0700, made if it is not there (required)")

	fs.StringVar(&c.Name, "name", c.Name, "the worker's name in its pool (default: the host's name)")
	fs.StringVar(&c.Pool, "pool", c.Pool, "pool to work for (default: the one that the capability names)")
	fs.StringArrayVar(&c.Labels, "label", c.Labels, "name=value that jobs may ask for; may be repeated")

	fs.IntVar(&c.Slots, "slots", c.Slots, "how many slots the jobs that run at the same time may take together")
	fs.BoolVar(&c.AllowCommand, "allow-command", c.AllowCommand, "run command jobs: programs on this host, as --job-user")
	fs.BoolVar(&c.AllowOBuilder, "allow-obuilder", c.AllowOBuilder, "run OBuilder jobs, as root and in containers; the worker gets the label "+OBuilderLabel+"=yes, which such jobs ask for")
	fs.BoolVar(&c.AllowSandbox, "allow-sandbox", c.AllowSandbox, "run commands on base images (weir submit --image), as root and in containers")
	fs.StringVar(&c.Docker, "docker", c.Docker, "build Dockerfiles, with this engine: buildkit (buildkitd, by buildctl), docker (Docker's daemon, by the docker program), or auto, the first that answers")
	fs.StringArrayVar(&c.Custom, "custom", c.Custom, "KIND=/path/to/program: run jobs of this kind with a program of yours, as --job-user; may be repeated")
	fs.StringVar(&c.JobUser, "job-user", c.JobUser, "user that jobs run as (required as root; without it they run as the worker's own user and can read its secrets)")
	fs.StringSliceVar(&c.PassEnv, "pass-env", c.PassEnv, "variables of the worker's environment that jobs get too; repeat it or separate by commas")
	fs.StringVar(&c.WorkDir, "work-dir", c.WorkDir, "directory of checkouts, outside the state directory (default: the state directory's name with -work)")

	fs.StringVar(&c.UpdateCommand, "update-command", c.UpdateCommand, "program that installs the worker's next release: weir worker update has the worker end its jobs, run this as the worker's own user, without arguments and without its capability, and start again (default: the worker takes no updates)")
	fs.DurationVar(&c.Grace, "grace", c.Grace, "time between SIGTERM and SIGKILL for a job that is cancelled or over its time limit")
	fs.DurationVar(&c.DrainWait, "drain-wait", c.DrainWait, "how long a worker that was told to stop tries to deliver results and logs after its last job; what is left is delivered at its next start")
	fs.Var((*bytesize.Size)(&c.LogLimit), "log-limit", "most of one job's log, where the pool allows more; 0: the pool's limit")
	fs.Var((*bytesize.Size)(&c.SpoolLimit), "spool-limit", "most of all logs together that the cluster has not sealed yet; above it no new job starts, and logs are cut off")
	fs.Var((*bytesize.Size)(&c.GitCacheLimit), "git-cache-limit", "most of all clones of git repositories; over it those used longest ago are removed, but none in use and not the one used last; 0: no limit")
	fs.StringVar(&c.GitCredentials, "git-credentials", c.GitCredentials, "file of mode 0600 with the credentials of git servers, https://USER:PASSWORD@HOST on each line; every job of the pool can then check out what they can read (not as a submodule)")
	fs.Var((*bytesize.Size)(&c.MinFree), "min-free", "how much must be free on the disks of --state-dir and --work-dir for new jobs to start; 0: no matter how little")
	fs.DurationVar(&c.HealthCheck, "health-check", c.HealthCheck, "how often the worker tries a trivial build of each kind of job that it takes; no new job starts while one fails; 0: never")
	fs.StringVar(&c.MetricsListen, "metrics-listen", c.MetricsListen, "loopback host:port of plain HTTP /metrics, /healthz and /readyz, one for each worker of a machine; empty: none")
	fs.StringArrayVar(&c.MetricsPages, "metrics-page", c.MetricsPages, "NAME=URL of metrics on this machine's loopback that the cluster passes on as /pool/POOL/worker/WORKER/NAME; "+HostPage+" is "+DefaultHostPage+" unless it is given; may be repeated")
	fs.StringVar(&c.LogLevel, "log-level", c.LogLevel, "trace, debug, info, warn or error")
	fs.BoolVar(&c.LogJSON, "log-json", c.LogJSON, "log JSON, one object a line")
}

// Complete takes the capability, also out of the environment, fills in what has a
// default, and then validates.
func (c *Config) Complete() error {
	var err error
	if c.capability, err = takeCapability(c.Connect); err != nil {
		return err
	}
	if c.file, err = capabilityFile(c.Connect); err != nil {
		return err
	}
	c.Connect = ""
	if c.keys, err = keysOf(c.capability); err != nil {
		return err
	}
	if c.Name == "" {
		if c.Name, err = os.Hostname(); err != nil {
			return fmt.Errorf("find the host's name, give --name: %w", err)
		}
	}
	if c.Pool == "" {
		c.Pool = c.capability.Param(capability.ParamPool)
	}
	if c.WorkDir == "" && c.StateDir != "" {
		c.WorkDir = filepath.Clean(c.StateDir) + "-work"
	}
	return c.Validate()
}

// Validate lists all that is wrong, each with what to do about it.
func (c *Config) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(c.capability.IsZero(), "--connect is missing: make a worker's capability with 'weir cap create'")
	bad(c.StateDir == "", "--state-dir is missing: name a directory on a local disk")
	bad(c.Pool == "", "--pool is missing, and the capability names none")
	if named := c.capability.Param(capability.ParamPool); c.Pool != "" && named != "" {
		bad(named != c.Pool, "--pool %s: the capability is for pool %s: leave the flag out, or ask for a capability of pool %s ('weir cap create')", c.Pool, named, c.Pool)
	}
	bad(c.Slots < 1 || c.Slots > maxSlots, "--slots %d: give a number from 1 to %d", c.Slots, maxSlots)
	bad(!c.AllowCommand && !c.AllowOBuilder && !c.AllowSandbox && c.Docker == "" && len(c.Custom) == 0,
		"there is nothing that this worker may run: give --allow-command, --allow-sandbox, --allow-obuilder, --docker or --custom")
	bad(c.AllowOBuilder && os.Geteuid() != 0, "--allow-obuilder: such jobs need a worker that is root, for mounts and containers")
	bad(c.AllowSandbox && os.Geteuid() != 0, "--allow-sandbox: such jobs need a worker that is root, for mounts and containers")
	bad(c.JobUser == "" && os.Geteuid() == 0,
		"--job-user is missing: as root, name the user that jobs run as")
	bad(c.StateDir != "" && within(c.WorkDir, c.StateDir),
		"--work-dir %s is inside the state directory, which jobs must not reach: name another", c.WorkDir)
	bad(c.UpdateCommand != "" && !filepath.IsAbs(c.UpdateCommand), "--update-command %s: give the absolute path of a program", c.UpdateCommand)
	bad(c.Grace < 0, "--grace %v is negative", c.Grace)
	bad(c.HealthCheck != 0 && c.HealthCheck < minHealthCheck, "--health-check %v is too often: at least %v, or 0 for never", c.HealthCheck, minHealthCheck)
	bad(c.DrainWait < 0, "--drain-wait %v is negative", c.DrainWait)
	bad(c.SpoolLimit < minSpool, "--spool-limit %v is too small: at least %v", bytesize.Size(c.SpoolLimit), bytesize.Size(minSpool))
	bad(c.MetricsListen != "" && !loopback(c.MetricsListen),
		"--metrics-listen %q is plain HTTP: give a loopback host:port, such as 127.0.0.1:7002", c.MetricsListen)
	bad(hclog.LevelFromString(c.LogLevel) == hclog.NoLevel, "--log-level %q is unknown: use trace, debug, info, warn or error", c.LogLevel)
	bad(len(c.Custom) > maxCustom, "--custom is given %d times: at most %d", len(c.Custom), maxCustom)
	if _, err := c.labels(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

const (
	maxSlots = 4096
	minSpool = 1 << 20

	maxCustom = jobkind.MaxKinds - 4 // beside them there are kinds of our own

	minHealthCheck = time.Second
)

// NewLogger returns the logger that the configuration asks for.
func (c *Config) NewLogger(w io.Writer) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{
		Name: "weir", Level: hclog.LevelFromString(c.LogLevel), JSONFormat: c.LogJSON, Output: w,
		TimeFormat: "2006-01-02T15:04:05.000Z07:00",
	})
}

// labels reads name=value pairs, sorted by name.
func (c *Config) labels() ([]*pb.Label, error) {
	var labels []*pb.Label
	for _, text := range c.Labels {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("--label %q: give name=value", text)
		}
		labels = append(labels, &pb.Label{Name: name, Value: value})
	}
	if c.AllowOBuilder {
		labels = append(labels, &pb.Label{Name: OBuilderLabel, Value: "yes"})
	}
	slices.SortFunc(labels, func(a, b *pb.Label) int { return strings.Compare(a.Name, b.Name) })
	for i := range labels[min(1, len(labels)):] {
		if labels[i].Name == labels[i+1].Name {
			return nil, fmt.Errorf("--label %s is given twice", labels[i].Name)
		}
	}
	return labels, nil
}

// within reports whether path is dir or below it.
func within(path, dir string) bool {
	p, err1 := filepath.Abs(path)
	d, err2 := filepath.Abs(dir)
	if err1 != nil || err2 != nil {
		return false
	}
	rel, err := filepath.Rel(d, p)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

func loopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
