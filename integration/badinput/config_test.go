// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/integration/harness"
)

// TestBrokenConfig starts containerd-lite with configs that it must refuse, naming file, line and
// key. Stock containerd makes no such promise.
func TestBrokenConfig(t *testing.T) {
	repo, err := harness.FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	if missing := repo.Missing(harness.Options{}); len(missing) > 0 {
		t.Skipf("this machine lacks %s", strings.Join(missing, ", "))
	}
	const runtime = "[plugins.'io.containerd.cri.v1.runtime']\n"
	for _, c := range []struct {
		name, text string
		line, key  string
	}{
		{"no TOML", "version = 3\nroot = \n", "2", "toml"},
		{"type of a value", "version = 3\n" + runtime + "  enable_selinux = \"yes\"\n", "3", "enable_selinux"},
		{"default handler not configured", "version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd]\n  default_runtime_name = 'absent'\n", "3", "default_runtime_name"},
		{"bad duration", "version = 3\n" + runtime + "  drain_exec_sync_io_timeout = 'soon'\n", "3", "drain_exec_sync_io_timeout"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			file := filepath.Join(root, "config.toml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			// The paths come from flags: they do not move the lines of the file.
			cmd := exec.CommandContext(t.Context(), repo.Bin("containerd-lite"), "--config", file,
				"--root", root+"/root", "--state", root+"/state", "--address", root+"/containerd.sock")
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("it starts with\n%s", c.text)
			}
			for _, part := range []string{file, c.line, c.key} {
				if !strings.Contains(string(out), part) {
					t.Errorf("it does not say %q:\n%s", part, out)
				}
			}
		})
	}
}
