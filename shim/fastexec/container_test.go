// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containerd/containerd/api/types/runc/options"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// sleepVariable makes this test binary sleep, if it is executed in a container.
const sleepVariable = "FASTEXEC_SLEEP=1"

func TestMain(m *testing.M) {
	if os.Args[0] == probeName {
		probe()
		os.Exit(0)
	}
	if slices.Contains(os.Environ(), sleepVariable) {
		time.Sleep(time.Hour)
	}
	oci.WaitInPoller()
	// As in the shim, and values of attributes that a Go program changes for itself.
	signal.Ignore(unix.SIGPIPE)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		limit.Cur = min(limit.Cur, 1000)
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	if err := reap.BecomeSubreaper(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// node has the OCI runtime, and a root file system with programs of this host.
type node struct {
	runtime  *oci.Runtime
	children *reap.Reaper
	dir      string
}

func newNode(t testing.TB) *node {
	t.Helper()
	name := runcPath(t)
	n := &node{children: reap.New(), dir: t.TempDir()}
	n.runtime = oci.New(&options.Options{BinaryName: name, Root: n.dir}, "test", "", n.children.Hold)
	rootfs := filepath.Join(n.dir, "rootfs")
	for _, dir := range []string{"etc", "proc", "dev", "usr", "work", "closed"} {
		must(t, os.MkdirAll(filepath.Join(rootfs, dir), 0o755))
	}
	for _, link := range []string{"bin", "lib", "lib64", "sbin"} {
		must(t, os.Symlink("usr/"+link, filepath.Join(rootfs, link)))
	}
	must(t, os.Chmod(filepath.Join(rootfs, "closed"), 0o700))
	must(t, os.WriteFile(filepath.Join(rootfs, "etc/passwd"), []byte("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"), 0o644))
	self, err := os.ReadFile("/proc/self/exe")
	must(t, err)
	must(t, os.WriteFile(filepath.Join(rootfs, probeName), self, 0o755))
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { n.children.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return n
}

func runcPath(t testing.TB) string {
	if os.Getuid() != 0 {
		t.Skip("needs root")
	}
	for _, name := range []string{"runc", "../../.tools/bin/runc"} {
		if path, err := exec.LookPath(name); err == nil {
			path, _ = filepath.Abs(path)
			return path
		}
	}
	t.Skip("needs runc")
	return ""
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// usual are the capabilities that Kubernetes gives to a container.
var usual = []string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
}

// spec returns the config.json of a usual container.
func (n *node) spec(id string) *specs.Spec {
	s := &specs.Spec{
		Version:  specs.Version,
		Root:     &specs.Root{Path: filepath.Join(n.dir, "rootfs")},
		Hostname: "host",
		Process: &specs.Process{
			Args:         []string{"/bin/sleep", "1000"},
			Env:          []string{"PATH=/usr/local/bin:/usr/bin:/bin"},
			Cwd:          "/",
			Capabilities: &specs.LinuxCapabilities{Bounding: usual, Effective: usual, Permitted: usual},
		},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "mode=755"}},
			{Destination: "/usr", Type: "bind", Source: "/usr", Options: []string{"rbind", "ro"}},
		},
		Linux: &specs.Linux{CgroupsPath: "/fastexec-" + id, MaskedPaths: []string{"/proc/kcore"}, ReadonlyPaths: []string{"/proc/sys"}},
	}
	for _, ns := range []specs.LinuxNamespaceType{"pid", "network", "mount", "ipc", "uts", "cgroup"} {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: ns})
	}
	return s
}

// box is a running container.
type box struct {
	*node
	id        string
	init      *reap.Child
	container *Container
	unfit     error
	cgroups   map[string]string
}

// run runs a container until the end of the test.
func (n *node) run(t testing.TB, id string, spec *specs.Spec) *box {
	t.Helper()
	bundle := t.TempDir()
	config, err := json.Marshal(spec)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o600))
	defer n.children.Hold()()
	b := &box{node: n, id: id}
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	must(t, err)
	defer null.Close()
	b.container, b.unfit = New(id, config, true)
	pidFile := filepath.Join(bundle, "pid")
	must(t, n.runtime.Create(t.Context(), id, bundle, &oci.Process{PidFile: pidFile, IO: &streams{output: null}}))
	t.Cleanup(func() { must(t, n.runtime.Delete(context.Background(), id, true)) })
	must(t, n.runtime.Start(t.Context(), id))
	b.init = n.watch(t, pidFile)
	b.cgroups, err = n.runtime.Cgroups(id)
	must(t, err)
	return b
}

func (n *node) watch(t testing.TB, pidFile string) *reap.Child {
	t.Helper()
	data, err := os.ReadFile(pidFile)
	must(t, err)
	var pid int
	_, err = fmt.Sscan(string(data), &pid)
	must(t, err)
	child, err := n.children.Watch(context.Background(), pid)
	must(t, err)
	return child
}

// streams are the standard streams of a process: no input, and one output.
type streams struct {
	oci.Stdio
	output *os.File
}

func (s *streams) Set(cmd *exec.Cmd) {
	cmd.Stdout, cmd.Stderr = s.output, s.output
}

// starter starts an exec: with or without the runtime.
type starter func(ctx context.Context, b *box, p *specs.Process, target *oci.Process) error

func slow(ctx context.Context, b *box, p *specs.Process, target *oci.Process) error {
	return b.runtime.Exec(ctx, b.id, p, target)
}

func fast(ctx context.Context, b *box, p *specs.Process, target *oci.Process) error {
	return b.container.Start(ctx, &Exec{Init: b.init, Cgroups: b.cgroups, Process: p, Target: target})
}

// exec runs a process to its end and returns its output and its exit status.
func (b *box) exec(t testing.TB, start starter, p *specs.Process) (output string, status int, err error) {
	t.Helper()
	reader, writer, err := os.Pipe()
	must(t, err)
	defer reader.Close()
	target := &oci.Process{PidFile: filepath.Join(t.TempDir(), "pid"), IO: &streams{output: writer}}
	child, err := func() (*reap.Child, error) {
		defer b.children.Hold()()
		defer writer.Close()
		if err := start(t.Context(), b, p, target); err != nil {
			return nil, err
		}
		return b.watch(t, target.PidFile), nil
	}()
	if err != nil {
		return "", 0, err
	}
	data, err := io.ReadAll(reader)
	must(t, err)
	<-child.Done()
	return string(data), child.Exit().Status, nil
}

// process returns a process of an exec: that of the container with other arguments.
func process(spec *specs.Spec, args ...string) *specs.Process {
	p := *spec.Process
	p.Args = args
	return &p
}

// masked replaces the numbers of pipes and of processes, which differ between any two processes.
func masked(output string) string {
	var kept []string
	for line := range strings.Lines(output) {
		name, _, _ := strings.Cut(line, ":")
		switch name {
		case "Name", "Pid", "Tgid", "NStgid", "NSpid", "NSpgid", "NSsid", "FDSize", "SigQ":
			continue
		case "SigIgn": // runc leaves signals of the C library alone, which a caller may ignore
			continue
		}
		if strings.HasPrefix(line, "Vm") || strings.HasPrefix(line, "Rss") || strings.Contains(line, "ctxt_switches") ||
			strings.HasPrefix(line, "Hugetlb") {
			continue
		}
		kept = append(kept, pipes.ReplaceAllString(line, "pipe"))
	}
	return strings.Join(kept, "")
}
