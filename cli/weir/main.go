// Command weir is the whole product in one binary: scheduler node, build
// worker, client and operator's tool.
package main

import (
	"context"
	"os"

	"github.com/weirbuild/weir/cli"
	"github.com/weirbuild/weir/workerd/supervise"
)

func main() {
	supervise.Main()
	os.Exit(cli.Main(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
