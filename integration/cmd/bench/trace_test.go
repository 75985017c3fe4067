// SPDX-License-Identifier: Apache-2.0

package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCountTrace(t *testing.T) {
	const trace = `4711  execve("/tools/runc", ["runc", "--root", "/run/runc", "create", "--bundle", "/b"], 0x7ffe /* 9 vars */) = 0
4712  execve("/proc/self/fd/7", ["/tools/runc", "init"], 0xc000 /* 3 vars */ <unfinished ...>
4711  fdatasync(9</root/meta.db>)       = 0
4712  <... execve resumed>)             = 0
4713  execve("/bin/iptables", ["iptables", "-t", "nat"], 0x7ffe /* 9 vars */) = -1 ENOENT (No such file or directory)
4713  execve("/sbin/iptables", ["iptables", "-t", "nat"], 0x7ffe /* 9 vars */) = 0
4714  execve("/bin/containerd-shim-lite-v2", ["/bin/containerd-shim-lite-v2", "-id", "a"], 0x7ffe /* 9 vars */) = 0
4714  fsync(10</b/exit.json>)           = 0
4714  fdatasync(9</root/meta.db> <unfinished ...>
`
	programs, syncs, err := countTrace(strings.NewReader(trace))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]int{"runc create": 1, "runc init": 1, "iptables": 1, "containerd-shim-lite-v2": 1}, programs); diff != "" {
		t.Errorf("programs (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"meta.db": 2, "other files": 1}, syncs); diff != "" {
		t.Errorf("syncs (-want +got):\n%s", diff)
	}
}
