// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"slices"
	"testing"

	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/google/go-cmp/cmp"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// collect collects the garbage and returns the keys of the snapshots that are left.
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

// A container keeps its own snapshot and those it was told to keep, and nothing else does.
func TestContainerKeepsSnapshots(t *testing.T) {
	c, db, ctx := newMetadata(t)
	leased, release, err := c.Lease(ctx)
	if err != nil {
		t.Fatal(err)
	}
	prepare(leased, t, c, "c1", "c1-image-0", "c1-image-1", "stray")
	err = c.CreateContainer(leased, Container{
		ID: "c1", Labels: map[string]string{"app": "web"}, Runtime: "io.containerd.lite.v2", Snapshotter: "native",
		Keeps: []string{"c1-image-0", "c1-image-1"}, Spec: &specs.Spec{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := release(ctx); err != nil {
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

// Leases of a daemon that was killed end with the next one's start; those of others do not.
func TestEndLeases(t *testing.T) {
	c, db, ctx := newMetadata(t)
	lost, _, err := c.Lease(ctx)
	if err != nil {
		t.Fatal(err)
	}
	prepare(lost, t, c, "lost")
	others, err := c.containerd.LeasesService().Create(ctx, leases.WithID("others"))
	if err != nil {
		t.Fatal(err)
	}
	prepare(leases.WithLease(ctx, others.ID), t, c, "others")
	if diff := cmp.Diff([]string{"lost", "others"}, collect(ctx, t, c, db)); diff != "" {
		t.Errorf("snapshots with leases (-want +got):\n%s", diff)
	}
	if err := c.EndLeases(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"others"}, collect(ctx, t, c, db)); diff != "" {
		t.Errorf("snapshots after the leases' end (-want +got):\n%s", diff)
	}
}
