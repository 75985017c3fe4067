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

	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/spec"
)

// podID is the ID of the pod in the tests.
const podID = "p1"

// podFiles returns PodFiles in a temporary directory, with its own replacement for the host's /etc.
func podFiles(t *testing.T) (PodFiles, paths.Pod) {
	t.Helper()
	dir := t.TempDir()
	f := PodFiles{
		Paths: paths.Paths{Root: filepath.Join(dir, "root"), State: filepath.Join(dir, "state")},
		etc:   filepath.Join(dir, "etc"),
	}
	must(t,
		os.Mkdir(f.etc, 0o755),
		os.WriteFile(filepath.Join(f.etc, "hosts"), []byte("127.0.0.1 localhost\n"), 0o600),
		os.WriteFile(filepath.Join(f.etc, "resolv.conf"), []byte("nameserver 192.0.2.1\n"), 0o600),
	)
	return f, f.Paths.Pod(podID)
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
	f, pod := podFiles(t)
	config := podConfig(runtimeapi.NamespaceMode_NODE)
	files := f.Of(podID, config)
	want := spec.PodFiles{Hostname: pod.Hostname(), Hosts: pod.Hosts(), ResolvConf: pod.ResolvConf(), Shm: hostShm}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	for range 2 { // the second call is a retry
		must(t, f.Create(podID, "shop", config))
		wantFile(t, files.Hostname, "shop\n")
		wantFile(t, files.Hosts, "127.0.0.1 localhost\n")
		wantFile(t, files.ResolvConf, "nameserver 192.0.2.1\n")
	}
	if _, err := os.Stat(pod.State); err == nil {
		t.Error("a pod with the host's IPC namespace has its own /dev/shm")
	}
}

func TestPodFilesFromConfig(t *testing.T) {
	f, _ := podFiles(t)
	config := podConfig(runtimeapi.NamespaceMode_NODE)
	must(t, os.RemoveAll(f.etc)) // a missing hosts file of the host is no error
	config.Hostname = ""
	config.DnsConfig = &runtimeapi.DNSConfig{
		Servers: []string{"192.0.2.1", "fe80::1%eth0"}, Searches: []string{"a.example", "b.example"}, Options: []string{"ndots:5"},
	}
	must(t, f.Create(podID, "node-1", config))
	files := f.Of(podID, config)
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
		f, pod := podFiles(t)
		config := podConfig(runtimeapi.NamespaceMode_NODE)
		change(config)
		if err := f.Create(podID, "shop", config); !errdefs.IsInvalidArgument(err) {
			t.Errorf("%s: error %v, want class InvalidArgument", name, err)
		}
		if _, err := os.Stat(pod.Root); err == nil {
			t.Errorf("%s: files were created", name)
		}
	}
}

// A symbolic link at the path of a pod file is not followed.
func TestPodFilesPlantedLink(t *testing.T) {
	f, pod := podFiles(t)
	canary := filepath.Join(t.TempDir(), "canary")
	must(t,
		os.WriteFile(canary, []byte("alive"), 0o600),
		os.MkdirAll(pod.Root, 0o755),
		os.Symlink(canary, pod.Hosts()),
	)
	if err := f.Create(podID, "shop", podConfig(runtimeapi.NamespaceMode_NODE)); err == nil {
		t.Error("no error")
	}
	if data, err := os.ReadFile(canary); err != nil || string(data) != "alive" {
		t.Errorf("the canary contains %q, %v", data, err)
	}
}

func TestPodFilesShm(t *testing.T) {
	needRoot(t)
	f, _ := podFiles(t)
	config := podConfig(runtimeapi.NamespaceMode_POD)
	t.Cleanup(func() { must(t, f.Remove(podID)) })
	files := f.Of(podID, config)
	for range 2 {
		must(t, f.Create(podID, "shop", config))
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
	f, pod := podFiles(t)
	config := podConfig(runtimeapi.NamespaceMode_POD)
	must(t, f.Remove(podID)) // nothing there yet
	must(t, f.Create(podID, "shop", config))
	must(t, unix.Mount("shm", pod.Shm(), "tmpfs", 0, "")) // a second mount over the first
	for range 2 {
		must(t, f.Remove(podID))
		for _, dir := range []string{pod.Root, pod.State} {
			if _, err := os.Stat(dir); !os.IsNotExist(err) {
				t.Errorf("%s still exists: %v", dir, err)
			}
		}
	}
	if mounted, err := mountinfo.Mounted(filepath.Dir(pod.State)); err != nil || mounted {
		t.Errorf("mounted %v, %v", mounted, err)
	}
}

// Remove keeps files of other packages in the directories.
func TestPodFilesRemoveLeavesOthers(t *testing.T) {
	needRoot(t)
	f, pod := podFiles(t)
	must(t, f.Create(podID, "shop", podConfig(runtimeapi.NamespaceMode_POD)))
	other := filepath.Join(pod.State, "netns")
	must(t, os.WriteFile(other, nil, 0o600), f.Remove(podID))
	if _, err := os.Stat(other); err != nil {
		t.Errorf("the file of another package: %v", err)
	}
	if _, err := os.Stat(pod.Shm()); !os.IsNotExist(err) {
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
