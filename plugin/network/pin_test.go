// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/plugin/paths"
)

// Check refuses what Pin and Attach would refuse, before anything is created.
func TestCheck(t *testing.T) {
	own := PinOptions{ID: "a", Net: true, IPC: true, UTS: true}
	for name, c := range map[string]struct {
		pod  Pod
		pin  func(*PinOptions)
		good bool
	}{
		"plain":                        {good: true},
		"sysctl":                       {pin: func(o *PinOptions) { o.Sysctls = map[string]string{"net.core.somaxconn": "1"} }, good: true},
		"sysctl of the node":           {pin: func(o *PinOptions) { o.Sysctls = map[string]string{"vm.swappiness": "1"} }},
		"sysctl of a shared namespace": {pin: func(o *PinOptions) { o.IPC, o.Sysctls = false, map[string]string{"kernel.shmmax": "1"} }},
		"bandwidth":                    {pod: Pod{Annotations: map[string]string{ingressBandwidth: "much"}}},
		"bandwidth with host network":  {pod: Pod{Annotations: map[string]string{ingressBandwidth: "much"}}, pin: func(o *PinOptions) { o.Net = false }, good: true},
		"separator in the name":        {pod: Pod{Name: "a;b"}},
	} {
		pin := own
		if c.pin != nil {
			c.pin(&pin)
		}
		err := Check(c.pod, pin)
		if c.good && err != nil || !c.good && !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func newTestPinner(t *testing.T) (p *Pinner, stateDir string) {
	needRoot(t)
	stateDir = t.TempDir()
	return NewPinner(paths.Paths{State: stateDir}, filepath.Join(stateDir, "netns")), stateDir
}

// inNamespace runs fn in a pinned namespace and returns its result.
func inNamespace(t *testing.T, path string, clone int, fn func() (string, error)) string {
	t.Helper()
	var got string
	err := onThrowawayThread(func() error {
		f, err := openNamespace(path)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), clone); err != nil {
			return err
		}
		got, err = fn()
		return err
	})
	if err != nil {
		t.Fatalf("in %s: %v", path, err)
	}
	return got
}

func readSysctl(name string) func() (string, error) {
	return func() (string, error) {
		b, err := os.ReadFile("/proc/sys/" + name)
		return strings.Join(strings.Fields(string(b)), " "), err
	}
}

func nodename() (string, error) {
	var u unix.Utsname
	err := unix.Uname(&u)
	return unix.ByteSliceToString(u.Nodename[:]), err
}

func TestPin(t *testing.T) {
	p, _ := newTestPinner(t)
	ns, err := p.Pin(t.Context(), PinOptions{
		ID: "web", Net: true, IPC: true, UTS: true, Hostname: "web-0",
		Sysctls: map[string]string{
			"net.ipv4.ip_unprivileged_port_start": "0",
			"net/ipv4/ping_group_range":           "0 2147483647",
			"kernel.shmmax":                       "4096",
			"kernel.sem":                          "10 20 30 40",
			"fs.mqueue.msg_max":                   "12",
			"kernel.domainname":                   "example",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Unpin(context.Background(), "web", Namespaces{}) })
	known := p.Paths("web")
	known.User = "" // the node's
	if diff := cmp.Diff(known, ns); diff != "" {
		t.Errorf("paths (-Paths +Pin):\n%s", diff)
	}
	for _, tt := range []struct {
		path, name, want string
		clone            int
	}{
		{ns.Net, "net/ipv4/ip_unprivileged_port_start", "0", unix.CLONE_NEWNET},
		{ns.Net, "net/ipv4/ping_group_range", "0 2147483647", unix.CLONE_NEWNET},
		{ns.IPC, "kernel/shmmax", "4096", unix.CLONE_NEWIPC},
		{ns.IPC, "kernel/sem", "10 20 30 40", unix.CLONE_NEWIPC},
		{ns.IPC, "fs/mqueue/msg_max", "12", unix.CLONE_NEWIPC},
		{ns.UTS, "kernel/domainname", "example", unix.CLONE_NEWUTS},
	} {
		if got := inNamespace(t, tt.path, tt.clone, readSysctl(tt.name)); got != tt.want {
			t.Errorf("%s = %q, want %q", tt.name, got, tt.want)
		}
	}
	if got := inNamespace(t, ns.UTS, unix.CLONE_NEWUTS, nodename); got != "web-0" {
		t.Errorf("hostname = %q", got)
	}
	err = InNetNS(ns.Net, func() error {
		l, err := net.Listen("tcp", "127.0.0.1:80") // no host has this one
		if err != nil {
			return err
		}
		return l.Close()
	})
	if err != nil {
		t.Errorf("listen on the loopback interface: %v", err)
	}
}

// Pin does not change the namespaces of the process while many pods are created and removed.
// /proc/self shows the namespaces of the main thread.
func TestPinLeavesTheNodeAlone(t *testing.T) {
	p, _ := newTestPinner(t)
	own := func() (links []string) {
		for _, name := range []string{"net", "ipc", "uts"} {
			link, err := os.Readlink("/proc/self/ns/" + name)
			if err != nil {
				t.Fatal(err)
			}
			links = append(links, link)
		}
		host, err := nodename()
		if err != nil {
			t.Fatal(err)
		}
		return append(links, host)
	}
	before := own()
	var g errgroup.Group
	for i := range 40 {
		g.Go(func() error {
			id := fmt.Sprint("pod", i)
			_, err := p.Pin(t.Context(), PinOptions{ID: id, Net: true, IPC: true, UTS: true, Hostname: id})
			return errors.Join(err, p.Unpin(t.Context(), id, Namespaces{}))
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, own()); diff != "" {
		t.Errorf("namespaces of the process (-before +after):\n%s", diff)
	}
}

func TestPinSome(t *testing.T) {
	p, stateDir := newTestPinner(t)
	ns, err := p.Pin(t.Context(), PinOptions{ID: "a", IPC: true, Hostname: "ignored"})
	if err != nil {
		t.Fatal(err)
	}
	want := Namespaces{IPC: filepath.Join(stateDir, "sandboxes/a/ns/ipc")}
	if diff := cmp.Diff(want, ns); diff != "" {
		t.Errorf("namespaces (-want +got):\n%s", diff)
	}
	if err := p.Unpin(t.Context(), "a", Namespaces{}); err != nil {
		t.Fatal(err)
	}
	none, err := p.Pin(t.Context(), PinOptions{ID: "b"})
	if err != nil || none != (Namespaces{}) {
		t.Errorf("Pin of no namespace = %v, %v", none, err)
	}
}

// leftovers returns the files and mounts in the Pinner's directories.
func leftovers(t *testing.T, stateDir string) (found []string) {
	t.Helper()
	for _, pattern := range []string{"netns/*", "sandboxes/*"} {
		m, err := filepath.Glob(filepath.Join(stateDir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, m...)
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(stateDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mounts {
		found = append(found, "mount "+m.Mountpoint)
	}
	return found
}

func TestPinFailureLeavesNothing(t *testing.T) {
	p, stateDir := newTestPinner(t)
	tests := []struct {
		name string
		o    PinOptions
		want string // in the error
	}{
		{"no id", PinOptions{Net: true}, `""`},
		{"id with a path", PinOptions{ID: "../x", Net: true}, "../x"},
		{"id of the directory above", PinOptions{ID: "..", IPC: true}, ".."},
		{"hostname too long", PinOptions{ID: "a", UTS: true, Hostname: strings.Repeat("x", 65)}, "xxx"},
		{"sysctl of the node", PinOptions{ID: "a", Net: true, Sysctls: map[string]string{"kernel.panic": "1"}}, "kernel.panic"},
		{"sysctl of a shared namespace", PinOptions{ID: "a", IPC: true, Sysctls: map[string]string{"net.ipv4.ip_forward": "1"}}, "net.ipv4.ip_forward"},
		{"unknown sysctl", PinOptions{ID: "a", Net: true, IPC: true, UTS: true, Sysctls: map[string]string{"kernel.shm_no_such": "1"}}, "kernel.shm_no_such"},
		{"bad value", PinOptions{ID: "a", Net: true, Sysctls: map[string]string{"net.ipv4.ip_forward": "many"}}, "many"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := p.Pin(t.Context(), tt.o)
			if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Pin: %v; want InvalidArgument that names %s", err, tt.want)
			}
			if got := leftovers(t, stateDir); got != nil {
				t.Errorf("left: %v", got)
			}
		})
	}
}

func TestPinTwice(t *testing.T) {
	p, _ := newTestPinner(t)
	o := PinOptions{ID: "a", Net: true, IPC: true}
	ns, err := p.Pin(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Unpin(context.Background(), "a", Namespaces{}) })
	if _, err := p.Pin(t.Context(), o); !errdefs.IsAlreadyExists(err) {
		t.Errorf("second Pin: %v, want AlreadyExists", err)
	}
	if !IsPinned(ns.Net) || !IsPinned(ns.IPC) {
		t.Error("the second Pin removed the namespaces of the first")
	}
}

func TestPinned(t *testing.T) {
	p, _ := newTestPinner(t)
	ns, err := p.Pin(t.Context(), PinOptions{ID: "a", Net: true, UTS: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Unpin(context.Background(), "a", Namespaces{}) })
	if !p.Pinned(ns) || !p.Pinned(Namespaces{}) {
		t.Error("not pinned, want pinned")
	}
	if err := unix.Unmount(ns.UTS, 0); err != nil {
		t.Fatal(err)
	}
	if p.Pinned(ns) {
		t.Error("pinned with one namespace unmounted")
	}
	if err := p.Unpin(t.Context(), "a", Namespaces{}); err != nil {
		t.Fatal(err)
	}
	if p.Pinned(ns) {
		t.Error("pinned after Unpin")
	}
}

func TestPinCanceled(t *testing.T) {
	p, _ := newTestPinner(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Pin(ctx, PinOptions{ID: "a", Net: true}); !errors.Is(err, context.Canceled) {
		t.Errorf("Pin: %v, want Canceled", err)
	}
}

func TestInNetNSErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	never := func() error { t.Error("ran outside the namespace"); return nil }
	if err := InNetNS(file, never); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("plain file: %v, want FailedPrecondition", err)
	}
	if err := InNetNS(file+"-missing", never); !errdefs.IsNotFound(err) {
		t.Errorf("missing file: %v, want NotFound", err)
	}
	if IsPinned(file) || IsPinned(file+"-missing") {
		t.Error("pinned")
	}
}

// A netns directory that other programs use is a shared mount point while pods are pinned there.
func TestSharedNetnsDir(t *testing.T) {
	needRoot(t)
	isMount := func(dir string) bool {
		mounted, err := mountinfo.Mounted(dir)
		if err != nil {
			t.Fatal(err)
		}
		return mounted
	}
	stateDir := t.TempDir()
	dir := filepath.Join(stateDir, "shared")
	p := &Pinner{paths: paths.Paths{State: stateDir}, netnsDir: &netnsDir{path: dir, shared: true}}
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })

	for _, id := range []string{"a", "b"} {
		if _, err := p.Pin(t.Context(), PinOptions{ID: id, Net: true}); err != nil {
			t.Fatal(err)
		}
	}
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(dir))
	if err != nil || len(mounts) != 1 || !strings.Contains(mounts[0].Optional, "shared:") {
		t.Fatalf("mounts of the directory: %+v, %v; want one, and shared", mounts, err)
	}
	if err := p.Unpin(t.Context(), "a", Namespaces{}); err != nil {
		t.Fatal(err)
	}
	if !isMount(dir) {
		t.Error("the directory is unmounted while a namespace is pinned")
	}
	if err := p.Unpin(t.Context(), "b", Namespaces{}); err != nil {
		t.Fatal(err)
	}
	if isMount(dir) {
		t.Error("the directory is still mounted")
	}

	t.Run("used by other programs", func(t *testing.T) {
		foreign := filepath.Join(dir, "foreign")
		if err := os.WriteFile(foreign, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := p.Pin(t.Context(), PinOptions{ID: "c", Net: true}); err != nil {
			t.Fatal(err)
		}
		if isMount(dir) {
			t.Error("a directory in use was mounted over")
		}
		if err := p.Unpin(t.Context(), "c", Namespaces{}); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(foreign); err != nil {
			t.Error(err)
		}
	})
}

func TestSysctlPath(t *testing.T) {
	for name, want := range map[string]string{
		"net.ipv4.ip_forward":               "net/ipv4/ip_forward",
		"net/ipv4/ip_forward":               "net/ipv4/ip_forward",
		"net.ipv4.conf.eth0/100.rp_filter":  "net/ipv4/conf/eth0.100/rp_filter",
		"net/ipv4/conf/eth0.100/rp_filter":  "net/ipv4/conf/eth0.100/rp_filter",
		"kernel.shmmax":                     "kernel/shmmax",
		"":                                  "",
		"net":                               "net",
		"/net/ipv4/ip_forward":              "",
		"net/../kernel/panic":               "",
		"net.//.kernel.panic":               "",
		"net..ipv4":                         "",
		"net.ipv4.":                         "",
		"./net/ipv4":                        "",
		"net/ipv4/./ip_forward":             "",
		"net.ipv4\x00.x":                    "",
		"../../etc/passwd":                  "",
		"net.ipv4.ip_forward/../../../etc/": "",
	} {
		if got := sysctlPath(name); got != want {
			t.Errorf("sysctlPath(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestParseSysctls(t *testing.T) {
	const all = unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	tests := []struct {
		name  string
		ok    bool
		flags int
	}{
		{"net.core.somaxconn", true, all},
		{"net.core.somaxconn", false, all &^ unix.CLONE_NEWNET},
		{"kernel.msgmax", true, unix.CLONE_NEWIPC},
		{"kernel.shm_rmid_forced", true, unix.CLONE_NEWIPC},
		{"kernel.sem", true, unix.CLONE_NEWIPC},
		{"fs.mqueue.queues_max", true, unix.CLONE_NEWIPC},
		{"kernel.domainname", true, unix.CLONE_NEWUTS},
		{"kernel.hostname", false, all},
		{"kernel.msg.x", false, all},
		{"fs.file-max", false, all},
		{"vm.swappiness", false, all},
		{"network.x", false, all},
	}
	for _, tt := range tests {
		_, err := parseSysctls(map[string]string{tt.name: "1"}, tt.flags)
		if (err == nil) != tt.ok || (err != nil && !errdefs.IsInvalidArgument(err)) {
			t.Errorf("%s in %#x: %v, want ok=%v", tt.name, tt.flags, err, tt.ok)
		}
	}
	_, err := parseSysctls(map[string]string{"net.ipv4.ip_forward": "0", "net/ipv4/ip_forward": "1"}, all)
	if !errdefs.IsInvalidArgument(err) {
		t.Errorf("one parameter with two names: %v, want InvalidArgument", err)
	}
	list, err := parseSysctls(map[string]string{"net.b": "1", "net.a": "1", "kernel.sem": "1"}, all)
	if err != nil || !slices.IsSortedFunc(list, func(a, b sysctl) int { return strings.Compare(a.name, b.name) }) {
		t.Errorf("not sorted by name: %v, %v", list, err)
	}
}

func FuzzSysctlPath(f *testing.F) {
	f.Add("net.ipv4.ip_forward")
	f.Add("net/ipv4/conf/eth0.1/x")
	f.Add("..")
	f.Fuzz(func(t *testing.T, name string) {
		p := sysctlPath(name)
		if p == "" {
			return
		}
		if full := filepath.Join("/proc/sys", p); full != "/proc/sys/"+p || !strings.HasPrefix(full, "/proc/sys/") {
			t.Errorf("path of %q is %q", name, full)
		}
	})
}
