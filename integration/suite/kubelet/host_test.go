// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// sysctls are the sysctls that a kubelet sets when it starts and does not restore.
var sysctls = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
	"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
}

// fixed are directories that a kubelet uses independently of its configuration, and the bench's
// directories that replace them: cAdvisor in the kubelet connects to containerd's socket, devices
// register, and logs get links.
var fixed = [][2]string{
	{"/run/containerd", "."},
	{"/var/lib/kubelet", "kubelet/devices"},
	{"/var/log/containers", "kubelet/links"},
}

// replace runs in a mount namespace: it bind-mounts directories of the bench over others, then runs
// a program. The program's mounts below the kubelet's root directory, which is shared, are visible
// outside.
const replace = `
while [ "$1" != -- ]; do
	mount --make-private "$(findmnt --noheadings --output TARGET --target "$2")"
	mount --bind "$1" "$2"
	shift 2
done
shift
exec "$@"`

// replaced returns the command line that runs a program with the fixed directories replaced.
func replaced(b *harness.Bench, program string, args ...string) []string {
	line := []string{"unshare", "--mount", "--propagation", "unchanged", "sh", "-euc", replace, "sh"}
	for _, folders := range fixed {
		line = append(line, b.Path(folders[1]), folders[0])
	}
	return append(append(line, "--", program), args...)
}

// keepHost creates the fixed directories, so that they can be replaced, and restores the host
// settings that a kubelet changes when the test ends.
func keepHost(t *testing.T, b *harness.Bench) {
	t.Helper()
	for _, name := range sysctls {
		keepSysctl(t, filepath.Join("/proc/sys", name))
	}
	for _, folders := range fixed {
		if err := os.MkdirAll(b.Path(folders[1]), 0o755); err != nil {
			t.Fatal(err)
		}
		err := os.Mkdir(folders[0], 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			// A runtime may have created files there meanwhile.
			if err := os.Remove(folders[0]); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
				t.Error(err)
			}
		})
	}
}

func keepSysctl(t *testing.T, file string) {
	t.Helper()
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if now, err := os.ReadFile(file); err == nil && string(now) == string(before) {
			return
		}
		if err := os.WriteFile(file, before, 0o644); err != nil {
			t.Error(err)
		}
	})
}
