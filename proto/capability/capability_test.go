package capability

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/weirbuild/weir/proto/mtls"
)

var (
	addrs = []string{"a.example.org:7000", "192.0.2.1:1", "[2001:db8::1]:65535"}
	pins  = []mtls.Pin{{1}, {2}}
)

func example(t testing.TB) Capability {
	t.Helper()
	c, err := New(NewToken(), addrs, pins)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRoundTrip(t *testing.T) {
	c := example(t)
	for key, value := range map[string]string{ParamPool: "linux", ParamKind: "worker", "age": "AGE-SECRET-KEY-1 &=%"} {
		var err error
		if c, err = c.With(key, value); err != nil {
			t.Fatal(err)
		}
	}
	back, err := Parse(c.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(back.Addrs(), addrs) || !slices.Equal(back.Pins(), pins) || !back.Token().Equal(c.Token()) {
		t.Errorf("read back other contents: %v", back)
	}
	if back.Param(ParamPool) != "linux" || back.Param("age") != "AGE-SECRET-KEY-1 &=%" || back.Param("none") != "" {
		t.Errorf("read back other parameters: %v", back)
	}
	if back.Reveal() != c.Reveal() {
		t.Errorf("the text is not canonical")
	}
}

func TestParseKnownText(t *testing.T) {
	pin := strings.Repeat("0a", 32)
	text := "weir://wt1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8@h1:7000,h2:7001/?ca=sha256:" + pin + "&kind=submit&later=x&later=y"
	c, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	if c.Reveal() != text {
		t.Errorf("became %q", c.Reveal())
	}
	if want := "weir://wt1_HIDDEN@h1:7000,h2:7001/?ca=sha256:" + pin + "&kind=submit&later=HIDDEN"; c.String() != want {
		t.Errorf("prints %q, want %q", c.String(), want)
	}
	if c.Token().Hash() != HashToken(text[len("weir://"):strings.IndexByte(text, '@')]) {
		t.Errorf("hash %q", c.Token().Hash())
	}
}

func TestParseRefuses(t *testing.T) {
	good := example(t).Reveal()
	pin, token := pins[0].String(), example(t).Token().Reveal()
	many := strings.Repeat("h:1,", MaxAddresses) + "h:1"
	for name, text := range map[string]string{
		"empty":              "",
		"other scheme":       "https" + good[4:],
		"upper scheme":       "WEIR" + good[4:],
		"no token":           "weir://h:1/?ca=" + pin,
		"empty token":        "weir://@h:1/?ca=" + pin,
		"short token":        "weir://" + token[:20] + "@h:1/?ca=" + pin,
		"long token":         "weir://" + token + "AA@h:1/?ca=" + pin,
		"no prefix":          "weir://" + token[4:] + "@h:1/?ca=" + pin,
		"password":           "weir://" + token + ":pw@h:1/?ca=" + pin,
		"second at":          "weir://" + token + "@x@h:1/?ca=" + pin,
		"no address":         "weir://" + token + "@/?ca=" + pin,
		"empty address":      "weir://" + token + "@h:1,/?ca=" + pin,
		"no port":            "weir://" + token + "@h/?ca=" + pin,
		"port 0":             "weir://" + token + "@h:0/?ca=" + pin,
		"port 65536":         "weir://" + token + "@h:65536/?ca=" + pin,
		"port 07":            "weir://" + token + "@h:07/?ca=" + pin,
		"port +7":            "weir://" + token + "@h:+7/?ca=" + pin,
		"named port":         "weir://" + token + "@h:https/?ca=" + pin,
		"no host":            "weir://" + token + "@:1/?ca=" + pin,
		"bad host":           "weir://" + token + "@-h:1/?ca=" + pin,
		"bare IPv6":          "weir://" + token + "@2001:db8::1:7000/?ca=" + pin,
		"bracketed IPv4":     "weir://" + token + "@[192.0.2.1]:7000/?ca=" + pin,
		"bracketed name":     "weir://" + token + "@[host]:7000/?ca=" + pin,
		"IPv6 zone":          "weir://" + token + "@[fe80::1%25eth0]:7000/?ca=" + pin,
		"open bracket":       "weir://" + token + "@[2001:db8::1:7000/?ca=" + pin,
		"many addresses":     "weir://" + token + "@" + many + "/?ca=" + pin,
		"path":               "weir://" + token + "@h:1/path?ca=" + pin,
		"no pin":             "weir://" + token + "@h:1/?pool=p",
		"no query":           "weir://" + token + "@h:1/",
		"bad pin":            "weir://" + token + "@h:1/?ca=" + pin + "&ca=sha256:12",
		"many pins":          "weir://" + token + "@h:1/?ca=" + pin + strings.Repeat("&ca="+pin, MaxPins),
		"semicolon":          "weir://" + token + "@h:1/?ca=" + pin + ";pool=p",
		"bad escape":         "weir://" + token + "@h:1/?ca=" + pin + "&pool=%zz",
		"new line":           good + "\n",
		"space":              " " + good,
		"NUL":                good + "\x00",
		"no ASCII":           good + "&pool=ä",
		"too long":           good + "&x=" + strings.Repeat("y", MaxLength),
		"too long when read": good + "&x=" + strings.Repeat("*", MaxLength-len(good)-3),
	} {
		c, err := Parse(text)
		if err == nil || !c.IsZero() {
			t.Errorf("%s: was accepted", name)
			continue
		}
		if len(token) > 0 && strings.Contains(err.Error(), token[4:12]) {
			t.Errorf("%s: the error quotes the token: %v", name, err)
		}
	}
}

// holder keeps values where fmt reaches them only by reflection, without their methods.
type holder struct {
	cap   Capability
	token Token
	list  []Capability
	tab   map[string]Token
}

func TestNothingPrintsASecret(t *testing.T) {
	c, err := example(t).With("age", "AGE-SECRET")
	if err != nil {
		t.Fatal(err)
	}
	token := c.Token()
	nested := holder{c, token, []Capability{c}, map[string]Token{"t": token}}
	for _, v := range []any{c, &c, token, &token, nested, &nested, []any{c, token}, errors.Join(fmt.Errorf("with %v %s", c, token))} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%10.3s", "% x"} {
			leaks(t, fmt.Sprintf(verb, v), token, "verb "+verb)
		}
		if text, err := json.Marshal(v); err == nil {
			leaks(t, string(text), token, "json")
		}
	}
	var log strings.Builder
	hclog.New(&hclog.LoggerOptions{Output: &log, JSONFormat: true}).Info("x", "cap", c, "token", token, "nested", nested)
	hclog.New(&hclog.LoggerOptions{Output: &log}).Info("x", "cap", c, "token", token, "nested", nested)
	leaks(t, log.String(), token, "hclog")
	if _, err := json.Marshal(c); err == nil {
		t.Error("a capability can be marshalled")
	}
}

func leaks(t *testing.T, text string, token Token, where string) {
	t.Helper()
	part := token.Reveal()[len(TokenPrefix):]
	if strings.Contains(text, part) || strings.Contains(text, "AGE-SECRET") ||
		strings.Contains(strings.ToLower(strings.ReplaceAll(text, " ", "")), fmt.Sprintf("%x", part)) {
		t.Errorf("%s leaks: %s", where, text)
	}
}

func TestTokens(t *testing.T) {
	a, b := NewToken(), NewToken()
	if a.Equal(b) || a.Hash() == b.Hash() || !strings.HasPrefix(a.Reveal(), TokenPrefix) {
		t.Errorf("two tokens: %q, %q", a.Reveal(), b.Reveal())
	}
	back, err := ParseToken(a.Reveal())
	if err != nil || !back.Equal(a) {
		t.Errorf("read back: %v", err)
	}
	if got := HashToken("abc"); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("hash of abc is %s", got)
	}
	if _, err := ParseToken(a.Reveal()[:10] + "\n" + a.Reveal()[10:]); err == nil {
		t.Error("a token with a line break was accepted")
	}
}

func TestZeroValues(t *testing.T) {
	var c Capability
	if !c.IsZero() || c.Reveal() != "" || c.String() != "" || !c.Token().IsZero() || c.Param("x") != "" {
		t.Error("the zero capability is not empty")
	}
	if _, err := c.With(ParamPool, "p"); err == nil {
		t.Error("the zero capability took a parameter")
	}
	if _, err := New(Token{}, addrs, pins); err == nil {
		t.Error("a capability without a token was made")
	}
}

func TestWithChangesACopy(t *testing.T) {
	c := example(t)
	d, err := c.With(ParamPool, "p")
	if err != nil || c.Param(ParamPool) != "" || d.Param(ParamPool) != "p" {
		t.Errorf("original %q, copy %q, %v", c.Param(ParamPool), d.Param(ParamPool), err)
	}
	if _, err := c.With("ca", pins[0].String()); err == nil {
		t.Error("a pin was added as a parameter")
	}
}

func TestFile(t *testing.T) {
	path, c := filepath.Join(t.TempDir(), "admin.cap"), example(t)
	for range 2 { // the second replaces the first
		if err := c.Save(path); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	back, err := Load(path)
	if err != nil || back.Reveal() != c.Reveal() {
		t.Errorf("read back: %v", err)
	}
	if err := os.Chmod(path, 0o604); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
		t.Errorf("a file that all can read: %v", err)
	}
	if _, err := Load(path + "x"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestFromEnvTakesItAway(t *testing.T) {
	const name = "WEIR_TEST_CAPABILITY"
	c := example(t)
	t.Setenv(name, c.Reveal()+"\n")
	back, ok, err := FromEnv(name)
	if err != nil || !ok || back.Reveal() != c.Reveal() {
		t.Errorf("read %v, %v, %v", back, ok, err)
	}
	if text, set := os.LookupEnv(name); set {
		t.Errorf("it is still there: %d bytes", len(text))
	}
	if _, ok, err := FromEnv(name); ok || err != nil {
		t.Errorf("read again: %v, %v", ok, err)
	}
	t.Setenv(name, "nonsense")
	if _, ok, err := FromEnv(name); !ok || err == nil {
		t.Errorf("nonsense: %v, %v", ok, err)
	}
}

func FuzzParse(f *testing.F) {
	c := example(f)
	f.Add(c.Reveal())
	f.Add(c.Reveal() + "&x=%41&y&=z&pool=a+b")
	f.Add(strings.Replace(c.Reveal(), "a.example.org:7000", "[::ffff:1.2.3.4]:80", 1))
	f.Add("weir://wt1_@:/?ca=")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse(text)
		if err != nil {
			return
		}
		back, err := Parse(c.Reveal())
		if err != nil {
			t.Fatalf("what Reveal printed is refused: %v", err)
		}
		if back.Reveal() != c.Reveal() {
			t.Fatalf("%q and %q", back.Reveal(), c.Reveal())
		}
		if strings.Contains(c.String(), c.Token().Reveal()) {
			t.Fatalf("String shows the token: %q", c.String())
		}
	})
}

func TestFrom(t *testing.T) {
	want := example(t)
	file := filepath.Join(t.TempDir(), "x.cap")
	if err := want.Save(file); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{want.Reveal(), " " + want.Reveal() + "\n", file, "@" + file} {
		got, err := From(text)
		if err != nil || got.Reveal() != want.Reveal() {
			t.Errorf("a capability from %.8q...: %v", text, err)
		}
	}
	// What is no capability and no file is not repeated: it may be a secret.
	for _, text := range []string{"x" + want.Reveal(), "'" + want.Reveal() + "'", want.Token().Reveal(), want.Reveal() + "?ca=1"} {
		_, err := From(text)
		if err == nil || strings.Contains(err.Error(), want.Token().Reveal()) {
			t.Errorf("the error is %v", err)
		}
	}
}

// A worker's keys are secrets as its token is; a pool's fingerprint is none.
func TestKeysAndFingerprints(t *testing.T) {
	c, err := example(t).WithValues(ParamKey, "AGE-SECRET-KEY-1B", "AGE-SECRET-KEY-1A")
	if err != nil {
		t.Fatal(err)
	}
	if c, err = c.WithValues(ParamSeal, "linux:00ff"); err != nil {
		t.Fatal(err)
	}
	again, err := Parse(c.Reveal())
	if err != nil || strings.Join(again.Values(ParamKey), " ") != "AGE-SECRET-KEY-1B AGE-SECRET-KEY-1A" {
		t.Fatalf("keys: %d, %v", len(again.Values(ParamKey)), err)
	}
	for _, text := range []string{again.String(), fmt.Sprintf("%v %+v %#v %q", again, again, again, again)} {
		if strings.Contains(text, "AGE-SECRET") || !strings.Contains(text, "00ff") {
			t.Errorf("shown as %s", text)
		}
	}
}
