// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/pelletier/go-toml/v2"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// docs are the doc comments of struct fields in a package, by the names of struct and field.
type docs map[string]map[string]string

// readDocs reads the doc comments in the sources of the package in dir.
func readDocs(dir string) (docs, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	found := docs{}
	for _, path := range files {
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				found.add(spec)
			}
			return true
		})
	}
	return found, nil
}

func (d docs) add(spec *ast.TypeSpec) {
	s, ok := spec.Type.(*ast.StructType)
	if !ok {
		return
	}
	d[spec.Name.Name] = map[string]string{}
	var text string
	for _, field := range s.Fields.List {
		// A field without a comment shares that of the field before it.
		if field.Doc != nil {
			text = strings.Join(strings.Fields(field.Doc.Text()), " ")
		}
		for _, name := range field.Names {
			d[spec.Name.Name][name.Name] = text
		}
	}
}

// keys returns a list of the keys of a table of the CRI: images, runtime or server. The keys of an
// inner table follow under its name.
func (d docs) keys(table string) (string, error) {
	tables := map[string]any{
		"images":  config.DefaultImages(),
		"runtime": config.DefaultRuntime(),
		"server":  config.DefaultServer(),
	}
	var text strings.Builder
	err := d.table(&text, "", reflect.ValueOf(tables[table]))
	return text.String(), err
}

// table writes the keys of a struct, with the struct's values as their defaults, and then its inner
// tables. name is the path of the table.
func (d docs) table(text *strings.Builder, name string, table reflect.Value) error {
	var inner []func() error
	for _, field := range reflect.VisibleFields(table.Type()) {
		if field.Anonymous {
			continue // its fields are visited themselves
		}
		value, key := table.FieldByIndex(field.Index), field.Tag.Get("toml")
		if child, suffix := inside(field.Type); child != nil {
			if child != field.Type {
				value = reflect.New(child).Elem()
			}
			inner = append(inner, func() error {
				path := strings.TrimPrefix(name+"."+key+suffix, ".")
				if hasKeys(child) {
					fmt.Fprintf(text, "### %s\n\n", escape(path))
				}
				return d.table(text, path, value)
			})
			continue
		}
		initial, err := inTOML(value)
		if err != nil {
			return fmt.Errorf("key %s of %s: %w", key, name, err)
		}
		text.WriteString(item(fmt.Sprintf("**%s** = %s", escape(key), escape(initial)), d.doc(owner(table.Type(), field.Index), field.Name)))
	}
	for _, write := range inner {
		if err := write(); err != nil {
			return err
		}
	}
	return nil
}

// inside returns the struct whose fields are the keys of an inner table, and the suffix .NAME if
// the field is a map of tables. It returns nil for the type of a value.
func inside(t reflect.Type) (table reflect.Type, name string) {
	if t.Kind() == reflect.Map {
		t, name = t.Elem(), ".NAME"
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return nil, ""
	}
	return t, name
}

// hasKeys reports whether a table has values, and not only inner tables.
func hasKeys(table reflect.Type) bool {
	return slices.ContainsFunc(reflect.VisibleFields(table), func(field reflect.StructField) bool {
		child, _ := inside(field.Type)
		return child == nil
	})
}

// owner returns the struct that declares a field, which may be embedded in table.
func owner(table reflect.Type, index []int) reflect.Type {
	for _, i := range index[:len(index)-1] {
		table = table.Field(i).Type
	}
	return table
}

// inTOML returns a value in the notation of config.toml.
func inTOML(value reflect.Value) (string, error) {
	switch {
	case value.Kind() == reflect.Map && value.Len() == 0:
		return "{}", nil
	case value.Kind() == reflect.Slice && value.IsNil():
		return "[]", nil
	}
	var line bytes.Buffer
	err := toml.NewEncoder(&line).SetTablesInline(true).Encode(map[string]any{"x": value.Interface()})
	return strings.TrimSpace(strings.TrimPrefix(line.String(), "x = ")), err
}

// reference is a reference to the code in a doc comment. The man page omits it.
var reference = regexp.MustCompile(`; see \[[\w.]+\]`)

// subject is the beginning of a doc comment: the names of one or two fields.
var subject = regexp.MustCompile(`^\w+( and [A-Z]\w+)?`)

// doc returns the doc comment of a field with the names of fields replaced by keys.
func (d docs) doc(table reflect.Type, field string) string {
	text := reference.ReplaceAllString(d[table.Name()][field], "")
	first := subject.FindString(text)
	rest := strings.TrimPrefix(text, first)
	for i := range table.NumField() {
		f := table.Field(i)
		name := regexp.MustCompile(`\b` + f.Name + `\b`)
		first = name.ReplaceAllString(first, f.Tag.Get("toml"))
		// A name of a single word is not replaced, since the text may mean the word itself.
		if strings.ContainsFunc(f.Name[1:], unicode.IsLower) && strings.ContainsFunc(f.Name[1:], unicode.IsUpper) {
			rest = name.ReplaceAllString(rest, f.Tag.Get("toml"))
		}
	}
	return escape(first + rest)
}
