// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"fmt"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/internal/guard"
)

// Usage is the disk usage of a snapshot, or of several.
type Usage struct {
	Bytes, Inodes uint64
	// At is the time of the measurement.
	At time.Time
}

// Sample measures disk usage at once and then every period, until ctx ends. It walks every writable
// layer, so it should not run while the daemon starts.
func (m *Manager) Sample(ctx context.Context) {
	m.sampler.run(namespaces.WithNamespace(ctx, namespace))
}

// SnapshotUsage returns the disk usage of a snapshot, such as the writable layer of a container, as
// of the last sample; false if the snapshot is newer.
func (m *Manager) SnapshotUsage(snapshotter, key string) (Usage, bool) {
	s, ok := m.sampler.last.Load().snapshots[snapshotKey{snapshotter, key}]
	return s.Usage, ok
}

// SnapshotsRoot returns the directory of a snapshotter, empty if it is not known.
func (m *Manager) SnapshotsRoot(snapshotter string) string {
	return m.live.Load().SnapshotRoots[snapshotter]
}

// sampler measures disk usage in the background. A measurement walks the files of every writable
// layer, which is too slow for a call.
type sampler struct {
	deps   Deps
	live   *atomic.Pointer[settings] // of the Manager
	period time.Duration
	last   atomic.Pointer[sample] // never nil; samples are immutable
}

// sample is the disk usage at one point in time.
type sample struct {
	snapshots map[snapshotKey]snapshotUsage
	totals    map[string]Usage // by snapshotter, if it has snapshots
	content   Usage
	// containers is the usage of writable layers, by snapshotter. totals includes it.
	containers  map[string]Usage
	filesystems map[string]Filesystem // by snapshotter
	// oneDevice is set if the content store is on the file system of the default snapshotter.
	oneDevice bool
}

type snapshotKey struct{ snapshotter, key string }

type snapshotUsage struct {
	Usage
	kind snapshots.Kind
}

func newSampler(live *atomic.Pointer[settings], period time.Duration, deps Deps) *sampler {
	s := &sampler{deps: deps, live: live, period: period}
	s.last.Store(&sample{})
	return s
}

// run takes a sample every period until ctx ends. On a slow disk it waits at least half a period
// between samples.
func (s *sampler) run(ctx context.Context) {
	for {
		start := time.Now()
		// Call logs a panic.
		_ = guard.Call(ctx, "measure disk usage", func() error { s.take(ctx); return nil })
		select {
		case <-ctx.Done():
			return
		case <-time.After(max(s.period-time.Since(start), s.period/2)):
		}
	}
}

// take measures everything once. If all snapshots of a snapshotter, or the content store, cannot be
// measured, it keeps their last values.
func (s *sampler) take(ctx context.Context) {
	last, now := s.last.Load(), s.live.Load()
	next := &sample{
		snapshots:   map[snapshotKey]snapshotUsage{},
		totals:      map[string]Usage{},
		containers:  map[string]Usage{},
		filesystems: map[string]Filesystem{},
		oneDevice:   sameDevice(now.SnapshotRoots[now.Snapshotter], now.ContentRoot),
	}
	for _, name := range now.snapshotters() {
		if err := s.takeSnapshots(ctx, name, last, next); err != nil {
			if ctx.Err() != nil {
				return
			}
			log.G(ctx).WithField("snapshotter", name).WithError(err).Warn("disk usage of snapshots not measured; keeping the last values")
			last.copyTo(next, name)
		}
		f, err := readFilesystem(now.SnapshotRoots[name], last.filesystems[name])
		if err != nil {
			log.G(ctx).WithField("snapshotter", name).WithError(err).Debug("file system of snapshotter not measured")
			continue
		}
		next.filesystems[name] = f
	}
	for key, usage := range next.snapshots {
		next.totals[key.snapshotter] = next.totals[key.snapshotter].plus(usage.Usage)
		if usage.kind == snapshots.KindActive {
			next.containers[key.snapshotter] = next.containers[key.snapshotter].plus(usage.Usage)
		}
	}
	var err error
	if next.content, err = s.takeContent(ctx); err != nil {
		if ctx.Err() != nil {
			return
		}
		log.G(ctx).WithError(err).Warn("disk usage of the content store not measured; keeping the last value")
		next.content = last.content
	}
	s.last.Store(next)
}

// takeSnapshots measures the snapshots of one snapshotter. Committed snapshots do not change and
// are measured once.
func (s *sampler) takeSnapshots(ctx context.Context, name string, last, next *sample) error {
	sn := s.deps.Snapshotter(name)
	// List first and measure later: a walk locks the snapshotter's metadata, and measuring is slow.
	var infos []snapshots.Info
	err := sn.Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		infos = append(infos, info)
		return nil
	})
	if err != nil {
		return fmt.Errorf("walk: %w", err)
	}
	for _, info := range infos {
		key := snapshotKey{name, info.Name}
		if old, ok := last.snapshots[key]; ok && old.kind == info.Kind && info.Kind != snapshots.KindActive {
			old.At = time.Now()
			next.snapshots[key] = old
			continue
		}
		usage, err := sn.Usage(ctx, info.Name)
		switch {
		case err == nil:
			next.snapshots[key] = snapshotUsage{newUsage(usage.Size, usage.Inodes), info.Kind}
		case errdefs.IsNotFound(err): // removed since the walk
		case ctx.Err() != nil:
			return ctx.Err()
		default:
			log.G(ctx).WithFields(log.Fields{"snapshotter": name, "snapshot": info.Name}).WithError(err).Warn("disk usage of snapshot not measured; left out of the totals")
		}
	}
	return nil
}

// takeContent sums up the content store from its metadata, without reading the disk.
func (s *sampler) takeContent(ctx context.Context) (Usage, error) {
	var size, blobs int64
	err := s.deps.Content.Walk(ctx, func(info content.Info) error {
		size += info.Size
		blobs++
		return nil
	})
	return newUsage(size, blobs), err
}

// copyTo copies the usage of the snapshots of one snapshotter to another sample.
func (s *sample) copyTo(next *sample, snapshotter string) {
	for key, usage := range s.snapshots {
		if key.snapshotter == snapshotter {
			next.snapshots[key] = usage
		}
	}
}

func newUsage(size, inodes int64) Usage {
	return Usage{Bytes: uint64(max(size, 0)), Inodes: uint64(max(inodes, 0)), At: time.Now()}
}

// plus adds two usages. The time of the sum is the older of both. An unmeasured usage adds nothing.
func (u Usage) plus(v Usage) Usage {
	if u.At.IsZero() || !v.At.IsZero() && v.At.Before(u.At) {
		u.At = v.At
	}
	u.Bytes += v.Bytes
	u.Inodes += v.Inodes
	return u
}

// sameDevice reports whether two directories are on one file system.
func sameDevice(a, b string) bool {
	devA, okA := device(a)
	devB, okB := device(b)
	return okA && okB && devA == devB
}

func device(path string) (uint64, bool) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Dev, true
}
