// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd-lite/containerd-lite/integration/harness"
)

// sysctls are those that a kubelet sets when it starts, and leaves.
var sysctls = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// fixed are the folders that a kubelet makes whatever it is configured to: its device plugins' sockets, and links
// to the logs of containers.
var fixed = []string{"/var/lib/kubelet", "/var/log/containers"}

// socketFolder is where cAdvisor looks for containerd's socket.
const socketFolder = "/run/containerd"

// keepHost restores, at the end of the test, what a kubelet changes on the machine for good.
func keepHost(t *testing.T, b *harness.Bench) {
	t.Helper()
	for _, name := range sysctls {
		file := filepath.Join("/proc/sys", name)
		value, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if now, err := os.ReadFile(file); err == nil && string(now) == string(value) {
				return
			}
			if err := os.WriteFile(file, value, 0o644); err != nil {
				t.Error(err)
			}
		})
	}
	for _, folder := range fixed {
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			t.Cleanup(func() {
				if err := os.RemoveAll(folder); err != nil {
					t.Error(err)
				}
			})
		}
	}
	if err := os.MkdirAll(socketFolder, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeLinks(b.Root); err != nil {
			t.Error(err)
		}
	})
}

// removeLinks removes the kubelet's links to logs of containers under root. The kubelet does that once a minute.
func removeLinks(root string) error {
	links, err := filepath.Glob("/var/log/containers/*")
	errs := []error{err}
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, root) {
			errs = append(errs, os.Remove(link))
		}
	}
	return errors.Join(errs...)
}
