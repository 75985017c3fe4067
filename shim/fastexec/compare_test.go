// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/runtime-spec/specs-go"
)

var (
	pipes  = regexp.MustCompile(`pipe:\[\d+\]`)
	parent = regexp.MustCompile(`(PPid:|parent)\s[1-9].*`)
)

// questions are programs whose output has the attributes of their process.
var questions = map[string][]string{
	"status":     {"cat", "/proc/self/status"},
	"limits":     {"cat", "/proc/self/limits"},
	"cgroup":     {"cat", "/proc/self/cgroup"},
	"scores":     {"cat", "/proc/self/oom_score_adj", "/proc/self/coredump_filter", "/proc/self/loginuid", "/proc/self/sessionid"},
	"namespaces": {"sh", "-c", "readlink /proc/self/ns/*"},
	"files":      {"sh", "-c", "cd /proc/self/fd; for f in *; do echo $f $(readlink $f); done; stat -c %i:%d /; readlink /proc/self/root"},
	"label":      {"sh", "-c", "cat /proc/self/attr/current 2>&1"},
	"mounts":     {"cat", "/proc/self/mountinfo"},
	"umask":      {"sh", "-c", "umask"},
	"probe":      {probeName, "an argument", ""},
}

// TestSameAsRuntime checks that a process has the same attributes if it is started with and without
// the runtime.
func TestSameAsRuntime(t *testing.T) {
	n := newNode(t)
	umask, score := uint32(0o027), 777
	for name, change := range map[string]func(*specs.Spec){
		"usual": func(*specs.Spec) {},
		"user": func(s *specs.Spec) {
			s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{1000, 5, 2000000000}, Umask: &umask}
			s.Process.Cwd = "/work"
		},
		"user-without-groups": func(s *specs.Spec) {
			s.Process.User = specs.User{UID: 2000, GID: 3000}
			s.Process.NoNewPrivileges = true
		},
		"directory-of-root": func(s *specs.Spec) {
			s.Process.User = specs.User{UID: 1000, GID: 1000}
			s.Process.Cwd = "/closed"
		},
		"ambient": func(s *specs.Spec) {
			caps := []string{"CAP_NET_RAW", "CAP_KILL"}
			s.Process.User = specs.User{UID: 1000}
			s.Process.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps, Inheritable: caps, Ambient: caps[:1]}
		},
		"no-capabilities": func(s *specs.Spec) { s.Process.Capabilities = &specs.LinuxCapabilities{} },
		"limits": func(s *specs.Spec) {
			s.Process.OOMScoreAdj = &score
			s.Process.Rlimits = []specs.POSIXRlimit{
				{Type: "RLIMIT_NOFILE", Soft: 100, Hard: 200}, {Type: "RLIMIT_CORE", Soft: 0, Hard: 0},
				{Type: "RLIMIT_NPROC", Soft: 500, Hard: 500}, {Type: "RLIMIT_STACK", Soft: 1 << 20, Hard: 2 << 20},
			}
		},
		"environment": func(s *specs.Spec) {
			s.Process.Env = append(s.Process.Env, "A=1", "HOME=/elsewhere", "A=2", "B=x=y", "HOME=", "C=")
		},
		"home": func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, "HOME=/elsewhere") },
		"node-namespaces": func(s *specs.Spec) {
			s.Hostname = ""
			s.Linux.ReadonlyPaths = nil
			s.Linux.Namespaces = []specs.LinuxNamespace{{Type: "mount"}}
		},
		"no-pid-namespace": func(s *specs.Spec) {
			s.Linux.Namespaces = s.Linux.Namespaces[1:]
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := n.spec(name)
			change(spec)
			n.compare(t, name, spec)
		})
	}
}

// compare runs a container and compares the attributes of processes that are started in it with and
// without the runtime.
func (n *node) compare(t *testing.T, id string, spec *specs.Spec) {
	t.Helper()
	b := n.run(t, id, spec)
	must(t, b.unfit)
	for question, args := range questions {
		p := process(spec, args...)
		want, wantStatus, err := b.exec(t, slow, p)
		if err != nil {
			t.Errorf("%s: with the runtime: %v", question, err)
			continue
		}
		got, gotStatus, err := b.exec(t, fast, p)
		if err != nil {
			t.Errorf("%s: %v", question, err)
			continue
		}
		if question == "status" && !strings.Contains(got, "\nSigIgn:\t0000000000000000\n") {
			t.Errorf("a signal is ignored:\n%s", got)
		}
		if want == "" || !strings.Contains(want, "\n") {
			t.Errorf("%s: no output", question)
		}
		// Without a PID namespace the parent is visible: the shim, or first the runtime.
		if !strings.Contains(want, "\nPPid:\t0\n") {
			want, got = parent.ReplaceAllString(want, ""), parent.ReplaceAllString(got, "")
		}
		if diff := cmp.Diff(masked(want), masked(got)); diff != "" || wantStatus != gotStatus {
			t.Errorf("%s: status %d, want %d (-with the runtime +without):\n%s", question, gotStatus, wantStatus, diff)
		}
	}
}
