// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/leases"
	"github.com/containerd/containerd/v2/core/snapshots"
)

func TestSnapshotUsage(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{HandlerSnapshotters: handlers})
	if _, ok := m.SnapshotUsage(defaultSnapshotter, "web"); ok {
		t.Error("usage of a snapshot that does not exist")
	}
	sn := n.db.Snapshotter(defaultSnapshotter)
	lease, err := n.leases.Create(n.ctx, leases.WithRandomID())
	must(t, err)
	ctx := leases.WithLease(n.ctx, lease.ID)
	mounts, err := sn.Prepare(ctx, "web", "")
	must(t, err)
	m.sampler.take(n.ctx)
	before, ok := m.SnapshotUsage(defaultSnapshotter, "web")
	if !ok {
		t.Fatal("no usage")
	}
	must(t, os.WriteFile(filepath.Join(mounts[0].Source, "file"), make([]byte, 1<<20), 0o600))
	m.sampler.take(n.ctx)
	after, _ := m.SnapshotUsage(defaultSnapshotter, "web")
	if after.Bytes < before.Bytes+1<<20 || after.Inodes != before.Inodes+1 || after.At.Before(before.At) {
		t.Errorf("usage before %+v, after a file of 1 MiB %+v", before, after)
	}
	must(t, sn.Remove(ctx, "web"))
	m.sampler.take(n.ctx)
	if usage, ok := m.SnapshotUsage(defaultSnapshotter, "web"); ok {
		t.Errorf("usage of a removed snapshot: %+v", usage)
	}
	if got := m.SnapshotsRoot(defaultSnapshotter); got != filepath.Join(n.dir, defaultSnapshotter) {
		t.Errorf("root is %q", got)
	}
}

func TestCommittedSnapshotsAreMeasuredOnce(t *testing.T) {
	n := newNode(t)
	counter := &countingSnapshotter{Snapshotter: n.db.Snapshotter(defaultSnapshotter)}
	n.deps.Snapshotter = func(string) snapshots.Snapshotter { return counter }
	s := samplerOf(n, time.Hour)
	_, err := counter.Prepare(n.ctx, "work", "")
	must(t, err)
	must(t, counter.Commit(n.ctx, "layer", "work"))
	_, err = counter.Prepare(n.ctx, "web", "layer")
	must(t, err)
	for range 3 {
		s.take(n.ctx)
	}
	if counter.usages["layer"] != 1 || counter.usages["web"] != 3 {
		t.Errorf("snapshots were measured %v times, want the committed one once, the active one each time", counter.usages)
	}
}

func TestFsInfo(t *testing.T) {
	n, reg := newNode(t), newRegistry(t)
	m := n.start(t, Options{HandlerSnapshotters: handlers})
	resp, err := m.FsInfo(t.Context())
	must(t, err)
	if len(resp.ImageFilesystems) == 0 || resp.ImageFilesystems[0].Timestamp <= 0 {
		t.Errorf("before the first sample: %v", resp)
	}
	ref := reg.add(t, "app:v1", newImage(t, 2, nil))
	_, err = m.Pull(t.Context(), spec(ref), nil, nil)
	must(t, err)
	m.sampler.take(n.ctx)
	resp, err = m.FsInfo(t.Context())
	must(t, err)
	var stored uint64
	must(t, n.content.Walk(n.ctx, func(info content.Info) error { stored += uint64(info.Size); return nil }))
	var layers uint64
	must(t, n.db.Snapshotter(defaultSnapshotter).Walk(n.ctx, func(_ context.Context, info snapshots.Info) error {
		usage, err := n.db.Snapshotter(defaultSnapshotter).Usage(n.ctx, info.Name)
		layers += uint64(usage.Size)
		return err
	}))
	if len(resp.ImageFilesystems) != 1 || len(resp.ContainerFilesystems) != 1 {
		t.Fatalf("file systems: %v", resp)
	}
	fs, containers := resp.ImageFilesystems[0], resp.ContainerFilesystems[0]
	// The kubelet treats different mount points as separate file systems.
	if containers.FsId.Mountpoint != fs.FsId.Mountpoint || containers.UsedBytes.Value != 0 {
		t.Errorf("containers are at %v, want nothing at %s", containers, fs.FsId.Mountpoint)
	}
	if fs.UsedBytes.Value != stored+layers || fs.UsedBytes.Value == 0 || fs.InodesUsed.Value == 0 {
		t.Errorf("used %v, want %d of content and %d of layers", fs, stored, layers)
	}
	if _, err := os.Stat(fs.FsId.Mountpoint); err != nil {
		t.Error(err)
	}

	_, err = m.Pull(t.Context(), handlerSpec(ref, "kata"), nil, nil)
	must(t, err)
	m.sampler.take(n.ctx)
	resp, err = m.FsInfo(t.Context())
	must(t, err)
	if len(resp.ImageFilesystems) != 2 || resp.ImageFilesystems[1].FsId.Mountpoint != m.SnapshotsRoot(otherSnapshotter) {
		t.Errorf("with two snapshotters in use: %v", resp)
	}
	if len(resp.ContainerFilesystems) != 2 || resp.ContainerFilesystems[1].FsId.Mountpoint != m.SnapshotsRoot(otherSnapshotter) {
		t.Errorf("with two snapshotters in use: %v", resp)
	}
}

// TestFsInfoOfContainers writes to a layer. The container file system has the usage of writable
// layers, the image file system that of all layers.
func TestFsInfoOfContainers(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{})
	sn := n.db.Snapshotter(defaultSnapshotter)
	lease, err := n.leases.Create(n.ctx, leases.WithRandomID())
	must(t, err)
	ctx := leases.WithLease(n.ctx, lease.ID)
	for _, name := range []string{"layer", "web"} {
		mounts, err := sn.Prepare(ctx, name, "")
		must(t, err)
		must(t, os.WriteFile(filepath.Join(mounts[0].Source, "file"), make([]byte, 1<<20), 0o600))
	}
	must(t, sn.Commit(ctx, "committed", "layer"))
	m.sampler.take(n.ctx)
	resp, err := m.FsInfo(t.Context())
	must(t, err)
	layer, _ := m.SnapshotUsage(defaultSnapshotter, "committed")
	web, ok := m.SnapshotUsage(defaultSnapshotter, "web")
	images, containers := resp.ImageFilesystems[0], resp.ContainerFilesystems[0]
	if !ok || containers.UsedBytes.Value != web.Bytes || containers.InodesUsed.Value != web.Inodes {
		t.Errorf("containers use %v, want %+v", containers, web)
	}
	if images.UsedBytes.Value != layer.Bytes+web.Bytes || layer.Bytes < 1<<20 {
		t.Errorf("images use %v, want %d and %d bytes", images, layer.Bytes, web.Bytes)
	}
}

// TestFsInfoOfContentElsewhere checks that a content store on another device is a separate entry.
func TestFsInfoOfContentElsewhere(t *testing.T) {
	n := newNode(t)
	m := n.start(t, Options{})
	n.write(t, "text/plain", "hello", nil)
	m.live.Load().ContentRoot = "/proc"
	m.sampler.take(n.ctx)
	resp, err := m.FsInfo(t.Context())
	must(t, err)
	if len(resp.ImageFilesystems) != 2 || resp.ImageFilesystems[1].FsId.Mountpoint != "/proc" || resp.ImageFilesystems[1].UsedBytes.Value != 5 {
		t.Errorf("file systems: %v", resp)
	}
}

// samplerOf returns a sampler of the default snapshotter of a node.
func samplerOf(n *node, period time.Duration) *sampler {
	live := new(atomic.Pointer[settings])
	live.Store(&settings{Options: Options{Snapshotter: defaultSnapshotter}})
	return newSampler(live, period, n.deps)
}

// TestSamplerKeepsWhatItCannotMeasure makes a snapshotter fail after the first sample.
func TestSamplerKeepsWhatItCannotMeasure(t *testing.T) {
	n := newNode(t)
	counter := &countingSnapshotter{Snapshotter: n.db.Snapshotter(defaultSnapshotter)}
	n.deps.Snapshotter = func(string) snapshots.Snapshotter { return counter }
	s := samplerOf(n, time.Hour)
	_, err := counter.Prepare(n.ctx, "web", "")
	must(t, err)
	s.take(n.ctx)
	before := s.last.Load().totals[defaultSnapshotter]
	counter.broken = true
	s.take(n.ctx)
	if after := s.last.Load().totals[defaultSnapshotter]; after != before || after.Inodes == 0 {
		t.Errorf("usage was %+v, is %+v", before, after)
	}
}
