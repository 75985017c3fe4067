// SPDX-License-Identifier: Apache-2.0

// Package imageservice makes the kubelet's requests to the image service, and checks what
// containers report about their images.
package imageservice

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	crierrors "k8s.io/cri-api/pkg/errors"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func TestImageService(t *testing.T) {
	b := newBench(t)
	for _, test := range []struct {
		name  string
		stock string // why stock containerd does not pass
		run   func(*testing.T, bench)
	}{
		{"one image has one ID and one digest", "", oneImage},
		{"a tag that moves", "", movedTag},
		{"lists and their filter", "it ignores the filter", lists},
		{"a removed image of a running container", "", removedImage},
		{"errors known to the kubelet", "its errors have no kubelet reasons", kubeletErrors},
		{"unknown handler", "it accepts any handler", unknownHandler},
	} {
		b.NoLeaks(t, test.name, func(t *testing.T) {
			if b.Options.Daemon == harness.Stock && test.stock != "" {
				t.Skip("stock containerd: " + test.stock)
			}
			test.run(t, b)
		})
	}
}

type bench struct{ harness.Session }

func newBench(t *testing.T) bench {
	t.Helper()
	return bench{harness.Open(t)}
}

// moving is a name under which the tests push different images.
const moving = "docker.io/library/moving:latest"

// pull pulls an image, which is removed when the test ends, and returns its ID.
func (b bench) pull(t *testing.T, name string) string {
	t.Helper()
	answer, err := b.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: name}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.remove(t, answer.ImageRef) })
	return answer.ImageRef
}

func (b bench) remove(t *testing.T, ref string) {
	t.Helper()
	_, err := b.RemoveImage(harness.After(t), &runtimeapi.RemoveImageRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil {
		t.Errorf("remove %s: %v", ref, err)
	}
}

func (b bench) push(t *testing.T, ref, like string) {
	t.Helper()
	if err := b.Registry.Push(t.Context(), ref, b.Registry.Image(like)); err != nil {
		t.Fatal(err)
	}
}

// image returns an image, or nil if it does not exist.
func (b bench) image(t *testing.T, ref string) *runtimeapi.Image {
	t.Helper()
	answer, err := b.ImageStatus(t.Context(), &runtimeapi.ImageStatusRequest{Image: &runtimeapi.ImageSpec{Image: ref}})
	if err != nil {
		t.Fatal(err)
	}
	return answer.Image
}

func (b bench) pod(t *testing.T) (string, *runtimeapi.PodSandboxConfig) {
	t.Helper()
	config := b.PodConfig("images")
	harness.OnHostNetwork(config)
	return b.Pod(t, config), config
}

// run runs a container that sleeps.
func (b bench) run(t *testing.T, pod string, config *runtimeapi.PodSandboxConfig, name, image string) string {
	t.Helper()
	c := harness.ContainerConfig(config, name, image, "sleep", "1000")
	c.Linux.SecurityContext.NamespaceOptions = config.Linux.SecurityContext.NamespaceOptions
	id, err := b.Run(t.Context(), pod, config, c)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// checkImageOf checks that a container reports this image: its ID in ListContainers, and in
// ContainerStatus its digest, or its ID if the image was removed.
func (b bench) checkImageOf(t *testing.T, container, want, digest string) {
	t.Helper()
	answer, err := b.ContainerStatus(t.Context(), &runtimeapi.ContainerStatusRequest{ContainerId: container})
	if err != nil {
		t.Fatal(err)
	}
	list, err := b.ListContainers(t.Context(), &runtimeapi.ListContainersRequest{Filter: &runtimeapi.ContainerFilter{Id: container}})
	if err != nil || len(list.Containers) != 1 {
		t.Fatalf("ListContainers: %v, %v", list, err)
	}
	for field, got := range map[string]string{
		"ContainerStatus.image_id": answer.Status.ImageId,
		"Container.image_id":       list.Containers[0].ImageId,
		"Container.image_ref":      list.Containers[0].ImageRef,
	} {
		if got != want {
			t.Errorf("%s is %q, want %q", field, got, want)
		}
	}
	if got := answer.Status.ImageRef; got != digest {
		t.Errorf("ContainerStatus.image_ref is %q, want %q", got, digest)
	}
}

func oneImage(t *testing.T, b bench) {
	id := b.pull(t, image.Busybox)
	found := b.image(t, image.Busybox)
	digests := found.GetRepoDigests()
	if found.GetId() != id || len(digests) != 1 || !cmp.Equal(found.RepoTags, []string{image.Busybox}) {
		t.Fatalf("ImageStatus: %v, want ID %s", found, id)
	}
	pod, config := b.pod(t)
	for i, ref := range []string{image.Busybox, digests[0], id, strings.TrimPrefix(id, "sha256:")[:12]} {
		b.checkImageOf(t, b.run(t, pod, config, fmt.Sprint("c", i), ref), id, digests[0])
	}
	again := b.pull(t, digests[0])
	if again != id {
		t.Errorf("pull by digest: %s, want %s", again, id)
	}
}

func movedTag(t *testing.T, b bench) {
	b.push(t, moving, image.Busybox)
	first := b.pull(t, moving)
	pod, config := b.pod(t)
	before := b.run(t, pod, config, "before", moving)
	b.push(t, moving, image.Httpd)
	old := b.image(t, first).GetRepoDigests()
	second := b.pull(t, moving)
	if first == second {
		t.Fatal("the tag has not moved")
	}
	b.checkImageOf(t, before, first, old[0])
	b.checkImageOf(t, b.run(t, pod, config, "after", moving), second, b.image(t, second).GetRepoDigests()[0])
	if left := b.image(t, first); len(left.GetRepoTags()) != 0 || !slices.Equal(left.GetRepoDigests(), old) {
		t.Errorf("the first image: %v, want it without a tag and with its digest", left)
	}
}

func lists(t *testing.T, b bench) {
	busybox, httpd := b.pull(t, image.Busybox), b.pull(t, image.Httpd)
	digest := b.image(t, image.Busybox).RepoDigests[0]
	for ref, want := range map[string][]string{
		"":                             {busybox, httpd},
		image.Busybox:                  {busybox},
		digest:                         {busybox},
		busybox:                        {busybox},
		"httpd":                        {httpd},
		"docker.io/library/absent:1":   nil,
		"sha256:" + "0123456789abcdef": nil,
	} {
		filter := &runtimeapi.ImageFilter{Image: &runtimeapi.ImageSpec{Image: ref}}
		answer, err := b.ListImages(t.Context(), &runtimeapi.ListImagesRequest{Filter: filter})
		if err != nil {
			t.Fatalf("list %q: %v", ref, err)
		}
		ids := map[string]bool{}
		for _, img := range answer.Images {
			ids[img.Id] = true
		}
		for _, id := range want {
			if !ids[id] {
				t.Errorf("list %q lacks %s", ref, id)
			}
		}
		if ref != "" && len(ids) != len(want) {
			t.Errorf("list %q: got %v, want %v", ref, ids, want)
		}
		if diff := cmp.Diff(answer.Images, b.stream(t, filter), protocmp.Transform()); diff != "" {
			t.Errorf("stream of %q differs from the list (-list +stream):\n%s", ref, diff)
		}
	}
}

// stream reads a streamed list of images to its end.
func (b bench) stream(t *testing.T, filter *runtimeapi.ImageFilter) []*runtimeapi.Image {
	t.Helper()
	stream, err := b.StreamImages(t.Context(), &runtimeapi.StreamImagesRequest{Filter: filter})
	if err != nil {
		t.Fatal(err)
	}
	var all []*runtimeapi.Image
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, answer.Images...)
	}
}

// removedImage removes an image by each kind of reference while a container runs from it.
func removedImage(t *testing.T, b bench) {
	id := b.pull(t, image.Busybox)
	digest := b.image(t, image.Busybox).RepoDigests[0]
	pod, config := b.pod(t)
	container := b.run(t, pod, config, "main", image.Busybox)
	for _, ref := range []string{image.Busybox, digest, id} {
		b.remove(t, ref)
		b.remove(t, ref) // already removed: no error
		if left := b.image(t, id); left != nil {
			t.Errorf("after the removal of %s: %v", ref, left)
		}
		b.checkImageOf(t, container, id, id)
		answer, err := b.ExecSync(t.Context(), &runtimeapi.ExecSyncRequest{ContainerId: container, Cmd: []string{"cat", "/bin/busybox"}})
		if err != nil || len(answer.Stdout) == 0 {
			t.Errorf("a file of the image: %d bytes, %v", len(answer.GetStdout()), err)
		}
		b.pull(t, image.Busybox)
		b.checkImageOf(t, container, id, digest)
	}
}

// kubeletErrors checks the code and the prefix of the message: the kubelet derives its reasons from
// both.
func kubeletErrors(t *testing.T, b bench) {
	certs := b.Path("certs.d", "gone.test")
	if err := os.MkdirAll(certs, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(certs, "hosts.toml"), []byte("server = \"http://127.0.0.1:1\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	b.verify(t, `case "$*" in *unsigned*) echo "not signed by us"; exit 1;; esac`)
	const unsigned = "docker.io/library/unsigned:latest"
	b.push(t, unsigned, image.Busybox)
	for ref, want := range map[string]error{
		"gone.test/app:latest": crierrors.ErrRegistryUnavailable,
		"docker.io/faulty/" + harness.FaultBroken + "/nginx:latest": crierrors.ErrRegistryUnavailable,
		unsigned: crierrors.ErrSignatureValidationFailed,
	} {
		err := b.Pull(t.Context(), ref)
		s := status.Convert(err)
		if s.Code() != codes.Unknown || !strings.HasPrefix(s.Message(), want.Error()+": ") {
			t.Errorf("pull of %s: %v, want %v", ref, err, want)
		}
		if b.image(t, ref) != nil {
			t.Errorf("%s exists", ref)
		}
	}
	b.pull(t, image.Busybox) // accepted by the verifier
}

// verify installs a shell script as containerd's image verifier until the test ends.
func (b bench) verify(t *testing.T, script string) {
	t.Helper()
	if err := os.MkdirAll(b.VerifierDir(), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(b.VerifierDir()) })
	if err := os.WriteFile(filepath.Join(b.VerifierDir(), "policy"), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
}

func unknownHandler(t *testing.T, b bench) {
	_, err := b.PullImage(t.Context(), &runtimeapi.PullImageRequest{Image: &runtimeapi.ImageSpec{Image: image.Busybox, RuntimeHandler: "absent"}})
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("pull for an unknown handler: %v", err)
	}
}
