package api

import (
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
)

func good() *pb.JobSpec {
	return &pb.JobSpec{
		Kind: &pb.JobSpec_Command{Command: &pb.CommandJob{Argv: []string{"make", "-j2", ""}, Env: []*pb.EnvVar{{Name: "A_1", Value: "x=y"}}, Dir: "sub/dir"}},
		Git:  &pb.GitContext{Url: "https://example.org/r.git", Commits: []string{strings.Repeat("a1", 20), strings.Repeat("b2", 20)}},
	}
}

func TestSpecRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*pb.JobSpec)
		want   string // empty: accepted
	}{
		"good":                {func(*pb.JobSpec) {}, ""},
		"no git":              {func(s *pb.JobSpec) { s.Git = nil }, ""},
		"no kind":             {func(s *pb.JobSpec) { s.Kind = nil }, "kind that this cluster does not know"},
		"no command":          {func(s *pb.JobSpec) { s.GetCommand().Argv = nil }, "no command"},
		"empty command":       {func(s *pb.JobSpec) { s.GetCommand().Argv = []string{"", "x"} }, "no command"},
		"1024 arguments":      {func(s *pb.JobSpec) { s.GetCommand().Argv = strings.Split(strings.Repeat("x ", 1023)+"x", " ") }, ""},
		"1025 arguments":      {func(s *pb.JobSpec) { s.GetCommand().Argv = strings.Split(strings.Repeat("x ", 1024)+"x", " ") }, "1025 arguments"},
		"long arguments":      {func(s *pb.JobSpec) { s.GetCommand().Argv = []string{strings.Repeat("x", MaxArgBytes)} }, "at most 131072"},
		"zero byte in argv":   {func(s *pb.JobSpec) { s.GetCommand().Argv[1] = "a\x00b" }, "zero byte"},
		"bad variable":        {func(s *pb.JobSpec) { s.GetCommand().Env[0].Name = "1A" }, "environment variable"},
		"variable with =":     {func(s *pb.JobSpec) { s.GetCommand().Env[0].Name = "A=B" }, "environment variable"},
		"worker's variable":   {func(s *pb.JobSpec) { s.GetCommand().Env[0].Name = "WEIR_JOB_ID" }, "are the worker's"},
		"variable like it":    {func(s *pb.JobSpec) { s.GetCommand().Env[0].Name = "WEIRD" }, ""},
		"variable twice":      {func(s *pb.JobSpec) { c := s.GetCommand(); c.Env = append(c.Env, c.Env[0]) }, "set twice"},
		"zero byte in value":  {func(s *pb.JobSpec) { s.GetCommand().Env[0].Value = "\x00" }, "zero byte"},
		"long environment":    {func(s *pb.JobSpec) { s.GetCommand().Env[0].Value = strings.Repeat("x", MaxEnvBytes) }, "environment variables are"},
		"absolute dir":        {func(s *pb.JobSpec) { s.GetCommand().Dir = "/etc" }, "relative to the checkout"},
		"dir with ..":         {func(s *pb.JobSpec) { s.GetCommand().Dir = "a/../.." }, "relative to the checkout"},
		"dir like ..":         {func(s *pb.JobSpec) { s.GetCommand().Dir = "a/..b/c" }, ""},
		"negative time limit": {func(s *pb.JobSpec) { s.TimeLimitMs = -1 }, "time limit"},
		"endless time limit":  {func(s *pb.JobSpec) { s.TimeLimitMs = MaxTimeLimit.Milliseconds() + 1 }, "30 days"},
		"negative log limit":  {func(s *pb.JobSpec) { s.LogLimitBytes = -1 }, "log limit"},
		"too many slots":      {func(s *pb.JobSpec) { s.Slots = 1 << 20 }, "slots"},
		"unsorted labels":     {func(s *pb.JobSpec) { s.Labels = []*pb.Label{{Name: "b"}, {Name: "a"}} }, "sorted"},
		"bad label":           {func(s *pb.JobSpec) { s.Labels = []*pb.Label{{Name: "a b"}} }, "label"},
		"bad hint":            {func(s *pb.JobSpec) { s.CacheHint = "a\nb" }, "control character"},
		"no commit":           {func(s *pb.JobSpec) { s.Git.Commits = nil }, "0 commits"},
		"hashes of two sizes": {func(s *pb.JobSpec) { s.Git.Commits[1] = strings.Repeat("b2", 32) }, "of one length"},
		"hashes of 64 digits": {func(s *pb.JobSpec) { s.Git.Commits = []string{strings.Repeat("b2", 32)} }, ""},
		"too many commits":    {func(s *pb.JobSpec) { s.Git.Commits = strings.Split("a"+strings.Repeat(" a", 16), " ") }, "17 commits"},
	} {
		t.Run(name, func(t *testing.T) {
			s := good()
			c.change(s)
			check(t, validateSpec(s), c.want)
		})
	}
	check(t, validateSpec(nil), "no description")
}

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"https://example.org/r.git":              "",
		"http://example.org:8080/r":              "",
		"git://example.org/r":                    "",
		"ssh://git@example.org/r.git":            "",
		"ssh://example.org:22/~me/r.git":         "",
		"https://[2001:db8::1]/r":                "",
		"":                                       "0 bytes",
		"https://" + strings.Repeat("x", MaxURL): "bytes",
		"https://h/x.git?access_token=s3cret":    "query",
		"https://h/x.git?":                       "query",
		"HTTPS://h/x.git":                        "scheme",
		"https://example.org/x?y=z":              "query",
		"https://example.org/a-b/-c":             "",
		"https://example.org":                    "names no repository",
		"https://example.org/":                   "names no repository",
		"https://example.org//":                  "names no repository",
		"ssh://example.org/-x":                   "names no repository",
		"https://example.org/x#main":             "fragment",
		"https://example.org/\"x":                "quote",
		`https://example.org/x\y`:                "backslash",
		"ftp://example.org/x":                    "scheme",
		"https:example.org/x":                    "SCHEME://HOST",
		"HTTPS//x":                               "SCHEME://HOST",
		"ssh://git%3Ahunter2@example.org/x":      "carries credentials",
		"https://user%3Ahunter2@example.org/x":   "carries credentials",
		"-oProxyCommand=x":                       "begins with '-'",
		"--upload-pack=touch /tmp/x":             "begins with '-'",
		"https://example.org/a b":                "space",
		"https://example.org/a\nb":               "control",
		"git@example.org:r.git":                  "ssh://git@HOST/PATH",
		"/srv/r.git":                             "SCHEME://HOST",
		"https:///r":                             "SCHEME://HOST",
		"file:///srv/r.git":                      "SCHEME://HOST",
		"file://host/srv/r.git":                  "scheme \"file\"",
		"ext::sh -c x":                           "space",
		"ext://host/x":                           "scheme \"ext\"",
		"ssh://-oProxyCommand=x/r":               "begins with '-'",
		"ssh://-x@example.org/r":                 "begins with '-'",
		"https://user:hunter2@example.org/":      "carries credentials",
		"https://hunter2@example.org/":           "carries credentials",
		"https://:hunter2@example.org/":          "carries credentials",
		"ssh://git:hunter2@example.org/r":        "carries credentials",
		"https://user:hunter2%zz@example.o":      "SCHEME://HOST",
	} {
		err := checkURL(url)
		check(t, err, want)
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the refusal repeats the password: %v", err)
		}
	}
}

func TestCommits(t *testing.T) {
	for _, c := range []string{strings.Repeat("0", 40), strings.Repeat("f", 64)} {
		if !commitHash.MatchString(c) {
			t.Errorf("%q is refused", c)
		}
	}
	for _, c := range []string{"", "main", "v1.2.3", "refs/pull/7/merge", "-main", "--upload-pack=x", strings.Repeat("0", 39), strings.Repeat("F", 40), strings.Repeat("0", 40) + "\n"} {
		if commitHash.MatchString(c) {
			t.Errorf("%q is accepted", c)
		}
	}
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" && err != nil {
		t.Errorf("refused: %v", err)
	}
	if want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
		t.Errorf("have %v, want %q", err, want)
	}
}
