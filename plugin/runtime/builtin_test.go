// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/typeurl/v2"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"
)

// TestBuiltInCRI checks that pods of containerd 2 and 1.7 are found, and containers, but not ours,
// and none that is saved as ours, too.
func TestBuiltInCRI(t *testing.T) {
	c, ctx := newClient(t)
	stock := NewBuiltInCRI(c.containerd)
	record := typeurl.Any(&anypb.Any{TypeUrl: "test", Value: []byte("{}")})
	extensions := func(names ...string) map[string]typeurl.Any {
		all := map[string]typeurl.Any{}
		for _, name := range names {
			all[name] = record
		}
		return all
	}
	for id, s := range map[string]sandbox.Sandbox{
		"new":       {Sandboxer: "podsandbox", Extensions: extensions("metadata")},
		"shim":      {Sandboxer: "shim", Extensions: extensions("metadata")},
		"saved":     {Sandboxer: "podsandbox", Extensions: extensions("metadata", recordExtension)},
		"no-record": {Sandboxer: "podsandbox"},
	} {
		s.ID = id
		if _, err := stock.Sandboxes.Create(ctx, s); err != nil {
			t.Fatal(err)
		}
	}
	kind := func(k Kind) map[string]string { return map[string]string{kindLabel: string(k)} }
	for id, info := range map[string]containers.Container{
		"new":   {Labels: kind(KindPod), Extensions: extensions("io.cri-containerd.sandbox.metadata")},
		"old":   {Labels: kind(KindPod), Extensions: extensions("io.cri-containerd.sandbox.metadata")},
		"c1":    {Labels: kind(KindContainer), Extensions: extensions("io.cri-containerd.container.metadata")},
		"c2":    {Labels: kind(KindContainer), Extensions: extensions("io.cri-containerd.container.metadata", recordExtension)},
		"other": {Labels: kind(KindContainer)},
		"ctr":   {Labels: map[string]string{}},
	} {
		info.ID, info.Spec, info.Runtime = id, record, containers.RuntimeInfo{Name: "r"}
		if _, err := stock.Containers.Create(ctx, info); err != nil {
			t.Fatal(err)
		}
	}
	ours := Container{ID: "our-pod", Kind: KindPod, Runtime: "r", Spec: &specs.Spec{}}
	if err := c.CreateContainer(ctx, ours); err != nil {
		t.Fatal(err)
	}
	for kind, want := range map[Kind][]string{KindPod: {"new", "old", "shim"}, KindContainer: {"c1"}} {
		list, err := stock.List(ctx, kind)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range list {
			got = append(got, s.ID)
			if string(s.Metadata) != "{}" || s.Sandboxer == "" && s.Runtime != "r" {
				t.Errorf("%s: %+v", s.ID, s)
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", kind, diff)
		}
	}
}

func TestDeleteLease(t *testing.T) {
	c, ctx := newClient(t)
	stock := NewBuiltInCRI(c.containerd)
	if _, err := stock.Leases.Create(ctx, leases.WithID("p1")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := stock.DeleteLease(ctx, "p1"); err != nil {
			t.Error(err)
		}
	}
	if list, err := stock.Leases.List(ctx); err != nil || len(list) != 0 {
		t.Errorf("leases %v, %v", list, err)
	}
}

// TestKeepMetadata checks that a pod of containerd 1.6, which has no sandbox, and its updated
// resources are found without the container of the pause process.
func TestKeepMetadata(t *testing.T) {
	c, ctx := newClient(t)
	stock := NewBuiltInCRI(c.containerd)
	metadata := &anypb.Any{TypeUrl: "test", Value: []byte("{}")}
	_, err := stock.Containers.Create(ctx, containers.Container{
		ID: "p1", Labels: map[string]string{kindLabel: string(KindPod)}, Spec: metadata, Runtime: containers.RuntimeInfo{Name: "r"},
		Extensions: map[string]typeurl.Any{"io.cri-containerd.sandbox.metadata": metadata},
	})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := stock.SaveResources(ctx, "p1", []byte("r")); err != nil {
			t.Fatal(err)
		}
	}
	if err := stock.Containers.Delete(ctx, "p1"); err != nil {
		t.Fatal(err)
	}
	if err := stock.KeepMetadata(ctx, "absent"); err != nil {
		t.Error(err)
	}
	list, err := stock.List(ctx, KindPod)
	if err != nil || len(list) != 1 {
		t.Fatalf("%+v, %v", list, err)
	}
	if s := list[0]; s.ID != "p1" || string(s.Metadata) != "{}" || string(s.Resources) != "r" || s.Sandboxer != PodSandboxer || s.Runtime != "r" {
		t.Errorf("%+v", s)
	}
}
