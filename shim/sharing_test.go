// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"

	"github.com/containerd-lite/containerd-lite/internal/shimoption"
	"github.com/containerd-lite/containerd-lite/shim/bootstrap"
	"github.com/containerd-lite/containerd-lite/shim/group"
	"github.com/containerd-lite/containerd-lite/shim/option"
)

// pod starts the first task of a pod and returns the address of its shim.
func (h *host) pod(name string) string {
	h.t.Helper()
	address := h.mustStart(h.podBundle(name), name)
	h.client(address) // kills the shim when the test ends
	return address
}

// podBundle returns a bundle next to those of the other tasks.
func (h *host) podBundle(name string) string {
	h.t.Helper()
	dir := filepath.Join(h.sockets, "..", filepath.Base(h.sockets)+"-bundles", name)
	h.t.Cleanup(func() { _ = os.RemoveAll(filepath.Dir(dir)) })
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		h.t.Fatal(err)
	}
	pod, _, _ := strings.Cut(name, "-")
	if err := os.Rename(h.bundleOf(pod, "true"), dir); err != nil {
		h.t.Fatal(err)
	}
	return dir
}

func TestPodsShareAShim(t *testing.T) {
	h := newHost(t)
	h.options = "Sharing = 'node'"
	addresses := h.startAll(strings.Split("abcdefghij", ""), h.podBundle)
	h.client(addresses[0])
	for i, address := range addresses {
		if address != addresses[0] {
			t.Errorf("pod %d has another shim at %s", i, address)
		}
	}
}

// TestPodsPerShimAreLimited checks that a shared shim takes pods up to its limit. Another container
// of a pod in the shim does not count.
func TestPodsPerShimAreLimited(t *testing.T) {
	h := newHost(t)
	h.options = "Sharing = 2"
	first, second, third := h.pod("a"), h.pod("b"), h.pod("c")
	if first != second || third == first {
		t.Errorf("shims of three pods: %s, %s, %s, want two at the first", first, second, third)
	}
	if container := h.mustStart(h.podBundle("a-1"), "a-1"); container != first {
		t.Errorf("container of the first pod is at %s, want %s", container, first)
	}
}

// TestPodsThatDoNotShare checks that pods with other options of the shim process, and pods without
// Sharing, get another shim.
func TestPodsThatDoNotShare(t *testing.T) {
	h := newHost(t)
	h.options = "Sharing = 'node'"
	base := h.pod("a")
	if again := h.pod("b"); again != base {
		t.Fatalf("a pod with equal options is at %s, want %s", again, base)
	}
	h.options = "Sharing = 'node'\nBinaryName = 'crun'"
	if other := h.pod("c"); other == base {
		t.Error("a pod with another runtime shares the shim")
	}
	h.options = "Sharing = 16"
	if other := h.pod("d"); other == base {
		t.Error("a pod with another limit shares the shim")
	}
	h.options = ""
	if other := h.pod("e"); other == base {
		t.Error("a pod without Sharing shares the shim")
	}
}

// TestCoreSchedulingRulesOutSharing checks that pods do not share a shim with SCHED_CORE. It
// compares only the groups, because not every kernel supports core scheduling.
func TestCoreSchedulingRulesOutSharing(t *testing.T) {
	params := &bootstrap.Params{SocketDir: "/s", Options: option.Options{Options: &options.Options{}, Own: shimoption.Own{Sharing: shimoption.Node}}}
	groups := func() (a, b group.Group) {
		t.Helper()
		r := &request{namespace: "ns", address: "/c.sock"}
		a, errA := r.group(params, "a")
		b, errB := r.group(params, "b")
		if err := errors.Join(errA, errB); err != nil {
			t.Fatal(err)
		}
		return a, b
	}
	if a, b := groups(); a != b {
		t.Error("two pods are in two groups")
	}
	t.Setenv(schedCore, "1")
	if a, b := groups(); a == b {
		t.Error("two pods share a core scheduling cookie")
	}
}

// TestNewPodsGetTheNewBinary checks that new pods get the new binary, even if the old shim has
// room.
func TestNewPodsGetTheNewBinary(t *testing.T) {
	h := newHost(t)
	h.options = "Sharing = 'node'"
	old := h.pod("a")
	h.binary = filepath.Join(t.TempDir(), "shim")
	install(t, h.binary)
	first := h.pod("b")
	if first == old {
		t.Error("a pod of the new binary shares the shim of the old one")
	}
	if second := h.pod("c"); second != first {
		t.Errorf("the second pod of the new binary is at %s, want %s", second, first)
	}
}

// install copies the test binary.
func install(t *testing.T, path string) {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o700)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(file, self)
	if closeErr := file.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		t.Fatal(err)
	}
}
