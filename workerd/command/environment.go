package command

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"regexp"
	"strconv"
	"strings"

	"github.com/weirbuild/weir/proto/pb"
	"github.com/weirbuild/weir/workerd/supervise"
)

// The environment of a job, whole. A later line wins over an earlier one:
//
//	PATH          /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
//	HOME TMPDIR   private directories of the attempt, removed with it
//	USER LOGNAME  the user that the job runs as
//	SHELL         /bin/sh
//	LANG          C.UTF-8
//	TERM          dumb
//	CI            true
//	...           the worker's own variables that it was told to pass (--pass-env)
//	...           the variables of the job itself
//	WEIR_JOB_ID WEIR_ATTEMPT WEIR_POOL   which attempt this is
//	WEIR_CHECKOUT                        the checkout's directory
//	WEIR_SECRETS                         the directory of its secrets, where it has
//	                                     any: a file for each, named by its id
//	WEIR_REPO WEIR_COMMIT WEIR_COMMITS   its source, where it has one: the address,
//	                                     the first commit, all of them with blanks between
func (a *attempt) environment() []string {
	var env variables
	env.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
	env.set("HOME", a.home)
	env.set("TMPDIR", a.tmp)
	env.set("USER", a.account)
	env.set("LOGNAME", a.account)
	env.set("SHELL", "/bin/sh")
	env.set("LANG", "C.UTF-8")
	env.set("TERM", "dumb")
	env.set("CI", "true")
	for _, kv := range a.passed {
		name, value, _ := strings.Cut(kv, "=")
		env.set(name, value)
	}
	for _, v := range a.program.Env {
		env.set(v.GetName(), v.GetValue())
	}
	env.set("WEIR_JOB_ID", a.task.Job)
	env.set("WEIR_ATTEMPT", strconv.Itoa(a.task.Attempt))
	env.set("WEIR_POOL", a.task.Pool)
	env.set("WEIR_CHECKOUT", a.checkout)
	if a.secretDir != "" {
		env.set("WEIR_SECRETS", a.secretDir)
	}
	if git := a.task.Spec.GetGit(); git != nil {
		env.set("WEIR_REPO", git.GetUrl())
		env.set("WEIR_COMMIT", git.GetCommits()[0])
		env.set("WEIR_COMMITS", strings.Join(git.GetCommits(), " "))
	}
	return env.list
}

// variables holds each name once.
type variables struct {
	list []string
	at   map[string]int
}

func (v *variables) set(name, value string) {
	if v.at == nil {
		v.at = make(map[string]int)
	}
	i, has := v.at[name]
	if !has {
		i = len(v.list)
		v.at[name] = i
		v.list = append(v.list, "")
	}
	v.list[i] = name + "=" + value
}

// reserved begins the names that only the worker gives.
const reserved = "WEIR_"

var plainName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// passedEnv takes the worker's variables that jobs get. One that is not set is no
// error: the list may serve several machines.
func passedEnv(names []string) (env []string, err error) {
	for _, name := range names {
		if !plainName.MatchString(name) || strings.HasPrefix(name, reserved) {
			return nil, fmt.Errorf("pass variable %q to jobs: want a name of letters, digits and underscores that does not begin with %s", name, reserved)
		}
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env, nil
}

// check refuses a command that could never be run.
func check(c *pb.CommandJob) error {
	if len(c.GetArgv()) == 0 || c.GetArgv()[0] == "" {
		return errors.New("the job names no program")
	}
	for _, arg := range c.GetArgv() {
		if strings.ContainsRune(arg, 0) {
			return errors.New("an argument of the job holds a zero byte")
		}
	}
	for _, v := range c.GetEnv() {
		switch {
		case !plainName.MatchString(v.GetName()):
			return fmt.Errorf("variable %q of the job: want a name of letters, digits and underscores", v.GetName())
		case strings.HasPrefix(v.GetName(), reserved):
			return fmt.Errorf("variable %q of the job: names that begin with %s are the worker's", v.GetName(), reserved)
		case strings.ContainsRune(v.GetValue(), 0):
			return fmt.Errorf("variable %q of the job holds a zero byte", v.GetName())
		}
	}
	return nil
}

func accountName(u *supervise.User) string {
	if u != nil {
		return u.Name
	}
	if me, err := user.Current(); err == nil {
		return me.Username
	}
	return strconv.Itoa(os.Geteuid())
}
