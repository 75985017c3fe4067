// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"testing"
)

// TestChildNeverCallsTheScheduler checks that all functions that run in the child are marked: the
// start of another function could call Go's scheduler, and the child would hang, rarely.
func TestChildNeverCallsTheScheduler(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "fork.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	marked := 0
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok || f.Name.Name == "fork" { // the only one that runs in the parent alone
			continue
		}
		for _, mark := range []string{"//go:nosplit", "//go:norace"} {
			if f.Doc == nil || !slices.ContainsFunc(f.Doc.List, func(c *ast.Comment) bool { return c.Text == mark }) {
				t.Errorf("%s is not marked %s", f.Name.Name, mark)
			}
		}
		marked++
	}
	if marked != 4 {
		t.Errorf("%d functions, want 4", marked)
	}
}
