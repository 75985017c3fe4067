// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// Images of the cases, based on busybox.
const (
	// dressed sets every field of an image config.
	dressed = "docker.io/library/dressed:latest"
	// blankEntrypoint has an entrypoint of one empty string, which means no entrypoint.
	blankEntrypoint = "docker.io/library/blank-entrypoint:latest"
	// bare has no PATH.
	bare = "docker.io/library/bare:latest"
	// named has its user and group by name.
	named = "docker.io/library/named:latest"
	// grouped has a user that is in a group of /etc/group.
	grouped = "gcr.io/k8s-staging-cri-tools/test-image-predefined-group:latest"
)

func imageConfigs() map[string]v1.Config {
	return map[string]v1.Config{
		dressed: {
			Entrypoint: []string{"sh", "-c"}, Cmd: []string{"sleep 1000"},
			Env:  []string{"PATH=/bin", "FROM=image", "EMPTY=", "BOTH=image"},
			User: "1002:1003", WorkingDir: "/srv/work",
			Volumes:    map[string]struct{}{"/var/data": {}, "/etc/conf": {}},
			Labels:     map[string]string{"from": "image", "both": "image", "bad label": "kept out", "io.cri-containerd.kind": "sandbox"},
			StopSignal: "SIGQUIT",
		},
		blankEntrypoint: {Entrypoint: []string{""}, Cmd: []string{"sleep", "1000"}},
		bare:            {Cmd: []string{"true"}, Env: []string{"ONLY=this"}},
		named:           {Cmd: []string{"true"}, User: "www-data:nogroup", StopSignal: "2"},
	}
}

// fixture are the host's files for the cases; both daemons use the same.
type fixture struct {
	root    string // directory of all of them
	dir     string // a directory, with a directory below/deep and a file below/file
	file    string
	link    string // a link to dir
	shared  string // a directory on a shared mount
	slave   string // a directory on a slave mount
	seccomp string // a profile
	devices string // a directory with two device nodes, null and sub/zero, and a file
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("this test needs root")
	}
	root := t.TempDir()
	f := fixture{
		root: root,
		dir:  filepath.Join(root, "dir"), file: filepath.Join(root, "dir", "below", "file"), link: filepath.Join(root, "link"),
		shared: filepath.Join(root, "shared"), slave: filepath.Join(root, "slave"),
		seccomp: filepath.Join(root, "seccomp.json"), devices: filepath.Join(root, "devices"),
	}
	for _, step := range []func() error{
		func() error { return os.MkdirAll(filepath.Join(f.dir, "below", "deep"), 0o755) },
		func() error { return os.WriteFile(f.file, []byte("text"), 0o644) },
		func() error { return os.Symlink(f.dir, f.link) },
		func() error { return os.MkdirAll(filepath.Join(f.devices, "sub"), 0o755) },
		func() error { return os.WriteFile(filepath.Join(f.devices, "file"), nil, 0o644) },
		func() error {
			return unix.Mknod(filepath.Join(f.devices, "null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3)))
		},
		func() error {
			return unix.Mknod(filepath.Join(f.devices, "sub", "zero"), unix.S_IFCHR|0o640, int(unix.Mkdev(1, 5)))
		},
		func() error {
			const profile = `{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["reboot"], "action": "SCMP_ACT_ERRNO"}]}`
			return os.WriteFile(f.seccomp, []byte(profile), 0o644)
		},
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	mountAt(t, f.shared, "tmpfs", 0, unix.MS_SHARED)
	mountAt(t, f.slave, f.shared, unix.MS_BIND, unix.MS_SLAVE)
	if err := os.Mkdir(filepath.Join(f.shared, "below"), 0o755); err != nil {
		t.Fatal(err)
	}
	return f
}

// mountAt mounts a tmpfs, or source with MS_BIND, with a propagation until the test ends.
func mountAt(t *testing.T, dir, source string, flags, propagation uintptr) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(source, dir, "tmpfs", flags, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", dir, "", propagation, ""); err != nil {
		t.Fatal(err)
	}
}

// cdiSpec describes devices with everything that a CDI spec can add to a container.
const cdiSpec = `{
  "cdiVersion": "0.6.0", "kind": "bench.test/device",
  "containerEdits": {"env": ["CDI_ALL=yes"]},
  "devices": [
    {"name": "one", "containerEdits": {
      "env": ["CDI_ONE=yes"],
      "deviceNodes": [{"path": "/dev/cdi-one", "hostPath": "/dev/null", "permissions": "rw"}],
      "mounts": [{"hostPath": "/etc/hostname", "containerPath": "/cdi/hostname", "options": ["ro", "bind"]}],
      "hooks": [{"hookName": "createContainer", "path": "/bin/true", "args": ["true"]}]}},
    {"name": "two", "containerEdits": {"env": ["CDI_TWO=yes"]}}
  ]
}`

// newBench starts a bench whose registry has the images of the cases, and pulls them.
func newBench(t *testing.T, o harness.Options, f fixture) bench {
	t.Helper()
	h := harness.StartWith(t, o)
	client, err := h.CRI()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	ctrd, err := h.Containerd()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ctrd.Close() })
	b := bench{h, client, ctrd, f}
	b.pull(t)
	if err := os.MkdirAll(h.Path("cdi"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.Path("cdi", "bench.json"), []byte(cdiSpec), 0o644); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b bench) pull(t *testing.T) {
	t.Helper()
	refs := []string{image.Busybox, grouped}
	for ref, config := range imageConfigs() {
		img, err := mutate.Config(b.Registry.Image(image.Busybox), config)
		if err != nil {
			t.Fatal(err)
		}
		if err := b.Registry.Push(t.Context(), ref, img); err != nil {
			t.Fatal(err)
		}
		refs = append(refs, ref)
	}
	for _, ref := range refs {
		if err := b.Pull(t.Context(), ref); err != nil {
			t.Fatal(err)
		}
	}
}
