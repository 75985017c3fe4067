// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/shim/enter"
)

// TestEnterStartsBeforeLargePackages checks that the program of package enter takes over before the
// packages are initialized that make the start of the shim slow. It depends on the import paths and
// on the imports of package enter.
func TestEnterStartsBeforeLargePackages(t *testing.T) {
	shim := filepath.Join(t.TempDir(), "shim")
	build := exec.Command("go", "build", "-tags", "no_grpc", "-o", shim, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	var trace bytes.Buffer
	cmd := exec.Command(shim)
	cmd.Args = []string{enter.Name}
	cmd.Env = []string{"GODEBUG=inittrace=1"}
	cmd.Stderr = &trace
	if err := cmd.Run(); err == nil { // there is no socket
		t.Error("the program succeeded without a request")
	}
	if !strings.Contains(trace.String(), "init golang.org/x/sys/unix ") {
		t.Fatalf("no trace: %s", &trace)
	}
	for line := range strings.Lines(trace.String()) {
		_, path, _ := strings.Cut(line, "init ")
		path, _, _ = strings.Cut(path, " ")
		for _, large := range []string{"google.golang.org/protobuf/proto", "google.golang.org/protobuf/internal/impl",
			"github.com/containerd/", "regexp", "net", "github.com/opencontainers/go-digest"} {
			if path == large || strings.HasSuffix(large, "/") && strings.HasPrefix(path, large) {
				t.Errorf("%s is initialized first", path)
			}
		}
	}
	t.Logf("%d packages are initialized first", strings.Count(trace.String(), "\ninit ")+1)
}
