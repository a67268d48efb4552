package gitsource

import (
	"slices"
	"strings"
	"testing"
)

func TestValidate(t *testing.T) {
	hash := strings.Repeat("a1", 20)
	for _, url := range []string{
		"https://example.com/a/b.git", "http://example.com:8080/x", "git://example.com/x", "ssh://git@example.com:22/x.git",
		"http://[::1]:80/x", "https://example.com/a-b/-c",
	} {
		if err := Validate(url, []string{hash, hash}); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
	for _, url := range []string{
		"", "/etc", "../x", "file:///etc", "ext::sh -c x", "ext::sh", "git@example.com:x.git", "ftp://example.com/x", "https:example.com/x",
		"--upload-pack=x", "-x", "https://-x/y", "ssh://-oProxyCommand=x/y", "ssh://-x@example.com/y", "https://example.com", "https://example.com/",
		"https:///x", "https://example.com/x y", "https://example.com/x\n", "https://example.com/\"x", `https://example.com/x\y`,
		"https://example.com/x#main", "ssh://example.com/-x", "https://example.com/" + strings.Repeat("x", MaxURL), "HTTPS//x", "HTTPS://example.com/x", "https://example.com/x?token=1", "https://example.com/x?", "https://exa\x00mple.com/x",
	} {
		if err := Validate(url, []string{hash}); err == nil {
			t.Errorf("%q was accepted", url)
		}
	}
	for _, url := range []string{"https://user:hunter2@example.com/x", "ssh://git:hunter2@example.com/x", "https://:hunter2@example.com/x",
		"https://user%3Ahunter2@example.com/x", "ftp://u:hunter2@example.com/x", "https://u:hunter2@example.com:bad/x",
		"https://hunter2@example.com/x", "ssh://git%3Ahunter2@example.com/x"} {
		if err := Validate(url, []string{hash}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
	for _, commits := range [][]string{
		nil, {""}, {"main"}, {"HEAD"}, {"-x"}, {"--upload-pack=x"}, {hash[:39]}, {hash + "0"}, {strings.ToUpper(hash)}, {hash, "-x"},
		{hash, strings.Repeat("b", 64)}, {strings.Repeat("g", 40)}, slices.Repeat([]string{hash}, MaxCommits+1),
	} {
		if err := Validate("https://example.com/x", commits); err == nil {
			t.Errorf("%q was accepted", commits)
		}
	}
	if err := Validate("https://example.com/x", []string{strings.Repeat("b", 64)}); err != nil {
		t.Errorf("a hash of 64 digits: %v", err)
	}
}

func FuzzValidate(f *testing.F) {
	f.Add("https://u:p@example.com/x")
	f.Add("ext::sh")
	f.Fuzz(func(t *testing.T, url string) {
		if Validate(url, []string{strings.Repeat("a", 40)}) != nil {
			return
		}
		scheme, rest, ok := strings.Cut(url, "://")
		if !ok || !slices.Contains(schemes, scheme) || strings.HasPrefix(rest, "-") || strings.ContainsAny(url, " \t\n\"\\\x00") {
			t.Errorf("%q was accepted", url)
		}
	})
}
