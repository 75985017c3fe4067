// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// imageNames checks that the kubelet publishes the image by its tag and by its repo digest, as with
// the built-in CRI.
func imageNames(t *testing.T, n *node) {
	p := n.run(t, id(t), `containers: [{name: main, command: [sleep, "1000"]}]`)
	digest, err := n.Registry.Image(image.Busybox).Digest()
	if err != nil {
		t.Fatal(err)
	}
	repository, _, _ := strings.Cut(image.Busybox, ":")
	status := container(p.running(), "main")
	if want := repository + "@" + digest.String(); status.ImageID != want || status.Image != image.Busybox {
		t.Errorf("image %q, imageID %q, want %q and %q", status.Image, status.ImageID, image.Busybox, want)
	}
}

// policy is an image verifier that refuses one image.
const policy = `#!/bin/sh
case "$*" in *unsigned*) echo "not signed by us"; exit 1;; esac
`

// refusedImages checks that each container waits with the reason for which its image cannot be
// pulled.
func refusedImages(t *testing.T, n *node) {
	broken := "docker.io/faulty/" + harness.FaultBroken + "/nginx:latest"
	const absent, unsigned = "docker.io/library/absent:latest", "docker.io/library/unsigned:latest"
	for _, ref := range []string{broken, unsigned} {
		if err := n.Registry.Push(t.Context(), ref, n.Registry.Image(image.Nginx)); err != nil {
			t.Fatal(err)
		}
	}
	if err := verify(n.VerifierDir(), n.Path("policy")); err != nil {
		t.Fatal(err)
	}
	p := n.run(t, id(t), fmt.Sprintf(`
containers:
- {name: broken, image: %q}
- {name: unsigned, image: %q}
- {name: absent, image: %q}
`, broken, unsigned, absent))
	want := map[string]string{"broken": "RegistryUnavailable", "unsigned": "SignatureValidationFailed", "absent": "ErrImagePull"}
	if n.Options.Daemon == harness.Stock { // its errors have no reasons for the kubelet
		want["broken"], want["unsigned"] = "ErrImagePull", "ErrImagePull"
	}
	for name, reason := range want {
		now := p.await(func(now *corev1.Pod) error { return waitsFor(now, name, reason) })
		t.Logf("%s: %s", name, container(now, name).State.Waiting.Message)
	}
}

// waitsFor returns an error unless a container waits for a reason. Between two attempts the reason
// is part of the message.
func waitsFor(now *corev1.Pod, name, reason string) error {
	waiting := container(now, name).State.Waiting
	switch {
	case waiting == nil:
		return fmt.Errorf("container %s is not waiting", name)
	case waiting.Reason == reason:
		return nil
	case waiting.Reason == "ImagePullBackOff" && strings.Contains(waiting.Message, ": "+reason+": "):
		return nil
	}
	return fmt.Errorf("container %s waits for %s (%s), want %s", name, waiting.Reason, waiting.Message, reason)
}

// verify installs the policy in containerd's directory of image verifiers with a rename, because
// the verifier is also called for images of other pods.
func verify(dir, file string) error {
	if err := os.WriteFile(file, []byte(policy), 0o755); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	return os.Rename(file, filepath.Join(dir, "policy"))
}
