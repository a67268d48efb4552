package fsm_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport is all that a pure package needs. time is for printing durations.
var mayImport = []string{
	"bufio", "bytes", "cmp", "crypto/sha256", "encoding/binary", "errors", "fmt", "io", "iter", "math",
	"slices", "sort", "strconv", "strings", "time", "unicode", "unicode/utf8",
	"github.com/tidwall/btree", "google.golang.org/protobuf/encoding/protowire", "google.golang.org/protobuf/proto",
	"google.golang.org/protobuf/reflect/protoreflect",
	"github.com/weirbuild/weir/proto/pb", "github.com/weirbuild/weir/proto/reason",
}

// TestPure reads the package's own source: no goroutine, no clock, no built-in map
// whose order could show, and nothing imported that could bring one in.
func TestPure(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		tree, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range tree.Imports {
			if path, _ := strconv.Unquote(i.Path.Value); !slices.Contains(mayImport, path) {
				t.Errorf("%s imports %s", file, path)
			}
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			if what := impure(n); what != "" {
				t.Errorf("%s: %s", set.Position(n.Pos()), what)
			}
			return true
		})
	}
}

func impure(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a goroutine"
	case *ast.ChanType:
		return "a channel"
	case *ast.MapType:
		return "a built-in map"
	case *ast.SelectorExpr:
		if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && !slices.Contains([]string{"Duration", "Millisecond"}, n.Sel.Name) {
			return "time." + n.Sel.Name
		}
	}
	return ""
}
