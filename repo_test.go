// SPDX-License-Identifier: Apache-2.0

// Package repo_test checks the rules of CONTRIBUTING.md that no linter checks, over every Go file
// of the repository.
package repo_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/printer"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Hard limits. CONTRIBUTING.md has the desired sizes.
const (
	maxFileLines = 500
	maxFuncLines = 80
	maxFields    = 15
	maxExported  = 20 // exported methods of a type
	maxMethods   = 40 // methods of a type
	// minTwinLines is the number of lines from which two functions must not have the same body.
	minTwinLines = 6
)

// manyMethods are the types with one method for each RPC of a service.
var manyMethods = []string{"plugin/cri.Server", "shim/task.Service"}

// goFile is one parsed file.
type goFile struct {
	path string // relative to the root of the repository
	text []byte
	fset *token.FileSet
	ast  *ast.File
}

func (f goFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f goFile) dir() string { return filepath.ToSlash(filepath.Dir(f.path)) }

func (f goFile) line(p token.Pos) int { return f.fset.Position(p).Line }

func (f goFile) lines(n ast.Node) int { return f.line(n.End()) - f.line(n.Pos()) + 1 }

// funcs returns the functions of the file that have a body.
func (f goFile) funcs() []*ast.FuncDecl {
	var all []*ast.FuncDecl
	for _, decl := range f.ast.Decls {
		if fn, ok := decl.(*ast.FuncDecl); ok && fn.Body != nil {
			all = append(all, fn)
		}
	}
	return all
}

// goFiles parses every Go file of the repository.
func goFiles(t *testing.T) []goFile {
	t.Helper()
	var files []goFile
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != "." && (name[0] == '.' || name[0] == '_' || name == "testdata" || name == "bin") {
			return fs.SkipDir
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		f := goFile{path: path, fset: token.NewFileSet()}
		if f.text, err = os.ReadFile(path); err != nil {
			return err
		}
		f.ast, err = parser.ParseFile(f.fset, path, f.text, parser.ParseComments)
		files = append(files, f)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestLicenseHeader(t *testing.T) {
	for _, f := range goFiles(t) {
		if !bytes.HasPrefix(f.text, []byte("// SPDX-License-Identifier: Apache-2.0\n\n")) {
			t.Errorf("%s: the first line is not the SPDX header, followed by an empty line", f.path)
		}
	}
}

// TestPackageDocs expects exactly one doc comment per package.
func TestPackageDocs(t *testing.T) {
	docs := map[string]int{}
	for _, f := range goFiles(t) {
		if f.isTest() && f.dir() != "." {
			continue
		}
		docs[f.dir()] += 0
		if f.ast.Doc != nil {
			docs[f.dir()]++
		}
	}
	for dir, n := range docs {
		if n != 1 {
			t.Errorf("%s: %d files with a package comment, want 1", dir, n)
		}
	}
}

func TestFileNames(t *testing.T) {
	name := regexp.MustCompile(`^(utils?|helpers?|common|misc|types)(_test)?$|_(other|windows|darwin|freebsd|unsupported|stub)$`)
	for _, f := range goFiles(t) {
		if name.MatchString(strings.TrimSuffix(filepath.Base(f.path), ".go")) {
			t.Errorf("%s: name the file after its content; only Linux is supported", f.path)
		}
		if name.MatchString(f.ast.Name.Name) {
			t.Errorf("%s: name the package after what it owns", f.dir())
		}
	}
}

func TestSizes(t *testing.T) {
	files := goFiles(t)
	for _, f := range files {
		if n := bytes.Count(f.text, []byte("\n")); n > maxFileLines {
			t.Errorf("%s: %d lines, at most %d", f.path, n, maxFileLines)
		}
		if f.isTest() {
			continue
		}
		for _, fn := range f.funcs() {
			if n := f.lines(fn); n > maxFuncLines {
				t.Errorf("%s:%d: %s has %d lines, at most %d", f.path, f.line(fn.Pos()), fn.Name.Name, n, maxFuncLines)
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if s, ok := n.(*ast.StructType); ok && s.Fields.NumFields() > maxFields {
				t.Errorf("%s:%d: a struct of %d fields, at most %d", f.path, f.line(s.Pos()), s.Fields.NumFields(), maxFields)
			}
			return true
		})
	}
	for _, offence := range largeTypes(files) {
		t.Error(offence)
	}
}

// largeTypes returns the types that have too many methods.
func largeTypes(files []goFile) []string {
	exported, methods := map[string]int{}, map[string]int{}
	for _, f := range files {
		if f.isTest() {
			continue
		}
		for _, fn := range f.funcs() {
			if fn.Recv == nil {
				continue
			}
			name := f.dir() + "." + receiver(fn)
			methods[name]++
			if fn.Name.IsExported() {
				exported[name]++
			}
		}
	}
	var large []string
	for name, n := range methods {
		if (n > maxMethods || exported[name] > maxExported) && !slices.Contains(manyMethods, name) {
			large = append(large, fmt.Sprintf("%s has %d methods, %d of them exported; at most %d and %d",
				name, n, exported[name], maxMethods, maxExported))
		}
	}
	return large
}

// receiver returns the name of a method's type.
func receiver(fn *ast.FuncDecl) string {
	t := fn.Recv.List[0].Type
	for {
		switch x := t.(type) {
		case *ast.StarExpr:
			t = x.X
		case *ast.IndexExpr:
			t = x.X
		case *ast.IndexListExpr:
			t = x.X
		case *ast.Ident:
			return x.Name
		default:
			return ""
		}
	}
}

// inits are the files with an init function: that of the plugin registers it, the others answer a
// command of the shim or take over the process before other packages are initialized.
var inits = []string{"plugin/plugin.go", "shim/deleted/deleted.go", "shim/enter/enter.go"}

func TestInits(t *testing.T) {
	var found []string
	for _, f := range goFiles(t) {
		for _, fn := range f.funcs() {
			if fn.Recv == nil && fn.Name.Name == "init" {
				found = append(found, f.path)
			}
		}
	}
	if !slices.Equal(found, inits) {
		t.Errorf("init functions in %v, want %v", found, inits)
	}
}

// TestErrors checks that errors name a step, and that code never compares the text of an error.
func TestErrors(t *testing.T) {
	for _, f := range goFiles(t) {
		if f.isTest() {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if pkg, _ := selector(call.Fun); pkg == "strings" || pkg == "regexp" || pkg == "bytes" {
				if slices.ContainsFunc(call.Args, isErrorText) {
					t.Errorf("%s:%d: compares an error's text; use errors.Is or errdefs", f.path, f.line(call.Pos()))
				}
			}
			if text, ok := errorText(call); ok && vague.MatchString(text) {
				t.Errorf("%s:%d: %q: name the step, not that it failed", f.path, f.line(call.Pos()), text)
			}
			return true
		})
	}
}

// vague matches errors that say that something failed, but not what.
var vague = regexp.MustCompile(`(?i)\b(failed to|unable to|could not|error while|error when)\b`)

// isErrorText reports whether an expression is a call of Error.
func isErrorText(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok || len(call.Args) > 0 {
		return false
	}
	sel, ok := call.Fun.(*ast.SelectorExpr)
	return ok && sel.Sel.Name == "Error"
}

// errorText returns the text of fmt.Errorf and errors.New.
func errorText(call *ast.CallExpr) (string, bool) {
	pkg, name := selector(call.Fun)
	if pkg+"."+name != "fmt.Errorf" && pkg+"."+name != "errors.New" || len(call.Args) == 0 {
		return "", false
	}
	literal, ok := call.Args[0].(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return "", false
	}
	text, err := strconv.Unquote(literal.Value)
	return text, err == nil
}

// selector returns the two names of an expression like pkg.Name.
func selector(e ast.Expr) (pkg, name string) {
	sel, ok := e.(*ast.SelectorExpr)
	if !ok {
		return "", ""
	}
	if id, ok := sel.X.(*ast.Ident); ok {
		pkg = id.Name
	}
	return pkg, sel.Sel.Name
}

func TestComments(t *testing.T) {
	unfinished := regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)
	for _, f := range goFiles(t) {
		for _, group := range f.ast.Comments {
			if found := unfinished.FindString(group.Text()); found != "" {
				t.Errorf("%s:%d: %s: open an issue instead", f.path, f.line(group.Pos()), found)
			}
		}
	}
}

// TestNoTwins expects no two functions with the same body.
func TestNoTwins(t *testing.T) {
	seen := map[string]string{}
	for _, f := range goFiles(t) {
		if f.isTest() {
			continue
		}
		for _, fn := range f.funcs() {
			if f.lines(fn.Body) < minTwinLines {
				continue
			}
			var body bytes.Buffer
			if err := printer.Fprint(&body, f.fset, fn.Body); err != nil {
				t.Fatal(err)
			}
			here := f.path + ": " + fn.Name.Name
			if there, ok := seen[body.String()]; ok {
				t.Errorf("%s and %s have the same body", there, here)
			}
			seen[body.String()] = here
		}
	}
}

// TestNoReplace checks the module of the programs. That of the suites replaces it by the checkout.
func TestNoReplace(t *testing.T) {
	if regexp.MustCompile(`(?m)^\s*replace\b`).Match(readMod(t, "go.mod")) {
		t.Error("go.mod replaces a module: `go install` of the commands would build other code than the tested one")
	}
}

// TestSameVersions checks that the suites are built from the versions of the programs' modules.
func TestSameVersions(t *testing.T) {
	suites := requirements(readMod(t, "integration/go.mod"))
	shared := 0
	for module, version := range requirements(readMod(t, "go.mod")) {
		other, ok := suites[module]
		if !ok {
			continue
		}
		shared++
		if other != version {
			t.Errorf("%s: %s in go.mod, %s in integration/go.mod", module, version, other)
		}
	}
	if shared == 0 {
		t.Error("go.mod and integration/go.mod have no module in common")
	}
}

func readMod(t *testing.T, path string) []byte {
	t.Helper()
	mod, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return mod
}

// requirements returns the versions of Go and of the modules that a go.mod requires.
func requirements(mod []byte) map[string]string {
	versions := map[string]string{}
	for _, match := range regexp.MustCompile(`(?m)^(?:\t|require )?(\S+) v?(\d\S+)`).FindAllSubmatch(mod, -1) {
		versions[string(match[1])] = string(match[2])
	}
	return versions
}
