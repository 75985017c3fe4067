// SPDX-License-Identifier: Apache-2.0

package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// podDir returns a PodDir in a temporary directory, with its own replacement for the host's /etc.
func podDir(t *testing.T) PodDir {
	t.Helper()
	dir := t.TempDir()
	d := PodDir{Root: filepath.Join(dir, "root/sandboxes/p1"), State: filepath.Join(dir, "state/sandboxes/p1"), etc: filepath.Join(dir, "etc")}
	must(t,
		os.Mkdir(d.etc, 0o755),
		os.WriteFile(filepath.Join(d.etc, "hosts"), []byte("127.0.0.1 localhost\n"), 0o600),
		os.WriteFile(filepath.Join(d.etc, "resolv.conf"), []byte("nameserver 192.0.2.1\n"), 0o600),
	)
	return d
}

func podConfig(ipc runtimeapi.NamespaceMode) *runtimeapi.PodSandboxConfig {
	return &runtimeapi.PodSandboxConfig{
		Metadata: &runtimeapi.PodSandboxMetadata{Name: "shop", Namespace: "default", Uid: "u1"},
		Hostname: "shop",
		Linux: &runtimeapi.LinuxPodSandboxConfig{SecurityContext: &runtimeapi.LinuxSandboxSecurityContext{
			NamespaceOptions: &runtimeapi.NamespaceOption{Ipc: ipc},
		}},
	}
}

func wantFile(t *testing.T, path, content string) {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	info, err := os.Stat(path)
	must(t, err)
	if string(data) != content || info.Mode().Perm() != 0o644 {
		t.Errorf("%s has mode %v and content %q, want 0644 and %q", path, info.Mode(), data, content)
	}
}

func TestPodFilesHostIPC(t *testing.T) {
	if _, err := os.Stat(hostShm); err != nil {
		t.Skipf("this machine has no /dev/shm: %v", err)
	}
	d, config := podDir(t), podConfig(runtimeapi.NamespaceMode_NODE)
	for range 2 { // the second call is a retry
		files, err := d.Create("shop", config)
		must(t, err)
		if diff := cmp.Diff(d.Files(config), files); diff != "" || files.Shm != hostShm {
			t.Errorf("shm %s, files -want +got:\n%s", files.Shm, diff)
		}
		wantFile(t, files.Hostname, "shop\n")
		wantFile(t, files.Hosts, "127.0.0.1 localhost\n")
		wantFile(t, files.ResolvConf, "nameserver 192.0.2.1\n")
	}
	if _, err := os.Stat(d.State); err == nil {
		t.Error("a pod with the host's IPC namespace has its own /dev/shm")
	}
}

func TestPodFilesFromConfig(t *testing.T) {
	d, config := podDir(t), podConfig(runtimeapi.NamespaceMode_NODE)
	must(t, os.RemoveAll(d.etc)) // a missing hosts file of the host is no error
	config.Hostname = ""
	config.DnsConfig = &runtimeapi.DNSConfig{
		Servers: []string{"192.0.2.1", "fe80::1%eth0"}, Searches: []string{"a.example", "b.example"}, Options: []string{"ndots:5"},
	}
	files, err := d.Create("node-1", config)
	must(t, err)
	wantFile(t, files.Hostname, "node-1\n")
	wantFile(t, files.Hosts, "")
	wantFile(t, files.ResolvConf, "search a.example b.example\nnameserver 192.0.2.1\nnameserver fe80::1%eth0\noptions ndots:5\n")
}

func TestPodFilesInvalid(t *testing.T) {
	for name, change := range map[string]func(*runtimeapi.PodSandboxConfig){
		"hostname": func(c *runtimeapi.PodSandboxConfig) { c.Hostname = "a\nb" },
		"server": func(c *runtimeapi.PodSandboxConfig) {
			c.DnsConfig = &runtimeapi.DNSConfig{Servers: []string{"1.1.1.1\nsearch x"}}
		},
		"search": func(c *runtimeapi.PodSandboxConfig) { c.DnsConfig = &runtimeapi.DNSConfig{Searches: []string{"a b"}} },
		"option": func(c *runtimeapi.PodSandboxConfig) { c.DnsConfig = &runtimeapi.DNSConfig{Options: []string{""}} },
	} {
		d, config := podDir(t), podConfig(runtimeapi.NamespaceMode_NODE)
		change(config)
		if _, err := d.Create("shop", config); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: error %v, want class InvalidArgument", name, err)
		}
		if _, err := os.Stat(d.Root); err == nil {
			t.Errorf("%s: files were created", name)
		}
	}
}

// A symbolic link at the path of a pod file is not followed.
func TestPodFilesPlantedLink(t *testing.T) {
	d := podDir(t)
	canary := filepath.Join(t.TempDir(), "canary")
	must(t,
		os.WriteFile(canary, []byte("alive"), 0o600),
		os.MkdirAll(d.Root, 0o755),
		os.Symlink(canary, filepath.Join(d.Root, "hosts")),
	)
	if _, err := d.Create("shop", podConfig(runtimeapi.NamespaceMode_NODE)); err == nil {
		t.Error("no error")
	}
	if data, err := os.ReadFile(canary); err != nil || string(data) != "alive" {
		t.Errorf("the canary contains %q, %v", data, err)
	}
}

func TestPodFilesShm(t *testing.T) {
	needRoot(t)
	d, config := podDir(t), podConfig(runtimeapi.NamespaceMode_POD)
	t.Cleanup(func() { must(t, d.Remove()) })
	var files spec.PodFiles
	for range 2 {
		var err error
		files, err = d.Create("shop", config)
		must(t, err)
	}
	mounts, err := mountinfo.GetMounts(mountinfo.SingleEntryFilter(files.Shm))
	must(t, err)
	if len(mounts) != 1 || mounts[0].FSType != "tmpfs" {
		t.Fatalf("%d mounts at %s", len(mounts), files.Shm)
	}
	for _, o := range []string{"nosuid", "nodev", "noexec"} {
		if !strings.Contains(mounts[0].Options, o) {
			t.Errorf("mounted %s, without %s", mounts[0].Options, o)
		}
	}
	var st unix.Statfs_t
	must(t, unix.Statfs(files.Shm, &st))
	if size := st.Blocks * uint64(st.Bsize); size != 64<<20 {
		t.Errorf("/dev/shm has %d bytes", size)
	}
	info, err := os.Stat(files.Shm)
	must(t, err)
	if info.Mode() != os.ModeDir|os.ModeSticky|0o777 {
		t.Errorf("/dev/shm has mode %v", info.Mode())
	}
}

func TestPodFilesRemove(t *testing.T) {
	needRoot(t)
	d, config := podDir(t), podConfig(runtimeapi.NamespaceMode_POD)
	must(t, d.Remove()) // nothing there yet
	files, err := d.Create("shop", config)
	must(t, err, unix.Mount("shm", files.Shm, "tmpfs", 0, "")) // a second mount over the first
	for range 2 {
		must(t, d.Remove())
		for _, dir := range []string{d.Root, d.State} {
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%s still exists: %v", dir, err)
			}
		}
	}
	if mounted, err := mountinfo.Mounted(filepath.Dir(d.State)); err != nil || mounted {
		t.Errorf("mounted %v, %v", mounted, err)
	}
}

// Remove keeps files of other packages in the directories.
func TestPodFilesRemoveLeavesOthers(t *testing.T) {
	needRoot(t)
	d := podDir(t)
	_, err := d.Create("shop", podConfig(runtimeapi.NamespaceMode_POD))
	other := filepath.Join(d.State, "netns")
	must(t, err, os.WriteFile(other, nil, 0o600), d.Remove())
	if _, err := os.Stat(other); err != nil {
		t.Errorf("the file of another package: %v", err)
	}
	if _, err := os.Stat(filepath.Join(d.State, "shm")); !os.IsNotExist(err) {
		t.Errorf("shm still exists: %v", err)
	}
}

// FuzzResolvConf checks that each accepted word results in one line with that word.
func FuzzResolvConf(f *testing.F) {
	f.Add("192.0.2.1", "example.org", "ndots:5")
	f.Add("192.0.2.1\nnameserver 192.0.2.2", "a\x00", " ")
	f.Add("\u2028", "\u0085", "\r")
	f.Fuzz(func(t *testing.T, server, search, option string) {
		dns := &runtimeapi.DNSConfig{Servers: []string{server}, Searches: []string{search}, Options: []string{option}}
		if spec.CheckPod(&runtimeapi.PodSandboxConfig{Metadata: &runtimeapi.PodSandboxMetadata{Name: "a"}, DnsConfig: dns}) != nil {
			return
		}
		data := resolvConf(dns)
		want := "search " + search + "\nnameserver " + server + "\noptions " + option + "\n"
		if string(data) != want || strings.Count(want, "\n") != 3 || len(strings.Fields(want)) != 6 {
			t.Errorf("%q", data)
		}
	})
}
