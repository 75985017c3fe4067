// SPDX-License-Identifier: Apache-2.0

package docs_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// testIndex has the tests of the repository by directory.
type testIndex map[string]*testDir

type testDir struct {
	functions map[string]bool
	// labels are the possible names of subtests: the strings in the test files, and the names of
	// the files in testdata.
	labels map[string]bool
}

// readTests parses the test files of the repository.
func readTests(t *testing.T) testIndex {
	t.Helper()
	index := testIndex{}
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != ".." && (name[0] == '.' || name == "bin") {
			return fs.SkipDir
		}
		dir := filepath.Dir(strings.TrimPrefix(path, "../"))
		if owner, _, isData := strings.Cut(dir, "/testdata"); isData {
			label, _, _ := strings.Cut(name, ".")
			index.dir(owner).labels[label] = true
			return nil
		}
		if entry.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return nil
		}
		return index.dir(dir).read(path)
	})
	if err != nil {
		t.Fatal(err)
	}
	return index
}

func (i testIndex) dir(name string) *testDir {
	if i[name] == nil {
		i[name] = &testDir{functions: map[string]bool{}, labels: map[string]bool{}}
	}
	return i[name]
}

// read adds the test functions and the strings of a file.
func (d *testDir) read(path string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.FuncDecl:
			d.functions[n.Name.Name] = n.Recv == nil
		case *ast.BasicLit:
			if text, err := strconv.Unquote(n.Value); err == nil && n.Kind == token.STRING {
				d.labels[strings.ReplaceAll(text, " ", "_")] = true
			}
		}
		return true
	})
	return nil
}

// problem returns the problem with the name of a test, TestName or TestName/subtest, or "".
func (i testIndex) problem(dir, name string) string {
	d, ok := i[dir]
	if !ok {
		return "no such directory"
	}
	path := strings.Split(name, "/")
	isTest := strings.HasPrefix(path[0], "Test") || strings.HasPrefix(path[0], "Fuzz")
	if !isTest || !d.functions[path[0]] {
		return "no such test"
	}
	for _, label := range path[1:] {
		if !d.labels[label] {
			return "no such subtest"
		}
	}
	return ""
}
