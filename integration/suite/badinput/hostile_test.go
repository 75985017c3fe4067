// SPDX-License-Identifier: Apache-2.0

package badinput

import (
	"archive/tar"
	"bytes"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// hostile is an image with links that lead out of its root file system.
const hostile = "docker.io/library/hostile:latest"

// TestHostileImage checks that links of an image that lead to a directory of the host expose
// nothing there, and create nothing there.
func TestHostileImage(t *testing.T) {
	b := newBench(t)
	outside := t.TempDir()
	secret := filepath.Join(outside, "passwd")
	if err := os.WriteFile(secret, []byte("intruder:x:0:0::/:/bin/sh\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.push(t, hostile, v1.Config{Cmd: []string{"true"}, Volumes: map[string]struct{}{"/volume": {}}}, map[string]string{
		"etc/passwd": secret, "volume": outside, "up": "../../../../../../../../.." + outside, "mnt": outside,
	})
	b.NoLeaks(t, "links", func(t *testing.T) { hostileLinks(t, b, outside) })
	b.NoLeaks(t, "config", func(t *testing.T) { hostileConfigs(t, b) })
}

func hostileLinks(t *testing.T, b bench, outside string) {
	config := b.PodConfig("hostile")
	pod := b.Pod(t, config)
	intruder := harness.ContainerConfig(config, "intruder", hostile)
	intruder.Linux.SecurityContext.RunAsUsername = "intruder"
	_, err := b.create(t, pod, config, intruder)
	b.want(t, "a user that only a file of the host defines", err, codes.FailedPrecondition)

	for _, sub := range []string{"up", "volume", "mnt/passwd"} {
		volume := harness.ContainerConfig(config, "volume", image.Busybox)
		volume.Mounts = []*runtimeapi.Mount{{
			ContainerPath: "/data", Readonly: true, Image: &runtimeapi.ImageSpec{Image: hostile}, ImageSubPath: sub,
		}}
		if _, err := b.create(t, pod, config, volume); err == nil {
			t.Errorf("a directory of the host is mounted for the sub path %s of an image", sub)
		}
	}

	// /volume is a link and /mnt/made is below one: both are resolved inside the container.
	target := harness.ContainerConfig(config, "target", hostile, "sh", "-c", "ls /volume; ls /mnt")
	target.Mounts = []*runtimeapi.Mount{{HostPath: t.TempDir(), ContainerPath: "/mnt/made"}}
	id, err := b.Run(t.Context(), pod, config, target)
	if err == nil {
		if _, err := b.AwaitState(t.Context(), id, runtimeapi.ContainerState_CONTAINER_EXITED); err != nil {
			t.Error(err)
		}
		log, err := os.ReadFile(b.Path("logs", "hostile", "target.log"))
		if err != nil || bytes.Contains(log, []byte("passwd")) {
			t.Errorf("the container sees a directory of the host: %q, %v", log, err)
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != 1 || entries[0].Name() != "passwd" {
		t.Errorf("the directory of the host contains %v, %v", entries, err)
	}
}

// hostileConfigs checks image configs with which no container can be created.
func hostileConfigs(t *testing.T, b bench) {
	config := b.PodConfig("configs")
	pod := b.Pod(t, config)
	for name, c := range map[string]v1.Config{
		"nothing to execute":     {},
		"directory of a process": {Cmd: []string{"true"}, WorkingDir: "/proc/self/fd/8"},
		"relative directory":     {Cmd: []string{"true"}, WorkingDir: "tmp"},
		"user with a sign":       {Cmd: []string{"true"}, User: "+0"},
		"user with three parts":  {Cmd: []string{"true"}, User: "0:0:0"},
		"variable without name":  {Cmd: []string{"true"}, Env: []string{"=a"}},
		"variable with NUL":      {Cmd: []string{"true"}, Env: []string{"A=\x00"}},
		"argument with NUL":      {Cmd: []string{"true", "\x00"}},
		"volume at the root":     {Cmd: []string{"true"}, Volumes: map[string]struct{}{"/": {}}},
		"volume with newline":    {Cmd: []string{"true"}, Volumes: map[string]struct{}{"/a\nb": {}}},
	} {
		ref := "docker.io/library/config:latest"
		b.push(t, ref, c, nil)
		_, err := b.create(t, pod, config, harness.ContainerConfig(config, "main", ref))
		b.want(t, name, err, codes.InvalidArgument)
	}
}

// push serves and pulls an image with busybox's files, these links and this config.
func (b bench) push(t *testing.T, ref string, config v1.Config, links map[string]string) {
	t.Helper()
	img := b.Registry.Image(image.Busybox)
	if len(links) > 0 {
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return linkLayer(links) })
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, layer); err != nil {
			t.Fatal(err)
		}
	}
	img, err := mutate.Config(img, config)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.Registry.Push(t.Context(), ref, img); err != nil {
		t.Fatal(err)
	}
	if err := b.Pull(t.Context(), ref); err != nil {
		t.Fatal(err)
	}
}

// linkLayer returns a layer of symbolic links.
func linkLayer(links map[string]string) (io.ReadCloser, error) {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	for _, name := range slices.Sorted(maps.Keys(links)) {
		if err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: links[name], Mode: 0o777}); err != nil {
			return nil, err
		}
	}
	return io.NopCloser(&layer), w.Close()
}
