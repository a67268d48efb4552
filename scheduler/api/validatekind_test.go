package api

import (
	"strings"
	"testing"

	"github.com/weirbuild/weir/proto/pb"
)

func TestKinds(t *testing.T) {
	obuilder := func(text string) *pb.JobSpec {
		return &pb.JobSpec{Kind: &pb.JobSpec_Obuilder{Obuilder: &pb.ObuilderJob{Spec: text}}}
	}
	sandbox := func(change func(*pb.SandboxJob)) *pb.JobSpec {
		b := &pb.SandboxJob{Image: "reg.example.org:5000/a/b:1@sha256:ab", Command: &pb.CommandJob{Argv: []string{"make"}, Dir: "sub"}}
		change(b)
		return &pb.JobSpec{Kind: &pb.JobSpec_Sandbox{Sandbox: b}}
	}
	docker := func(change func(*pb.DockerJob)) *pb.JobSpec {
		d := &pb.DockerJob{Dockerfile: &pb.DockerJob_Contents{Contents: "FROM x"}, Platform: "linux/arm/v7", Target: "dev",
			Push: "reg.example.org/app:1", CacheTo: "reg.example.org/app:cache", CacheFrom: []string{"reg.example.org/app:cache"},
			BuildArgs: []*pb.EnvVar{{Name: "WEIR_IS_FINE", Value: "1"}}}
		change(d)
		return &pb.JobSpec{Kind: &pb.JobSpec_Docker{Docker: d}}
	}
	inContext := func(path string) *pb.JobSpec {
		s := docker(func(d *pb.DockerJob) { d.Dockerfile = &pb.DockerJob_Path{Path: path} })
		s.Git = good().Git
		return s
	}
	custom := func(kind string) *pb.JobSpec {
		return &pb.JobSpec{Kind: &pb.JobSpec_Custom{Custom: &pb.CustomJob{Kind: kind, Payload: []byte{0}}}}
	}
	badGit := obuilder("x")
	badGit.Git = &pb.GitContext{Url: good().Git.Url}
	for name, c := range map[string]struct {
		spec *pb.JobSpec
		want string // empty: accepted
	}{
		"obuilder":          {obuilder("((from x))"), ""},
		"empty obuilder":    {obuilder(" \n"), "OBuilder spec is empty"},
		"zero in obuilder":  {obuilder("((from \x00))"), "zero byte"},
		"obuilder, bad git": {badGit, "0 commits"},

		"sandbox":         {sandbox(func(*pb.SandboxJob) {}), ""},
		"sandbox, limits": {sandbox(func(b *pb.SandboxJob) { b.Network, b.CpuMillis, b.MemoryBytes = "host", 10, 6<<20 }), ""},
		"no image":        {sandbox(func(b *pb.SandboxJob) { b.Image = "" }), "names no base image"},
		"bad image":       {sandbox(func(b *pb.SandboxJob) { b.Image = "-v" }), "want a reference"},
		"spaced image":    {sandbox(func(b *pb.SandboxJob) { b.Image = "a b" }), "want a reference"},
		"long image":      {sandbox(func(b *pb.SandboxJob) { b.Image = strings.Repeat("x", 513) }), "513 bytes"},
		"odd network":     {sandbox(func(b *pb.SandboxJob) { b.Network = "bridge" }), "use none or host"},
		"little cpu":      {sandbox(func(b *pb.SandboxJob) { b.CpuMillis = 9 }), "thousandths"},
		"negative cpu":    {sandbox(func(b *pb.SandboxJob) { b.CpuMillis = -1 }), "thousandths"},
		"little memory":   {sandbox(func(b *pb.SandboxJob) { b.MemoryBytes = 1 }), "bytes of memory"},
		"no command":      {sandbox(func(b *pb.SandboxJob) { b.Command = nil }), "no command"},
		"dir outside":     {sandbox(func(b *pb.SandboxJob) { b.Command.Dir = ".." }), "without '..'"},

		"docker":            {docker(func(*pb.DockerJob) {}), ""},
		"docker, a path":    {inContext("build/Dockerfile"), ""},
		"no Dockerfile":     {docker(func(d *pb.DockerJob) { d.Dockerfile = nil }), "no Dockerfile"},
		"empty Dockerfile":  {docker(func(d *pb.DockerJob) { d.Dockerfile = &pb.DockerJob_Contents{} }), "Dockerfile is empty"},
		"absolute path":     {inContext("/etc/passwd"), "relative to the checkout"},
		"path with ..":      {inContext("a/../../Dockerfile"), "relative to the checkout"},
		"empty path":        {inContext(""), "relative to the checkout"},
		"path without git":  {docker(func(d *pb.DockerJob) { d.Dockerfile = &pb.DockerJob_Path{Path: "Dockerfile"} }), "has no repository"},
		"bad argument":      {docker(func(d *pb.DockerJob) { d.BuildArgs[0].Name = "a b" }), "build argument"},
		"argument twice":    {docker(func(d *pb.DockerJob) { d.BuildArgs = append(d.BuildArgs, d.BuildArgs[0]) }), "set twice"},
		"bad target":        {docker(func(d *pb.DockerJob) { d.Target = "a,b=c" }), "name of a stage"},
		"bad platform":      {docker(func(d *pb.DockerJob) { d.Platform = "linux/arm64,linux/amd64" }), "want OS/ARCH"},
		"push of a digest":  {docker(func(d *pb.DockerJob) { d.Push = "a@sha256:12" }), "not a digest"},
		"push with options": {docker(func(d *pb.DockerJob) { d.Push = "a:1,push=false" }), "want a reference"},
		"cache options":     {docker(func(d *pb.DockerJob) { d.CacheTo = "a:1,mode=max" }), "want a reference"},
		"import options":    {docker(func(d *pb.DockerJob) { d.CacheFrom[0] = "type=local,src=/" }), "want a reference"},
		"many imports":      {docker(func(d *pb.DockerJob) { d.CacheFrom = make([]string, 17) }), "17 caches"},

		"custom":   {custom("deploy"), ""},
		"no kind":  {custom(""), "kind of job has no name"},
		"bad kind": {custom("a/b"), "is not allowed"},
	} {
		t.Run(name, func(t *testing.T) { check(t, validateSpec(c.spec), c.want) })
	}
}
