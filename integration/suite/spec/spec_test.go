// SPDX-License-Identifier: Apache-2.0

// Package spec compares the results of a CRI request in containerd-lite and in containerd's
// built-in CRI: the OCI spec and the status of the container, the files of its pod, the names and
// parameters of the pod's namespaces. Both daemons get the same pods and containers, one daemon
// after the other, with the same images.
//
// The cases are data, one file for each group of fields. The intended differences are data, too,
// with their reasons: known_test.go. The test fails for an unlisted difference, and for a listed
// one that no longer exists.
package spec

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"testing"

	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// podCase is a pod and the containers that are created in it.
type podCase struct {
	name       string
	handler    string // default: the default handler of each daemon
	change     func(*runtimeapi.PodSandboxConfig)
	containers []containerCase
}

// containerCase is a container that is created in a pod. It is started only if it must run.
type containerCase struct {
	name   string
	image  string // default: busybox
	change func(*runtimeapi.ContainerConfig)
	runs   bool
	target string // name of the container whose PID namespace it shares
}

// refused is the path of the only leaf of a pod or container that a daemon refuses: the code of its
// answer.
const refused = "refused"

func groups(f fixture) []podCase {
	return slices.Concat(processCases(), securityCases(f), namespaceCases(), resourceCases(), mountCases(f), deviceCases(f), podCases())
}

func TestSpecs(t *testing.T) {
	f := newFixture(t)
	cases := groups(f)
	results := map[string]map[string]leaves{}
	for _, daemon := range []string{harness.Stock, harness.Lite} {
		t.Run(daemon, func(t *testing.T) { results[daemon] = collect(t, daemon, f, cases) })
	}
	if len(results[harness.Stock]) == 0 {
		t.Skip("nothing to compare; see the reason above")
	}
	compare(t, results[harness.Stock], results[harness.Lite])
	t.Logf("%d containers in %d pods compared", len(results[harness.Lite]), len(cases))
}

// collect runs every case on one daemon and returns the results by the name of the case.
func collect(t *testing.T, daemon string, f fixture, cases []podCase) map[string]leaves {
	t.Helper()
	b := newBench(t, harness.Options{Daemon: daemon}, f)
	found := map[string]leaves{}
	for _, c := range cases {
		maps.Copy(found, b.pod(t, c))
	}
	return found
}

// pod creates a pod and its containers, reads them back and removes them.
func (b bench) pod(t *testing.T, c podCase) map[string]leaves {
	t.Helper()
	ctx := t.Context()
	config := b.PodConfig("spec")
	if c.change != nil {
		c.change(config)
	}
	answer, err := b.RunPodSandbox(ctx, &runtimeapi.RunPodSandboxRequest{Config: config, RuntimeHandler: c.handler})
	if err != nil {
		t.Logf("%s: %v", c.name, err)
		return map[string]leaves{c.name: {refused: status.Code(err).String()}}
	}
	pod := answer.PodSandboxId
	defer func() {
		if err := b.RemovePod(harness.After(t), pod); err != nil {
			t.Errorf("%s: remove pod: %v", c.name, err)
		}
	}()
	found := map[string]leaves{}
	if found[c.name], err = b.lookAtPod(ctx, pod); err != nil {
		t.Errorf("%s: %v", c.name, err)
	}
	ids := map[string]string{}
	for _, container := range c.containers {
		id, err := b.create(ctx, pod, config, container, ids[container.target])
		name := c.name + "/" + container.name
		if err != nil {
			found[name] = leaves{refused: status.Code(err).String()}
			t.Logf("%s: %v", name, err)
			continue
		}
		ids[container.name] = id
		if found[name], err = b.look(ctx, pod, id); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	return found
}

func (b bench) create(ctx context.Context, pod string, podConfig *runtimeapi.PodSandboxConfig, c containerCase, target string) (string, error) {
	config := harness.ContainerConfig(podConfig, c.name, cmp.Or(c.image, image.Busybox))
	sc := config.Linux.SecurityContext
	// As with the kubelet, a container has the namespace options of its pod and its lists of masked
	// and read-only paths.
	if modes := podConfig.GetLinux().GetSecurityContext().GetNamespaceOptions(); modes != nil {
		sc.NamespaceOptions = proto.CloneOf(modes)
	}
	sc.NamespaceOptions.TargetId = target
	sc.MaskedPaths, sc.ReadonlyPaths = []string{"/proc/kcore", "/proc/keys", "/sys/firmware"}, []string{"/proc/bus", "/proc/sys"}
	if c.change != nil {
		c.change(config)
	}
	if c.runs {
		return b.Run(ctx, pod, podConfig, config)
	}
	answer, err := b.CreateContainer(ctx, &runtimeapi.CreateContainerRequest{PodSandboxId: pod, Config: config, SandboxConfig: podConfig})
	return answer.GetContainerId(), err
}
