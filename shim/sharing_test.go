// SPDX-License-Identifier: Apache-2.0

package shim

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/containerd/containerd/api/types/runc/options"

	"github.com/containerd-lite/containerd-lite/internal/sharing"
	"github.com/containerd-lite/containerd-lite/shim/bootstrap"
	"github.com/containerd-lite/containerd-lite/shim/group"
	"github.com/containerd-lite/containerd-lite/shim/option"
)

// pod starts the first task of a pod and returns the address of its shim.
func (h *host) pod(name string) string {
	h.t.Helper()
	address := h.mustStart(h.podBundle(name), name)
	h.client(address) // which ends it with the test
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
	const pods = 10
	var (
		starting  sync.WaitGroup
		addresses [pods]string
	)
	for i := range pods {
		name := string(rune('a' + i))
		dir := h.podBundle(name)
		starting.Go(func() {
			result, err := h.start(dir, name)
			if err != nil {
				t.Error(err)
				return
			}
			addresses[i] = result.Address
		})
	}
	starting.Wait()
	if t.Failed() {
		return
	}
	h.client(addresses[0])
	for i, address := range addresses {
		if address != addresses[0] {
			t.Errorf("pod %d has a shim of its own at %s", i, address)
		}
	}
}

// A shim is shared up to its limit, which a container of a pod that it has does
// not count against.
func TestPodsFillAShim(t *testing.T) {
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

// Who differs in what belongs to the process, or is asked for apart, shares with
// nobody.
func TestWhoSharesNot(t *testing.T) {
	h := newHost(t)
	h.options = "Sharing = 'node'"
	base := h.pod("a")
	if again := h.pod("b"); again != base {
		t.Fatalf("a pod like the first is at %s, want %s", again, base)
	}
	h.options = "Sharing = 'node'\nBinaryName = 'crun'"
	if other := h.pod("c"); other == base {
		t.Error("shares with pods of other options")
	}
	h.options = "Sharing = 16"
	if other := h.pod("d"); other == base {
		t.Error("shares beyond its limit")
	}
	h.options = ""
	if other := h.pod("e"); other == base {
		t.Error("shares by default")
	}
}

// Core scheduling keeps every pod apart. Not every kernel has it, so only the
// groups are compared.
func TestCoreSchedulingRulesOutSharing(t *testing.T) {
	params := &bootstrap.Params{SocketDir: "/s", Options: option.Options{Options: &options.Options{}, Sharing: sharing.Node}}
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

// A new binary gets new pods, although the old one has room.
func TestUpgrade(t *testing.T) {
	h := newHost(t)
	h.options = "Sharing = 'node'"
	old := h.pod("a")
	h.binary = filepath.Join(t.TempDir(), "shim")
	install(t, h.binary)
	first := h.pod("b")
	if first == old {
		t.Error("a pod of the new binary is with those of the old one")
	}
	if second := h.pod("c"); second != first {
		t.Errorf("the second pod of the new binary is at %s, want %s", second, first)
	}
}

// install copies the binary of the test.
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
