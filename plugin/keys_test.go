// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// effectless are the keys that no code reads, because all of their values have the same effect.
var effectless = []string{
	// The plugin loopback configures lo as we do.
	"plugins.'io.containerd.cri.v1.runtime'.cni.use_internal_loopback",
}

// TestEveryKeyOfContainerd compares the keys in the source of the built-in CRI with ours. Each must
// exist here, and must either be read outside of the defaults and checks in package config, or be
// named in the log when a file sets it.
func TestEveryKeyOfContainerd(t *testing.T) {
	if testing.Short() {
		t.Skip("type-checks the plugin")
	}
	stock, ours := stockKeys(t), ourKeys()
	if diff := cmp.Diff(stock, slices.Sorted(mapKeys(ours))); diff != "" {
		t.Errorf("keys of containerd -, ours +:\n%s", diff)
	}
	read := readFields(t)
	for key, field := range ours {
		if !read[field] && !slices.Contains(effectless, key) && !isNamed(t, key) {
			t.Errorf("%s (%s) is neither read nor named at start: add it to plugin/config/pending.go", key, field)
		}
	}
	if len(stock) < 70 || len(read) < 50 {
		t.Errorf("found only %d keys and %d fields that are read", len(stock), len(read))
	}
}

func mapKeys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for key := range m {
			if !strings.Contains(key, "'.lite.") && !yield(key) {
				return
			}
		}
	}
}

// stockKeys reads the keys of the built-in CRI from containerd's source, because its package is
// internal.
func stockKeys(t *testing.T) []string {
	t.Helper()
	dir := goList(t, "-m", "-f", "{{.Dir}}", "github.com/containerd/containerd/v2")[0]
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(dir, "internal/cri/config/config.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	structs := map[string]*ast.StructType{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.TypeSpec); ok {
			if s, ok := spec.Type.(*ast.StructType); ok {
				structs[spec.Name.Name] = s
			}
		}
		return true
	})
	var keys []string
	var walk func(table, name string, path []string)
	walk = func(table, name string, path []string) {
		for _, f := range structs[name].Fields.List {
			tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`"))
			path := append(slices.Clone(path), tag.Get("toml"))
			typ := f.Type
			if star, ok := typ.(*ast.StarExpr); ok {
				typ = star.X
			}
			if m, ok := typ.(*ast.MapType); ok {
				path, typ = append(path, "*"), m.Value
			}
			if id, ok := typ.(*ast.Ident); ok && structs[id.Name] != nil {
				walk(table, id.Name, path)
				continue
			}
			keys = append(keys, config.KeyPath(table, path...))
		}
	}
	walk(config.ImagesTable, "ImageConfig", nil)
	walk(config.RuntimeTable, "RuntimeConfig", nil)
	walk(config.ServerTable, "ServerConfig", nil)
	slices.Sort(keys)
	return keys
}

// ourKeys returns our keys with the struct field of each in the form "struct.field".
func ourKeys() map[string]string {
	keys := map[string]string{}
	var walk func(table string, typ reflect.Type, path []string)
	walk = func(table string, typ reflect.Type, path []string) {
		for i := range typ.NumField() {
			f := typ.Field(i)
			path, of := slices.Clone(path), f.Type
			if !f.Anonymous {
				path = append(path, f.Tag.Get("toml"))
			}
			if of.Kind() == reflect.Pointer {
				of = of.Elem()
			}
			if of.Kind() == reflect.Map {
				path, of = append(path, "*"), of.Elem()
			}
			if of.Kind() == reflect.Struct {
				walk(table, of, path)
				continue
			}
			keys[config.KeyPath(table, path...)] = typ.Name() + "." + f.Name
		}
	}
	walk(config.ImagesTable, reflect.TypeFor[config.Images](), nil)
	walk(config.RuntimeTable, reflect.TypeFor[config.Runtime](), nil)
	walk(config.ServerTable, reflect.TypeFor[config.Server](), nil)
	return keys
}

// readFields returns the fields of package config's structs that a package of the plugin reads, in
// the form "struct.field". Code that only sets, checks or shows a key does not count.
func readFields(t *testing.T) map[string]bool {
	t.Helper()
	exports := map[string]string{}
	for _, line := range goList(t, "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".") {
		path, file, _ := strings.Cut(line, " ")
		exports[path] = file
	}
	fset := token.NewFileSet()
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })
	read := map[string]bool{}
	for _, dir := range []string{".", "config", "container", "pod", "runtime", "specgen"} {
		var files []*ast.File
		paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, file)
		}
		info := types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
		if _, err := (&types.Config{Importer: imports}).Check(dir, fset, files, &info); err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, selector := range reads(dir, fset, file) {
				if s := info.Selections[selector]; s != nil && s.Kind() == types.FieldVal {
					read[fieldName(s)] = true
				}
			}
		}
	}
	return read
}

// reads returns the selectors in a file that may read a key.
func reads(dir string, fset *token.FileSet, file *ast.File) []*ast.SelectorExpr {
	switch filepath.Base(fset.Position(file.Pos()).Filename) {
	case "validate.go", "pending.go", "notes.go":
		return nil
	}
	var found []*ast.SelectorExpr
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || fn.Name.Name == "Info" || dir == "config" && (strings.HasPrefix(fn.Name.Name, "Default") || fn.Name.Name == "Complete") {
			continue
		}
		ast.Inspect(fn, func(n ast.Node) bool {
			if selector, ok := n.(*ast.SelectorExpr); ok {
				found = append(found, selector)
			}
			return true
		})
	}
	return found
}

// fieldName returns the name of the struct, possibly an embedded one, that has the selected field,
// and the name of the field.
func fieldName(s *types.Selection) string {
	owner := s.Recv()
	path := s.Index()
	for _, i := range path[:len(path)-1] {
		owner = structOf(owner).Field(i).Type()
	}
	if p, ok := owner.Underlying().(*types.Pointer); ok {
		owner = p.Elem()
	}
	named, ok := owner.(*types.Named)
	if !ok {
		return ""
	}
	if pkg := named.Obj().Pkg(); pkg.Name() != "config" {
		return ""
	}
	return fmt.Sprintf("%s.%s", named.Obj().Name(), s.Obj().Name())
}

func structOf(typ types.Type) *types.Struct {
	if p, ok := typ.Underlying().(*types.Pointer); ok {
		typ = p.Elem()
	}
	return typ.Underlying().(*types.Struct)
}

// isNamed reports whether a log line at start names a key that a file sets to another value than
// the default.
func isNamed(t *testing.T, key string) bool {
	t.Helper()
	rest, isRuntime := strings.CutPrefix(key, config.KeyPath(config.RuntimeTable)+".")
	if !isRuntime {
		rest = strings.TrimPrefix(key, config.KeyPath(config.ImagesTable)+".")
	}
	for _, value := range []string{"true", "'other'"} {
		images, runtime := config.DefaultImages(), config.DefaultRuntime()
		file := []byte(strings.ReplaceAll(rest, "*", "name") + " = " + value)
		if toml.Unmarshal(file, &images) != nil || toml.Unmarshal(file, &runtime) != nil {
			continue
		}
		lines := slices.Concat(images.Pending(), runtime.Pending(), runtime.Notes())
		named := strings.ReplaceAll(key, "*", "name") + ": "
		if slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, named) }) {
			return true
		}
	}
	return false
}

// goList runs go list. It needs no network, because all packages are dependencies of the test.
func goList(t *testing.T, args ...string) []string {
	t.Helper()
	out, err := exec.Command("go", append([]string{"list", "-tags", "no_cri"}, args...)...).Output()
	if err != nil {
		t.Fatalf("go list %v: %v", args, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}
