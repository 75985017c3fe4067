// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// TestBrokenConfig starts containerd-lite with configs that it must refuse with an error that names
// the file, line and key. Stock containerd makes no such promise.
func TestBrokenConfig(t *testing.T) {
	repo, err := harness.FindRepo()
	if err != nil {
		t.Fatal(err)
	}
	if missing := repo.Missing(harness.Options{}); len(missing) > 0 {
		t.Skipf("this host lacks %s", strings.Join(missing, ", "))
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
			// Flags set the paths, so that line numbers in the file stay the same.
			cmd := exec.CommandContext(t.Context(), repo.Bin("containerd-lite"), "--config", file,
				"--root", root+"/root", "--state", root+"/state", "--address", root+"/containerd.sock")
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the daemon starts with\n%s", c.text)
			}
			for _, part := range []string{file, c.line, c.key} {
				if !strings.Contains(string(out), part) {
					t.Errorf("the error does not contain %q:\n%s", part, out)
				}
			}
		})
	}
}
