package law

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// Every X-Onhook-Reason that the program gives is explained in
// docs/troubleshooting.md, and no other.
func TestReasonsAreExplained(t *testing.T) {
	reason := regexp.MustCompile(`^(account|app|auth|call|dialog|endpoint|flow|gruu|limit|media|permission|phones|redirect|register|relay|request|server|subscription)\.[a-z_]+$`)
	notTold := map[string]bool{"auth.wrong_digests": true} // what a ban is for
	given := map[string]bool{}
	for _, pkg := range []string{"routing", "server", "siptrunk", "sipproxy"} {
		files, err := filepath.Glob(filepath.Join(root, "internal", pkg, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", pkg, err)
		}
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					if text, _ := strconv.Unquote(lit.Value); reason.MatchString(text) && !notTold[text] {
						given[text] = true
					}
				}
				return true
			})
		}
	}
	page, err := os.ReadFile(filepath.Join(root, "docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "## Reasons")
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("`([a-z]+\\.[a-z_]+)`").FindAllStringSubmatch(table, -1) {
		explained[m[1]] = true
	}
	for name := range given {
		if !explained[name] {
			t.Errorf("docs/troubleshooting.md does not explain %s", name)
		}
	}
	for name := range explained {
		if !given[name] {
			t.Errorf("docs/troubleshooting.md explains %s, which is never given", name)
		}
	}
}
