// SPDX-License-Identifier: Apache-2.0

package security

import (
	"context"
	"fmt"
	"maps"
	"os"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/evilimg"
	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
)

// reservedNames are the prefixes of the labels that containerd, its shims and its clients act on.
var reservedNames = [...]string{"containerd.io/", "io.containerd.", "io.cri-containerd.", "io.kubernetes.cri.", "nerdctl/"}

// kindLabel is set by the CRI, which recognizes its pods and containers by it.
const kindLabel = "io.cri-containerd.kind"

// hostileLabels returns labels with which containerd would run a command of the image on the host,
// or create or delete resources.
func hostileLabels(proof string) map[string]string {
	return map[string]string{
		"containerd.io/restart.status":              "running",
		"containerd.io/restart.loguri":              "binary:///bin/sh?-c=id%3E" + proof,
		"containerd.io/restart.policy":              "always",
		"containerd.io/restart.explicitly-stopped":  "false",
		"containerd.io/gc.root":                     "2020-01-01T00:00:00Z",
		"containerd.io/gc.ref.content.0":            "sha256:" + strings.Repeat("0", 64),
		"containerd.io/snapshot.ref":                "victim",
		"io.containerd.runc.v2.group":               "victim",
		"io.cri-containerd.kind":                    "sandbox",
		"io.cri-containerd.image":                   "managed",
		"io.kubernetes.cri.container-type":          "sandbox",
		"nerdctl/oci-hook":                          "/bin/sh",
		"org.opencontainers.image.title":            "an honest label",
		"evil.test/" + strings.Repeat("long", 30):   "an honest label of a long name",
		"evil.test/control":                         "line\nline\x00end",
		"evil.test/large":                           strings.Repeat("x", 1<<20),
		"io.cri-containerd.kind\n":                  "sandbox",
		" containerd.io/restart.status":             "running",
		"CONTAINERD.IO/restart.status":              "running",
		"containerd.io/restart.status\x00":          "running",
		"containerd.io/distribution.source." + host: "library/victim",
		"containerd.io/namespace.shareable":         "true",
		"containerd.io/snapshot/overlay.upperdir":   "/",
		"io.containerd.sandbox.metadata.version":    "2",
		"io.containerd.image.stored":                "true",
		"io.kubernetes.cri.sandbox-id":              "victim",
		"containerd.io/uncompressed":                "sha256:" + strings.Repeat("1", 64),
		"containerd.io/restart.max-retries":         "1000",
		"containerd.io/restart.count":               "0",
		"io.containerd.cri.runtime-handler":         "absent",
		"containerd.io/snapshot/remote":             "true",
		"containerd.io/gc.expire":                   "2020-01-01T00:00:00Z",
		"containerd.io/gc.ref.snapshot.overlayfs":   "victim",
		"containerd.io/gc.bref.container":           "victim",
		"io.containerd.ext/unknown":                 "true",
		"containerd.io/restart.loguri.copy":         "file:///" + proof,
		"io.cri-containerd.kind.copy":               "container",
		"containerd.io/snapshot/cri.image-ref":      "evil.test/victim:latest",
		"containerd.io/snapshot/gidmapping":         "0:1000:1",
	}
}

// c21 passes labels of images and requests to containerd in every possible way.
func c21(a *attack) {
	proof := a.Path("proof-of-c21")
	img := a.with()
	img.Config = ocispec.ImageConfig{Cmd: []string{"true"}, Labels: hostileLabels(proof)}
	archive := a.archive("docker.io/library/c21-imported:latest", img)
	checkpoint := a.archive("docker.io/library/c21-checkpoint:latest", img,
		evilimg.File("config.dump", `{"rootfsImageName":"docker.io/library/busybox:latest"}`, 0o600), evilimg.File("spec.dump", "{}", 0o600))
	images := []string{a.image(img), archive, checkpoint}

	p := a.pod(quick, func(c *podConfig) {
		maps.Copy(c.Labels, requestLabels(proof))
		c.Annotations = requestLabels(proof)
	})
	var containers []string
	for _, ref := range images {
		c := p.container(ref, "", func(c *containerConfig) {
			c.Annotations = requestLabels(proof)
			maps.Copy(c.Labels, requestLabels(proof))
		})
		containers = append(containers, p.start(c))
	}
	for _, id := range containers {
		if _, err := a.AwaitState(a.ctx, id, runtimeapi.ContainerState_CONTAINER_EXITED); err != nil {
			a.Fatal(err)
		}
	}
	a.wantNoReserved(p, containers)
	a.awaitMonitor()
	defer a.unlabel(append(containers, p.id))
	if _, err := os.Lstat(proof); err == nil {
		a.Errorf("a command of the attacker ran on the host and created %s", proof)
		os.Remove(proof)
	}
	for _, id := range containers {
		a.stillExited(id)
	}
}

// requestLabels returns the labels that a request may have: their values are within the limits.
func requestLabels(proof string) map[string]string {
	labels := hostileLabels(proof)
	maps.DeleteFunc(labels, func(key, value string) bool {
		return len(key)+len(value) > 4000 || strings.ContainsAny(key+value, "\x00\n")
	})
	return labels
}

// archive imports an image with `ctr images import` and returns its name.
func (a *attack) archive(name string, img evilimg.Image, more ...evilimg.Entry) string {
	a.Helper()
	file := a.Path(a.repository() + ".tar")
	if err := os.WriteFile(file, evilimg.Layout(name, img, more...), 0o600); err != nil {
		a.Fatal(err)
	}
	if _, err := harness.Output(a.Ctr(a.ctx, "-n", harness.Namespace, "images", "import", file)); err != nil {
		a.Fatalf("import: %v", err)
	}
	return name
}

// wantNoReserved fails the attack for a reserved label or annotation that has a value of the
// attacker.
func (a *attack) wantNoReserved(p pod, containers []string) {
	a.Helper()
	hostile := hostileLabels(a.Path("proof-of-c21"))
	for _, id := range containers {
		labels, spec := a.stored(id)
		for _, found := range []map[string]string{labels, spec.Annotations} {
			for key, value := range found {
				if reserved(key) && hostile[key] == value {
					a.Errorf("container %s has %s=%.80q of the attacker", id, key, value)
				}
			}
		}
	}
	a.containerd(func(ctx context.Context, client *containerd.Client) error {
		sandbox, err := client.SandboxStore().Get(ctx, p.id)
		for key, value := range sandbox.Labels {
			if reserved(key) && hostile[key] == value && !strings.HasPrefix(key, kindLabel) {
				a.Errorf("the sandbox has %s=%.80q of the attacker", key, value)
			}
		}
		return err
	})
}

func reserved(key string) bool {
	for _, name := range reservedNames {
		if strings.HasPrefix(key, name) {
			return true
		}
	}
	return false
}

// awaitMonitor waits until containerd's restart monitor has checked all containers: the monitor
// starts a container that the bench labels in another namespace, and stops it in a later pass.
func (a *attack) awaitMonitor() {
	a.Helper()
	const namespace, id, name = "bench-c21", "monitored", "docker.io/library/monitored:latest"
	ctr := func(ctx context.Context, args ...string) string {
		a.Helper()
		out, err := harness.Output(a.Ctr(ctx, append([]string{"-n", namespace}, args...)...))
		if err != nil {
			a.Errorf("ctr %v: %v", args, err)
		}
		return out
	}
	await := func(ctx context.Context, running bool) {
		if err := harness.Await(ctx, func() error {
			if strings.Contains(ctr(ctx, "tasks", "ls"), "RUNNING") != running {
				return fmt.Errorf("want a running task: %v", running)
			}
			return nil
		}); err != nil {
			a.Errorf("the restart monitor does not work: %v", err)
		}
	}
	archive := a.Path("monitored.tar")
	if err := os.WriteFile(archive, evilimg.Layout(name, a.with()), 0o600); err != nil {
		a.Fatal(err)
	}
	ctr(a.ctx, "images", "import", archive)
	ctr(a.ctx, "containers", "create", "--label", "containerd.io/restart.status=running", name, id, "sleep", "1000")
	await(a.ctx, true)
	after := harness.After(a.T)
	ctr(after, "containers", "label", id, "containerd.io/restart.status=stopped")
	await(after, false)
	ctr(after, "containers", "rm", id)
	ctr(after, "images", "rm", "--sync", name)
}

// unlabel removes the restart monitor's label from containers, so that the containers of a
// daemon that fails the attack can be removed.
func (a *attack) unlabel(ids []string) {
	for _, id := range ids {
		// A pod of containerd-lite has no container: the error is ignored.
		_ = a.Ctr(harness.After(a.T), "-n", harness.Namespace, "containers", "label", id, "containerd.io/restart.status=").Run()
	}
}

func (a *attack) stillExited(id string) {
	a.Helper()
	answer, err := a.ContainerStatus(a.ctx, &runtimeapi.ContainerStatusRequest{ContainerId: id})
	if err != nil || answer.Status.State != runtimeapi.ContainerState_CONTAINER_EXITED {
		a.Errorf("container %s is %s, %v; want exited", id, answer.GetStatus().GetState(), err)
	}
	if pids, err := a.Processes("sh"); err != nil || len(pids) > 0 {
		a.Errorf("processes %v of the attacker, %v", pids, err)
	}
}
