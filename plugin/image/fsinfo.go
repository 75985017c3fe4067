// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// FsInfo returns the disk usage of images and containers as of the last sample:
// one entry for each snapshotter in use, the default one first because the
// kubelet reads only that. What the content store holds is part of it when both
// are on one device, else an entry of its own. container_filesystems stays empty,
// as the CRI has it where layers and writable layers are on one file system.
func (m *Manager) FsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	last := m.sampler.last.Load()
	first := last.totals[m.opts.Snapshotter]
	if last.oneDevice {
		first = first.plus(last.content)
	}
	out := []*runtimeapi.FilesystemUsage{encodeUsage(m.SnapshotsRoot(m.opts.Snapshotter), first)}
	for _, name := range m.opts.snapshotters()[1:] {
		if usage, ok := last.totals[name]; ok {
			out = append(out, encodeUsage(m.SnapshotsRoot(name), usage))
		}
	}
	if !last.oneDevice && !last.content.At.IsZero() {
		out = append(out, encodeUsage(m.opts.ContentRoot, last.content))
	}
	return &runtimeapi.ImageFsInfoResponse{ImageFilesystems: out}, nil
}

// encodeUsage returns a usage as the CRI message. What was not measured yet is
// nothing as of now: a timestamp must be above zero.
func encodeUsage(mountpoint string, u Usage) *runtimeapi.FilesystemUsage {
	if u.At.IsZero() {
		u.At = time.Now()
	}
	return &runtimeapi.FilesystemUsage{
		Timestamp:  u.At.UnixNano(),
		FsId:       &runtimeapi.FilesystemIdentifier{Mountpoint: mountpoint},
		UsedBytes:  &runtimeapi.UInt64Value{Value: u.Bytes},
		InodesUsed: &runtimeapi.UInt64Value{Value: u.Inodes},
	}
}
