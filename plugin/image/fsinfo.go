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
// are on one device, else an entry of its own.
//
// The container file systems are those of the writable layers (KEP-4191), of
// which the image file systems have the bytes, too: a snapshotter keeps both in
// one directory. The kubelet takes two equal mount points for a node where images
// and containers are not separated.
func (m *Manager) FsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	last := m.sampler.last.Load()
	answer := &runtimeapi.ImageFsInfoResponse{}
	for i, name := range m.opts.snapshotters() {
		images, ok := last.totals[name]
		if i == 0 && last.oneDevice {
			images = images.plus(last.content)
		}
		if i > 0 && !ok {
			continue // nothing uses it
		}
		root := m.SnapshotsRoot(name)
		answer.ImageFilesystems = append(answer.ImageFilesystems, encodeUsage(root, images))
		answer.ContainerFilesystems = append(answer.ContainerFilesystems, encodeUsage(root, last.containers[name]))
	}
	if !last.oneDevice && !last.content.At.IsZero() {
		answer.ImageFilesystems = append(answer.ImageFilesystems, encodeUsage(m.opts.ContentRoot, last.content))
	}
	return answer, nil
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
