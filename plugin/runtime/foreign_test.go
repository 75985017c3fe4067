// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/typeurl/v2"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"
)

// FindForeign finds pods saved by containerd 2 and 1.7, and ignores ours.
func TestFindForeign(t *testing.T) {
	c, ctx := newClient(t)
	sandboxes, saved := c.containerd.SandboxStore(), c.containerd.ContainerService()
	named := func(name string, kind Kind) map[string]string {
		return map[string]string{"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": "default", kindLabel: string(kind)}
	}
	record := typeurl.Any(&anypb.Any{TypeUrl: "test", Value: []byte("{}")})
	extension := func(name string) map[string]typeurl.Any { return map[string]typeurl.Any{name: record} }
	if _, err := sandboxes.Create(ctx, sandbox.Sandbox{ID: "new", Sandboxer: "podsandbox", Extensions: extension("io.cri-containerd.sandbox.metadata")}); err != nil {
		t.Fatal(err)
	}
	for id, info := range map[string]containers.Container{
		"new": {Labels: named("web", KindPod), Extensions: extension("io.cri-containerd.sandbox.metadata")},
		"old": {Labels: map[string]string{kindLabel: "sandbox"}, Extensions: extension("io.cri-containerd.sandbox.metadata")},
		"c1":  {Labels: named("web", KindContainer), Extensions: extension("io.cri-containerd.container.metadata")},
		"c2":  {Labels: named("web", KindContainer), Extensions: extension("io.cri-containerd.container.metadata")},
		"ctr": {Labels: map[string]string{}},
	} {
		info.ID, info.Spec, info.Runtime = id, record, containers.RuntimeInfo{Name: "r"}
		if _, err := saved.Create(ctx, info); err != nil {
			t.Fatal(err)
		}
	}
	ours := Container{Kind: KindContainer, Labels: named("ours", ""), Runtime: "r", Spec: &specs.Spec{}, Record: note{}}
	for id, kind := range map[string]Kind{"our-pod": KindPod, "our-container": KindContainer} {
		ours.ID, ours.Kind = id, kind
		if err := c.CreateContainer(ctx, ours); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.CreateSandbox(ctx, Sandbox{ID: "our-pod", Labels: named("ours", ""), Record: note{}}); err != nil {
		t.Fatal(err)
	}
	got, err := FindForeign(ctx, sandboxes, saved)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Foreign{Pods: []string{"default/web", "old"}, Containers: 2}, got); diff != "" {
		t.Errorf("foreign pods (-want +got):\n%s", diff)
	}
}
