// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// TestRefusals checks that a process that cannot be started is an error, with which the caller runs
// the runtime, and that the runtime cannot start it either.
func TestRefusals(t *testing.T) {
	n := newNode(t)
	spec := n.spec("refusals")
	b := n.run(t, "refusals", spec)
	must(t, b.unfit)
	rootfs := spec.Root.Path
	must(t, os.WriteFile(filepath.Join(rootfs, "work/bad"), []byte("not a program"), 0o755))
	must(t, os.WriteFile(filepath.Join(rootfs, "work/script"), []byte("#!/absent\n"), 0o755))
	for name, change := range map[string]func(*specs.Process){
		"absent program":     func(p *specs.Process) { p.Args = []string{"absent"} },
		"absent path":        func(p *specs.Process) { p.Args = []string{"/absent"} },
		"not executable":     func(p *specs.Process) { p.Args = []string{"/etc/passwd"} },
		"directory":          func(p *specs.Process) { p.Args = []string{"/work"} },
		"bad format":         func(p *specs.Process) { p.Args = []string{"/work/bad"} },
		"absent interpreter": func(p *specs.Process) { p.Args = []string{"/work/script"} },
		"absent directory":   func(p *specs.Process) { p.Cwd = "/absent" },
		"file as directory":  func(p *specs.Process) { p.Cwd = "/etc/passwd" },
		"bad variable":       func(p *specs.Process) { p.Env = append(p.Env, "A") },
		"closed directory": func(p *specs.Process) {
			p.User.UID = 1000
			p.Args = []string{"/closed/x"}
		},
		"ambient capability": func(p *specs.Process) {
			p.Args = []string{"absent"}
			p.Capabilities = &specs.LinuxCapabilities{Ambient: []string{"CAP_KILL"}}
		},
		"limit": func(p *specs.Process) { p.Rlimits = []specs.POSIXRlimit{{Type: "RLIMIT_CORE", Soft: 2, Hard: 1}} },
	} {
		p := process(spec, "/bin/true")
		change(p)
		if _, status, err := b.exec(t, fast, p); err == nil {
			t.Errorf("%s: started, status %d", name, status)
		}
		// runc has reported success when the kernel refuses its last system call.
		if _, status, err := b.exec(t, slow, p); err == nil && status != 255 {
			t.Errorf("%s: started by the runtime, status %d", name, status)
		}
	}
}

// TestNothingRunsBeforeThePIDIsRecorded checks that no program is executed if the start fails late.
func TestNothingRunsBeforeThePIDIsRecorded(t *testing.T) {
	n := newNode(t)
	spec := n.spec("late")
	b := n.run(t, "late", spec)
	must(t, b.unfit)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	defer n.children.Hold()()
	target := &oci.Process{PidFile: filepath.Join(t.TempDir(), "absent", "pid"), IO: &streams{output: null}}
	p := process(spec, "sh", "-c", "echo ran > /work/marker")
	if err := fast(t.Context(), b, p, target); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("start: %v", err)
	}
	// The child was reaped: afterwards the marker cannot appear.
	if _, err := os.Stat(filepath.Join(spec.Root.Path, "work/marker")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the program was executed: %v", err)
	}
}

// TestExecutableCannotBeWritten checks the defence against CVE-2019-5736: a process of the
// container that executes /proc/self/exe gets the shim's executable, and root of the node cannot
// open that for writing by way of the process.
func TestExecutableCannotBeWritten(t *testing.T) {
	n := newNode(t)
	spec := n.spec("exe")
	b := n.run(t, "exe", spec)
	must(t, b.unfit)
	must(t, os.WriteFile(filepath.Join(spec.Root.Path, "work/attack"), []byte("#!/proc/self/exe\n"), 0o755))
	p := process(spec, "/work/attack")
	p.Env = append(p.Env, sleepVariable)
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	must(t, err)
	defer null.Close()
	target := &oci.Process{PidFile: filepath.Join(t.TempDir(), "pid"), IO: &streams{output: null}}
	child := func() *reap.Child {
		defer n.children.Hold()()
		if err := fast(t.Context(), b, p, target); err != nil {
			t.Skipf("the executable of the test needs libraries: %v", err)
		}
		return n.watch(t, target.PidFile)
	}()
	defer func() { _ = child.Signal(unix.SIGKILL); <-child.Done() }()
	exe := fmt.Sprintf("/proc/%d/exe", child.Pid())
	if link, err := os.Readlink(exe); err != nil || !strings.HasSuffix(link, filepath.Base(os.Args[0])) {
		t.Fatalf("the process executes %s, %v", link, err)
	}
	for _, flags := range []int{os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC} {
		f, err := os.OpenFile(exe, flags, 0)
		if err == nil {
			f.Close()
		}
		if !errors.Is(err, unix.EROFS) {
			t.Errorf("flags %#x: %v, want a read-only file system", flags, err)
		}
	}
}
