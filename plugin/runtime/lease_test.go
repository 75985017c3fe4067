// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// collect runs the garbage collection and returns the keys of the remaining snapshots.
func collect(ctx context.Context, t *testing.T, c *Client, db *metadata.DB) []string {
	t.Helper()
	if _, err := db.GarbageCollect(ctx); err != nil {
		t.Fatal(err)
	}
	var keys []string
	err := c.containerd.SnapshotService("native").Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		keys = append(keys, info.Name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

func prepare(ctx context.Context, t *testing.T, c *Client, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if _, err := c.PrepareSnapshot(ctx, Snapshot{Key: key, Snapshotter: "native"}); err != nil {
			t.Fatal(err)
		}
	}
}

// A container keeps its own snapshot and those in Keeps. Others are collected after the next start
// of the daemon.
func TestContainerKeepsSnapshots(t *testing.T) {
	c, db, ctx := newMetadata(t)
	prepare(ctx, t, c, "c1", "c1-image-0", "c1-image-1", "stray")
	err := c.CreateContainer(ctx, Container{
		ID: "c1", Labels: map[string]string{"app": "web"}, Runtime: "io.containerd.lite.v2", Snapshotter: "native",
		Keeps: []string{"c1-image-0", "c1-image-1"}, Spec: &specs.Spec{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c1", "c1-image-0", "c1-image-1", "stray"}, collect(ctx, t, c, db)); diff != "" {
		t.Errorf("snapshots of this daemon (-want +got):\n%s", diff)
	}
	if err := c.RenewLease(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"c1", "c1-image-0", "c1-image-1"}, collect(ctx, t, c, db)); diff != "" {
		t.Errorf("snapshots of a container (-want +got):\n%s", diff)
	}
	if err := c.DeleteContainer(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	if left := collect(ctx, t, c, db); len(left) != 0 {
		t.Errorf("snapshots without a container: %v", left)
	}
}

// A container that the built-in CRI removes, which does not know the lease, keeps no snapshot.
func TestRemovalByTheBuiltInCRI(t *testing.T) {
	c, db, ctx := newMetadata(t)
	prepare(ctx, t, c, "c1", "c1-image-0")
	err := c.CreateContainer(ctx, Container{
		ID: "c1", Runtime: "io.containerd.lite.v2", Snapshotter: "native", Keeps: []string{"c1-image-0"}, Spec: &specs.Spec{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.containerd.SnapshotService("native").Remove(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	if err := c.containerd.ContainerService().Delete(ctx, "c1"); err != nil {
		t.Fatal(err)
	}
	if left := collect(ctx, t, c, db); len(left) != 0 {
		t.Errorf("snapshots without a container: %v", left)
	}
}

// A removed snapshot is removed from the lease, too, which exists as long as the daemon runs.
func TestLeaseDoesNotGrow(t *testing.T) {
	c, _, ctx := newMetadata(t)
	prepare(ctx, t, c, "kept", "removed")
	if err := c.RemoveSnapshot(ctx, "native", "removed"); err != nil {
		t.Fatal(err)
	}
	resources, err := c.containerd.LeasesService().ListResources(ctx, leases.Lease{ID: snapshotLease})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]leases.Resource{{ID: "kept", Type: "snapshots/native"}}, resources); diff != "" {
		t.Errorf("resources of the lease (-want +got):\n%s", diff)
	}
}

// PrepareSnapshot recreates the lease if another program deleted it.
func TestLeaseIsRecreated(t *testing.T) {
	c, _, ctx := newMetadata(t)
	if err := c.RenewLease(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.containerd.LeasesService().Delete(ctx, leases.Lease{ID: snapshotLease}); err != nil {
		t.Fatal(err)
	}
	prepare(ctx, t, c, "c1")
	_, err := c.PrepareSnapshot(ctx, Snapshot{Key: "c2", Snapshotter: "native", Parent: "sha256:absent"})
	if !errdefs.IsNotFound(err) {
		t.Errorf("snapshot of an absent parent: %v, want NotFound", err)
	}
}

// RenewLease does not affect other leases.
func TestRenewLease(t *testing.T) {
	c, db, ctx := newMetadata(t)
	prepare(ctx, t, c, "lost")
	if _, err := c.containerd.LeasesService().Create(ctx, leases.WithID("others")); err != nil {
		t.Fatal(err)
	}
	_, err := c.containerd.SnapshotService("native").Prepare(leases.WithLease(ctx, "others"), "others", "")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"lost", "others"}, collect(ctx, t, c, db)); diff != "" {
		t.Errorf("snapshots with leases (-want +got):\n%s", diff)
	}
	if err := c.RenewLease(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"others"}, collect(ctx, t, c, db)); diff != "" {
		t.Errorf("snapshots after RenewLease (-want +got):\n%s", diff)
	}
}
