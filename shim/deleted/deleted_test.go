// SPDX-License-Identifier: Apache-2.0

package deleted

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// The test binary is the shim: it has the init of this package.
func TestDeleteCommand(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, "answer")
	command := exec.Command(self, "-namespace", "ns", "-address", "/a", "-publish-binary", "/b", "-id", "web", "-bundle", dir, "-debug", "delete")
	if output, err := command.CombinedOutput(); err != nil || string(output) != "answer" {
		t.Errorf("delete command: %q, %v", output, err)
	}
	closed, err := os.OpenFile(os.DevNull, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	command = exec.Command(self, "-bundle", dir, "delete")
	command.Stdout = closed
	if err := command.Run(); err == nil {
		t.Error("a delete command that cannot write its answer succeeded")
	}
}

// Everything but a delete command of a deleted task is left to the main function.
func TestFind(t *testing.T) {
	dir, empty := t.TempDir(), t.TempDir()
	write(t, dir, "answer")
	write(t, empty, "")
	for _, args := range [][]string{
		{},
		{"shim"},
		{"shim", "delete"},
		{"delete", "-bundle", dir},
		{"shim", "-bundle", dir},
		{"shim", "-bundle", dir, "start"},
		{"shim", "-bundle", "delete"},
		{"shim", "-id", "web", "-bundle", "delete"},
		{"shim", "-bundle", dir, "-info", "delete"},
		{"shim", "-bundle", dir, "other", "delete"},
		{"shim", "-bundle", t.TempDir(), "delete"}, // not deleted
		{"shim", "-bundle", empty, "delete"},       // deleted by an older release
	} {
		if answer := find(args); len(answer) > 0 {
			t.Errorf("%q: %q", args, answer)
		}
	}
	if answer := find([]string{"shim", "-id", "web", "-bundle", dir, "delete"}); string(answer) != "answer" {
		t.Errorf("answer = %q", answer)
	}
}

func write(t *testing.T, dir, content string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, File), []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
