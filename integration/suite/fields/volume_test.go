// SPDX-License-Identifier: Apache-2.0

package fields

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// volume returns a mount of an image.
func volume(ref, destination, subPath string) *runtimeapi.Mount {
	return &runtimeapi.Mount{
		ContainerPath: destination, Image: &runtimeapi.ImageSpec{Image: ref}, ImageSubPath: subPath, Readonly: true,
	}
}

func withMounts(mounts ...*runtimeapi.Mount) func(*runtimeapi.ContainerConfig) {
	return func(c *runtimeapi.ContainerConfig) { c.Mounts = mounts }
}

// imageVolumes mounts a whole image, and a directory, a file and a link to a directory of it.
func imageVolumes(t *testing.T, b bench) {
	ref := b.pull(t, image.Volume)
	p := b.pod(t, "volume", nil)
	noexec := volume(ref, "/noexec", "")
	noexec.MountOptions = []string{"noexec", "nodev", "nosuid"}
	noexec.Propagation = runtimeapi.MountPropagation_PROPAGATION_HOST_TO_CONTAINER
	id := p.run(t, "main", withMounts(
		volume(image.Volume, "/whole", ""),
		volume(ref, "/directory", "data"),
		volume(ref, "/file", "data/file"),
		volume(ref, "/link", "link"),
		noexec,
	))
	for _, c := range []struct{ script, want string }{
		{"cat /whole/data/file", "second layer"},
		{"ls -a /directory", ".\n..\nfile"},
		{"cat /file", "second layer"},
		{"cat /link/file", "second layer"},
		{"ls /whole", "absolute\ndata\nlink\nprivate\nup"},
		{"stat -c %u:%g:%a /whole/private", "0:0:600"},
	} {
		equal(t, c.script, b.sh(t, id, c.script), c.want)
	}
	for _, name := range []string{"/whole/new", "/directory/file", "/file", "/noexec/new"} {
		contains(t, "write to "+name, b.sh(t, id, "echo > "+name+" || true"), "Read-only file system")
	}
	contains(t, "options of /noexec", b.sh(t, id, "grep ' /noexec ' /proc/self/mounts"), " ro,nosuid,nodev,noexec,")

	mounts := b.status(t, id).Mounts
	for i, m := range mounts {
		equal(t, "image_ref of "+m.ContainerPath, m.Image.ImageRef, ref)
		equal(t, "host_path of "+m.ContainerPath, m.HostPath, "")
		if i == 0 {
			equal(t, "image of "+m.ContainerPath, m.Image.Image, image.Volume)
		}
	}
	equal(t, "number of mounts", len(mounts), 5)
}

// imageVolumesUserNS mounts images of one and of two layers in a user namespace: root of the
// container must own their files.
func imageVolumesUserNS(t *testing.T, b bench) {
	ids := []*runtimeapi.IDMapping{{HostId: 1 << 20, ContainerId: 0, Length: 65536}}
	p := b.pod(t, "volume-userns", func(c *runtimeapi.PodSandboxConfig) {
		c.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_POD
		c.Linux.SecurityContext.NamespaceOptions.UsernsOptions = &runtimeapi.UserNamespace{Uids: ids, Gids: ids}
	})
	two, one := volume(image.Volume, "/two", ""), volume(image.Busybox, "/one", "")
	file := volume(image.Volume, "/file", "private")
	two.UidMappings, two.GidMappings = ids, ids // as the kubelet does
	id := p.run(t, "main", withMounts(two, one, file))
	for _, c := range []struct{ script, want string }{
		{"cat /two/data/file", "second layer"},
		{"cat /two/private /file", "for root\nfor root"},
		{"stat -c %u:%g /two/private /one/bin/busybox /file", "0:0\n0:0\n0:0"},
	} {
		equal(t, c.script, b.sh(t, id, c.script), c.want)
	}
}

// imageVolumesLife removes the image of a running container's volume and restarts the daemon. The
// volume must stay usable in that container; a new container must not get the image.
func imageVolumesLife(t *testing.T, b bench) {
	b.pull(t, image.Volume)
	p := b.pod(t, "volume-life", nil)
	id := p.run(t, "main", withMounts(volume(image.Volume, "/v", "")))
	if _, err := b.RemoveImage(t.Context(), &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: image.Volume}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Pull(harness.After(t), image.Volume); err != nil {
			t.Error(err)
		}
	})
	equal(t, "file of a removed image", b.sh(t, id, "cat /v/data/file"), "second layer")
	_, err := p.create(t, "late", withMounts(volume(image.Volume, "/v", "")))
	equal(t, "code for a removed image", status.Code(err), codes.NotFound)

	if err := b.Daemon.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	equal(t, "file after a restart", b.sh(t, id, "cat /v/data/file"), "second layer")
	equal(t, "image_ref after a restart", strings.HasPrefix(b.status(t, id).Mounts[0].Image.ImageRef, "sha256:"), true)
}

// imageVolumesCrash kills the daemon when the first of several containers with image volumes has
// been created. After a restart and the removal of the pod, nothing of the others may be left
// behind.
func imageVolumesCrash(t *testing.T, b bench) {
	p := b.pod(t, "volume-crash", nil)
	var wait sync.WaitGroup
	made := make(chan error, 8)
	for i := range cap(made) {
		wait.Go(func() {
			_, err := p.CreateContainer(t.Context(), &runtimeapi.CreateContainerRequest{
				PodSandboxId: p.id, SandboxConfig: p.config,
				Config: p.container("c"+strconv.Itoa(i), withMounts(volume(image.Volume, "/v", "data"), volume(image.Busybox, "/b", ""))),
			})
			made <- err // most calls fail with the connection
		})
	}
	if err := <-made; err != nil {
		t.Error(err)
	}
	if err := b.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	wait.Wait()
	if err := b.Daemon.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// imageVolumesRefused requests missing or forbidden volumes. NoLeaks checks that they leave nothing
// behind.
func imageVolumesRefused(t *testing.T, b bench) {
	p := b.pod(t, "volume-refused", nil)
	for name, c := range map[string]struct {
		change func(*runtimeapi.Mount)
		code   codes.Code
	}{
		"image missing":    {func(m *runtimeapi.Mount) { m.Image.Image = "docker.io/library/absent:1" }, codes.NotFound},
		"no image":         {func(m *runtimeapi.Mount) { m.Image.Image = "" }, codes.InvalidArgument},
		"writable":         {func(m *runtimeapi.Mount) { m.Readonly = false }, codes.InvalidArgument},
		"host path":        {func(m *runtimeapi.Mount) { m.HostPath = "/tmp" }, codes.InvalidArgument},
		"sub path missing": {func(m *runtimeapi.Mount) { m.ImageSubPath = "data/gone" }, codes.NotFound},
		"sub path upwards": {func(m *runtimeapi.Mount) { m.ImageSubPath = "data/../.." }, codes.InvalidArgument},
		"link upwards":     {func(m *runtimeapi.Mount) { m.ImageSubPath = "up/passwd" }, codes.InvalidArgument},
		"absolute link":    {func(m *runtimeapi.Mount) { m.ImageSubPath = "absolute" }, codes.InvalidArgument},
		"bidirectional": {func(m *runtimeapi.Mount) {
			m.Propagation = runtimeapi.MountPropagation_PROPAGATION_BIDIRECTIONAL
		}, codes.InvalidArgument},
	} {
		m := volume(image.Volume, "/v", "")
		c.change(m)
		_, err := p.create(t, "bad", withMounts(volume(image.Volume, "/good", ""), m))
		if status.Code(err) != c.code {
			t.Errorf("%s: got %v, want %s", name, err, c.code)
		}
		if message := status.Convert(err).Message(); !strings.HasPrefix(message, "ImageVolumeMountFailed: ") {
			t.Errorf("%s: the message %q has no prefix that the kubelet knows", name, message)
		}
	}
}
