// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"testing"

	runcoptions "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/testing/protocmp"
)

func TestInspect(t *testing.T) {
	c, ctx := newClient(t)
	i := Inspector{Containers: c.containerd.ContainerService(), Sandboxes: c.containerd.SandboxStore()}
	want := Container{
		ID: "c1", Image: "docker.io/library/app:1", Runtime: "io.containerd.lite.v2", Options: &runcoptions.Options{SystemdCgroup: true},
		Snapshotter: "native", Sandbox: "p1", Spec: &specs.Spec{Version: "1.3.0"},
	}
	created := want
	created.Kind, created.Record = KindContainer, note{"made"}
	if err := c.CreateContainer(ctx, created); err != nil {
		t.Fatal(err)
	}
	got, err := i.Inspect(ctx, "c1")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("container (-want +got):\n%s", diff)
	}
	if err := c.CreateContainer(ctx, Container{ID: "p1", Kind: KindPod, Runtime: "io.containerd.lite.v2", Spec: want.Spec}); err != nil {
		t.Fatal(err)
	}
	if pod, err := i.Inspect(ctx, "p1"); err != nil || pod.Options != nil || pod.Snapshotter != "" {
		t.Errorf("Inspect of a pod: %+v, %v", pod, err)
	}
	if err := c.CreateSandbox(ctx, Sandbox{ID: "stopped", Runtime: "io.containerd.lite.v2"}); err != nil {
		t.Fatal(err)
	}
	if pod, err := i.Inspect(ctx, "stopped"); err != nil || pod.Runtime != "io.containerd.lite.v2" || pod.Spec != nil {
		t.Errorf("Inspect of a stopped pod: %+v, %v", pod, err)
	}
	if _, err := i.Inspect(ctx, "gone"); !errdefs.IsNotFound(err) {
		t.Errorf("Inspect of an unknown ID: %v, want NotFound", err)
	}
}
