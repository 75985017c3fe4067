// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/v2/pkg/namespaces"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/internal/process"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// newLauncher returns a Launcher for which a script stands for the shim. The script writes its
// arguments and environment to the FIFO report, and then runs until it is killed.
func newLauncher(t *testing.T) (_ Launcher, report string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "launch") // t.TempDir is too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	report = filepath.Join(dir, "report")
	if err := unix.Mkfifo(report, 0o600); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\n{ echo \"$*\"; env; } >" + report + "\nexec sleep 1000\n"
	if err := os.WriteFile(filepath.Join(dir, "containerd-shim-lite-v2"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return Launcher{Sockets: filepath.Join(dir, "s"), Bundles: "/bundles", Address: "/c.sock", Events: "/c.sock.ttrpc"}, report
}

func launch(t *testing.T, l Launcher, id string) *LaunchedShim {
	t.Helper()
	s, err := l.Launch(namespaces.WithNamespace(t.Context(), "ns"), id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Abandon)
	return s
}

const podID = "0123456789abcdef0123456789abcdef"

func TestLaunch(t *testing.T) {
	l, report := newLauncher(t)
	l.Env = []string{"OF_THE_MANAGER=1"}
	s := launch(t, l, podID)
	path, ok := strings.CutPrefix(s.Endpoint(), "ttrpc+unix://")
	if !ok || filepath.Dir(path) != l.Sockets {
		t.Errorf("endpoint = %s", s.Endpoint())
	}
	conn, err := net.Dial("unix", path) // the shim holds the listening socket
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	data, err := os.ReadFile(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"-namespace ns -id " + podID + " -address /c.sock -bundle /bundles/" + podID + " -socket " + path + " ",
		"\nTTRPC_ADDRESS=/c.sock.ttrpc\n", "\nOF_THE_MANAGER=1\n", "\nGOMAXPROCS=1\n",
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("arguments and environment are %q, want %q", data, want)
		}
	}
}

// A shim that was abandoned is gone, and so is its socket. Another one of the same task stays.
func TestAbandon(t *testing.T) {
	l, _ := newLauncher(t)
	first, second := launch(t, l, podID), launch(t, l, podID)
	pidfd, err := process.Open(first.process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	defer pidfd.Close()
	first.Abandon()
	if err := process.Await(pidfd); err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("unix", first.socket); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("connect to an abandoned shim: %v", err)
	}
	conn, err := net.Dial("unix", second.socket)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestRemoveSockets(t *testing.T) {
	l, _ := newLauncher(t)
	if err := l.RemoveSockets(podID); err != nil {
		t.Errorf("without a directory: %v", err)
	}
	const otherID = "fedcba9876543210fedcba9876543210"
	of, other := launch(t, l, podID), launch(t, l, otherID)
	lock := strings.TrimSuffix(of.socket, ".0") + ".lock"
	if err := os.WriteFile(lock, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := l.RemoveSockets(podID); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(l.Sockets)
	if err != nil || len(entries) != 1 || entries[0].Name() != filepath.Base(other.socket) {
		t.Errorf("left: %v, %v, want only that of the other task", entries, err)
	}
}

func TestCanLaunch(t *testing.T) {
	l := Launcher{Sockets: "/run/s", Events: "/e"}
	lite := config.Handler{Type: config.LiteRuntimeType}
	if !l.CanLaunch(lite) {
		t.Error("the default handler needs a start command")
	}
	schedCore := l
	schedCore.Env = []string{"SCHED_CORE=1"}
	deep := l
	deep.Sockets = "/" + strings.Repeat("d", 80)
	for name, can := range map[string]bool{
		"none":            Launcher{}.CanLaunch(lite),
		"core scheduling": schedCore.CanLaunch(lite),
		"long path":       deep.CanLaunch(lite),
		"runtime_path":    l.CanLaunch(config.Handler{Type: config.LiteRuntimeType, Path: "/opt/shim"}),
		"Sharing":         l.CanLaunch(config.Handler{Type: config.LiteRuntimeType, Options: map[string]any{"Sharing": "node"}}),
		"ShimCgroup":      l.CanLaunch(config.Handler{Type: config.LiteRuntimeType, Options: map[string]any{"ShimCgroup": "/shims"}}),
		"another shim":    l.CanLaunch(config.Handler{Type: config.RuncRuntimeType}),
	} {
		if can {
			t.Errorf("%s: launched without a start command", name)
		}
	}
}

func TestLaunchWithoutShim(t *testing.T) {
	l, _ := newLauncher(t)
	t.Setenv("PATH", "/absent")
	if _, err := l.Launch(namespaces.WithNamespace(t.Context(), "ns"), podID); err == nil {
		t.Error("a shim that is not installed was launched")
	}
	if left, err := os.ReadDir(l.Sockets); err == nil && len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
