// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/runtime/restart"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// hostile returns labels of an image that containerd would act on, and a harmless one.
func hostile() map[string]string {
	return map[string]string{
		restart.StatusLabel:              "running",
		restart.LogURILabel:              "binary:///bin/sh?-c=id",
		"containerd.io/gc.root":          "1",
		"io.cri-containerd.kind":         "sandbox",
		"io.containerd.runc.v2.group":    "another",
		"io.kubernetes.cri.sandbox-name": "another",
		"app":                            "web",
	}
}

func TestReservedLabelsAreDropped(t *testing.T) {
	c, ctx := newClient(t)
	if err := c.CreateSandbox(ctx, Sandbox{ID: "pod", Labels: hostile(), Record: note{}}); err != nil {
		t.Fatal(err)
	}
	s, err := c.containerd.SandboxStore().Get(ctx, "pod")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{kindLabel: "sandbox", "app": "web"}, s.Labels); diff != "" {
		t.Errorf("sandbox (-want +got):\n%s", diff)
	}
	ctr := Container{ID: "c1", Kind: KindContainer, Labels: hostile(), Keeps: []string{"c1-0"}, Snapshotter: "native", Runtime: "r", Spec: &specs.Spec{}}
	if err := c.CreateContainer(ctx, ctr); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{kindLabel: "container", "app": "web", "containerd.io/gc.ref.snapshot.native/0": "c1-0"}
	if diff := cmp.Diff(want, labelsOf(ctx, t, c, "c1")); diff != "" {
		t.Errorf("container (-want +got):\n%s", diff)
	}
}

func TestDropRestartLabels(t *testing.T) {
	c, ctx := newClient(t)
	for id, kind := range map[string]string{"c1": "container", "pod": "sandbox", "of-ctr": ""} {
		info := containers.Container{ID: id, Labels: hostile(), Spec: saved("{}"), Runtime: containers.RuntimeInfo{Name: "r"}}
		info.Labels[kindLabel] = kind
		if _, err := c.containerd.ContainerService().Create(ctx, info); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := DropRestartLabels(ctx, c.containerd.ContainerService()); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]bool{"c1": false, "pod": false, "of-ctr": true} {
		labels := labelsOf(ctx, t, c, id)
		if _, found := labels[restart.StatusLabel]; found != want {
			t.Errorf("%s has a restart label: %v", id, found)
		}
		if labels["app"] != "web" || labels["containerd.io/gc.root"] != "1" {
			t.Errorf("%s lost other labels: %v", id, labels)
		}
	}
}

func labelsOf(ctx context.Context, t *testing.T, c *Client, id string) map[string]string {
	t.Helper()
	info, err := c.containerd.ContainerService().Get(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	return info.Labels
}
