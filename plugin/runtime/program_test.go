// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

func TestCheckShim(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("PATH", dir)
	for name, mode := range map[string]os.FileMode{"containerd-shim-good-v1": 0o755, "containerd-shim-bad-v1": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	for _, h := range []config.Handler{
		{Type: "io.containerd.good.v1"},
		{Type: "io.containerd.none.v1", Path: filepath.Join(dir, "containerd-shim-good-v1")},
	} {
		if err := CheckShim(h); err != nil {
			t.Errorf("%s %s: %v", h.Type, h.Path, err)
		}
	}
	for _, h := range []config.Handler{
		{Type: "io.containerd.none.v1"},
		{Type: "io.containerd.bad.v1"}, // not executable
		{Type: "good"},
		{Type: "io.containerd.good.v1", Path: filepath.Join(dir, "none")},
		{Type: "io.containerd.good.v1", Path: dir},
	} {
		if err := CheckShim(h); !errdefs.IsFailedPrecondition(err) {
			t.Errorf("%s %s: %v, want FailedPrecondition", h.Type, h.Path, err)
		}
	}
}
