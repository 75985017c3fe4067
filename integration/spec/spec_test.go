// SPDX-License-Identifier: Apache-2.0

// Package spec compares what containerd-lite makes of a CRI request with what containerd's built-in
// CRI makes of it: the OCI spec and the status of the container, the files of its pod, the names
// and parameters of the pod's namespaces. Both daemons get the same pods and containers, one daemon
// after the other, over the same images.
//
// The cases are data, a file for each group of fields. What may differ is data, too, with the
// reason why: known_test.go. A difference that is not listed fails the test, and so does one that
// is listed and gone.
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

	"github.com/containerd-lite/containerd-lite/integration/harness"
	"github.com/containerd-lite/containerd-lite/integration/image"
)

// podCase is a pod and the containers that are made in it.
type podCase struct {
	name       string
	handler    string // default: the default handler of each daemon
	change     func(*runtimeapi.PodSandboxConfig)
	containers []containerCase
}

// containerCase is a container that is created in a pod, but not started unless it must run.
type containerCase struct {
	name   string
	image  string // default: busybox
	change func(*runtimeapi.ContainerConfig)
	runs   bool
	target string // the name of the container whose PID namespace it asks for
}

// refused is the path of the one leaf of a pod or container that a daemon does not make: its
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
		t.Skip("there is nothing to compare, see the reason above")
	}
	compare(t, results[harness.Stock], results[harness.Lite])
	t.Logf("%d containers in %d pods compared", len(results[harness.Lite]), len(cases))
}

// collect makes every case with one daemon and returns what it found, by the name of the case.
func collect(t *testing.T, daemon string, f fixture, cases []podCase) map[string]leaves {
	t.Helper()
	b := newBench(t, daemon, f)
	found := map[string]leaves{}
	for _, c := range cases {
		maps.Copy(found, b.pod(t, c))
	}
	return found
}

// pod makes a pod and its containers, looks at them and removes them.
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
			t.Errorf("%s: remove the pod: %v", c.name, err)
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
	// As with kubelet, a container says the same as its pod, and what of /proc and /sys it may see.
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
