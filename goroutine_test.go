// SPDX-License-Identifier: Apache-2.0

package repo_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strings"
	"testing"
)

// unguarded are packages that only tests run.
var unguarded = []string{"shim/oci/ocitest", "plugin/runtime/runtimetest"}

// TestGoroutinesAreGuarded checks that a panic in a goroutine of the daemon or the shim does not
// end the process: every goroutine is started by package guard, or by a group or timer with a
// function that package guard returned.
func TestGoroutinesAreGuarded(t *testing.T) {
	for _, f := range goFiles(t) {
		top, _, _ := strings.Cut(f.path, "/")
		ours := top == "plugin" || top == "shim" || top == "internal" || strings.HasPrefix(f.path, "cmd/containerd-lite/")
		if f.isTest() || !ours || f.dir() == "internal/guard" || slices.Contains(unguarded, f.dir()) {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if unguardedStart(n) {
				t.Errorf("%s:%d: a goroutine that is not guarded; start it with guard.Go or guard.Start, or give the group a guard.Func",
					f.path, f.line(n.Pos()))
			}
			return true
		})
	}
}

// TestUnguardedStart lists statements that TestGoroutinesAreGuarded finds or accepts.
func TestUnguardedStart(t *testing.T) {
	for code, want := range map[string]bool{
		"go work()":                true,
		"go func() { work() }()":   true,
		"m.wait.Go(work)":          true,
		"group.TryGo(work)":        true,
		"wg.Go(func() { work() })": true,
		"m.removes.DoChan(id, func() (any, error) { return nil, work() })":                                true,
		"group.Go(func() error { prepare(); return guard.Call(ctx, what, work) })":                        true,
		"context.AfterFunc(ctx, func() { work() })":                                                       true,
		"go guard.Catch(ctx, what, work, nil)()":                                                          false,
		"guard.Go(ctx, &wg, what, func() { work() })":                                                     false,
		"group.Go(guard.Func(ctx, what, work))":                                                           false,
		"group.Go(func() error { return guard.Keep(ctx, what, work) })":                                   false,
		"m.removes.DoChan(id, func() (any, error) { return nil, guard.Call(ctx, what, work) })":           false,
		"m.ends.DoChan(id, func() (any, error) { defer cancel(); return nil, guard.Call(ctx, what, f) })": false,
		`child.AfterExit(work)`:                                true,
		`child.AfterExit(guard.Catch(ctx, "work", work, nil))`: false,
		"context.AfterFunc(ctx, cancel)":                       false,
		"context.AfterFunc(ctx, func() { conn.Close() })":      false,
	} {
		file, err := parser.ParseFile(token.NewFileSet(), "", "package p\nfunc f() {\n"+code+"\n}", 0)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		ast.Inspect(file, func(n ast.Node) bool {
			found = found || unguardedStart(n)
			return true
		})
		if found != want {
			t.Errorf("%s: found %v, want %v", code, found, want)
		}
	}
}

// unguardedStart reports whether a node starts a goroutine of a function that is not guarded.
func unguardedStart(n ast.Node) bool {
	if statement, ok := n.(*ast.GoStmt); ok {
		return !isGuarded(statement.Call.Fun)
	}
	call, ok := n.(*ast.CallExpr)
	if !ok || len(call.Args) == 0 {
		return false
	}
	pkg, name := selector(call.Fun)
	fn := call.Args[len(call.Args)-1]
	switch {
	case pkg == "guard":
		return false
	case name == "Go", name == "TryGo", name == "DoChan", name == "AfterExit":
		return !isGuarded(fn)
	case name == "AfterFunc":
		return !isGuarded(fn) && !onlyEnds(fn)
	}
	return false
}

// isGuarded reports whether a function is the result of package guard, or consists of deferred
// calls, assignments and the return of a call of package guard.
func isGuarded(fn ast.Expr) bool {
	if call, ok := fn.(*ast.CallExpr); ok {
		pkg, _ := selector(call.Fun)
		return pkg == "guard"
	}
	literal, ok := fn.(*ast.FuncLit)
	if !ok {
		return false
	}
	for _, statement := range literal.Body.List {
		switch s := statement.(type) {
		case *ast.DeferStmt, *ast.AssignStmt:
		case *ast.ReturnStmt:
			return len(s.Results) > 0 && isGuarded(s.Results[len(s.Results)-1])
		default:
			return false
		}
	}
	return false
}

// onlyEnds reports whether a function is a named one, such as cancel, or only calls Close.
func onlyEnds(fn ast.Expr) bool {
	literal, ok := fn.(*ast.FuncLit)
	if !ok {
		return true
	}
	if len(literal.Body.List) != 1 {
		return false
	}
	statement, ok := literal.Body.List[0].(*ast.ExprStmt)
	if !ok {
		return false
	}
	call, ok := statement.X.(*ast.CallExpr)
	if !ok {
		return false
	}
	_, name := selector(call.Fun)
	return name == "Close"
}
