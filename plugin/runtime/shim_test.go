// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
)

// beShim is set in the environment of a process of the test binary that acts as a shim.
const beShim = "LITE_TEST_BE_SHIM"

func TestMain(m *testing.M) {
	if os.Getenv(beShim) != "" {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the test ends
		return
	}
	m.Run()
}

// startShim starts a process with the name and the arguments of a shim.
func startShim(t *testing.T, id string) *exec.Cmd {
	t.Helper()
	name := filepath.Join(t.TempDir(), "containerd-shim-test-v2")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, name); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, "-namespace", "k8s.io", "-id", id, "-address", "/run/x")
	cmd.Env = append(os.Environ(), beShim+"=1")
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd
}

func TestKillShim(t *testing.T) {
	ctx := namespaces.WithNamespace(t.Context(), "k8s.io")
	id := strings.Repeat("a", 60) + filepath.Base(t.TempDir())
	shim, other := startShim(t, id), startShim(t, id+"b")
	if err := shim.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []context.Context{namespaces.WithNamespace(t.Context(), "moby"), t.Context()} {
		if err := KillShim(wrong, id); err == nil {
			t.Error("KillShim succeeded in another namespace")
		}
	}
	if err := KillShim(ctx, id); err != nil {
		t.Fatal(err)
	}
	_ = shim.Wait()
	if status := shim.ProcessState.Sys().(syscall.WaitStatus); status.Signal() != syscall.SIGKILL {
		t.Errorf("status of the shim: %v", status)
	}
	if err := KillShim(ctx, id); !errdefs.IsNotFound(err) {
		t.Errorf("second kill: %v, want NotFound", err)
	}
	if err := other.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("shim of another task: %v", err)
	}
}

func TestIsShim(t *testing.T) {
	for line, want := range map[string]bool{
		"/usr/bin/containerd-shim-lite-v2\x00-namespace\x00k8s.io\x00-id\x00a\x00": true,
		"containerd-shim-runc-v2\x00-namespace\x00k8s.io\x00-id\x00a":              true,
		"containerd-shim-runc-v2\x00-namespace\x00k8s.io\x00-id\x00ab\x00":         false,
		"containerd-shim-runc-v2\x00-namespace\x00k8s.io\x00-id":                   false,
		"sh\x00-namespace\x00k8s.io\x00-id\x00a\x00":                               false,
		"": false,
	} {
		if got := isShim([]byte(line), "k8s.io", "a"); got != want {
			t.Errorf("isShim(%q) is %v", line, got)
		}
	}
}
