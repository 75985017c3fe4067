// SPDX-License-Identifier: Apache-2.0

package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/pelletier/go-toml/v2"
)

// TestDefaults compares every key, type and default with containerd's. The intended differences are
// applied to containerd's side here.
func TestDefaults(t *testing.T) {
	data, err := os.ReadFile("testdata/containerd-2.4.2.toml")
	if err != nil {
		t.Fatal(err)
	}
	var stock struct{ Plugins map[string]any }
	if err := toml.Unmarshal(data, &stock); err != nil {
		t.Fatal(err)
	}
	containerd := lookup(stock.Plugins, []string{RuntimeTable, "containerd"}).(map[string]any)
	containerd["default_runtime_name"] = "lite"
	runc := lookup(containerd, []string{"runtimes", "runc"}).(map[string]any)
	lite := map[string]any{}
	for key, v := range runc {
		lite[key] = v
	}
	lite["runtime_type"] = "io.containerd.lite.v2"
	lite["options"] = maps.Clone(runc["options"].(map[string]any))
	lite["options"].(map[string]any)["Sharing"] = "pod"
	lite["options"].(map[string]any)["FastExec"] = false
	containerd["runtimes"].(map[string]any)["lite"] = lite

	runtime := lookup(stock.Plugins, []string{RuntimeTable}).(map[string]any)
	runtime["lite"] = map[string]any{"missing_host_path": "create", "inspect_env_values": false}

	ours := tables(t, Config{DefaultImages(), DefaultRuntime(), DefaultServer()})
	if diff := cmp.Diff(stock.Plugins, ours); diff != "" {
		t.Errorf("containerd -, ours +:\n%s", diff)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	c := Config{DefaultImages(), DefaultRuntime(), DefaultServer()}
	for _, err := range []error{c.Images.Validate(), c.Runtime.Validate(Host{}), c.Server.Validate()} {
		if err != nil {
			t.Error(err)
		}
	}
	if c.Runtime.Complete() {
		t.Error("lite inherits settings although nothing was set")
	}
	checkPending(t, append(c.Images.Pending(), c.Runtime.Pending()...), nil)
}

// TestEveryKeyIsDocumented checks that each field of a table has a doc comment and a toml tag.
func TestEveryKeyIsDocumented(t *testing.T) {
	fields := 0
	for _, file := range []string{"images.go", "runtime.go", "handler.go", "server.go"} {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			table, ok := n.(*ast.StructType)
			if !ok {
				return true
			}
			documented := false
			for _, f := range table.Fields.List {
				if len(f.Names) == 0 {
					continue // Security and Resources, whose own fields are checked
				}
				fields++
				// Adjacent fields may share a comment, as Username and Password do.
				documented = f.Doc != nil || documented && strings.HasPrefix(f.Names[0].Name, "Password")
				if !documented || f.Tag == nil || !strings.HasPrefix(f.Tag.Value, "`toml:") {
					t.Errorf("%s: %s needs a doc comment and a toml tag", file, f.Names[0].Name)
				}
			}
			return true
		})
	}
	if fields < 60 {
		t.Errorf("%d fields found, the tables have more", fields)
	}
}
