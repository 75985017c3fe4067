// SPDX-License-Identifier: Apache-2.0

package main

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "update the list of packages")

// TestImports compares the packages that are linked into the shim with a list, since every pod pays
// for their memory. To add one and see its dependencies: go test ./cmd/containerd-shim-lite-v2
// -update.
func TestImports(t *testing.T) {
	golden := filepath.Join("testdata", "imports.txt")
	// The flags are those of the Makefile.
	list := exec.Command("go", "list", "-deps", "-tags", "no_grpc", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".")
	list.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	list.Stderr = os.Stderr
	output, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	got := withoutOwn(string(output))
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("packages in the shim (-want +got):\n%s", diff)
	}
}

// withoutOwn returns the sorted lines of packages that are not in this module.
func withoutOwn(list string) string {
	var names []string
	for name := range strings.Lines(list) {
		if !strings.HasPrefix(name, "github.com/containerd-lite/") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return strings.Join(names, "")
}
