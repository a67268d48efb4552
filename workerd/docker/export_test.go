package docker

// MarkOf is how the marks of builds begin that a worker with this directory has begun.
func MarkOf(dir string) string { h, _ := openHistory(nil, dir); return h.worker }
