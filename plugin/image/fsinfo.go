// SPDX-License-Identifier: Apache-2.0

package image

import (
	"context"
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// FsInfo returns the disk usage of images and containers as of the last sample: one entry for each
// snapshotter in use. The default snapshotter comes first, because the kubelet reads only the first
// entry. The usage of the content store is added to that entry if both are on one device; otherwise
// it is an entry of its own.
//
// The container file systems are those of the writable layers (KEP-4191). The image file systems
// include these bytes, too, because a snapshotter keeps both in one directory. If the mount points
// of both are equal, the kubelet treats images and containers as not separated.
func (m *Manager) FsInfo(context.Context) (*runtimeapi.ImageFsInfoResponse, error) {
	last, now := m.sampler.last.Load(), m.live.Load()
	answer := &runtimeapi.ImageFsInfoResponse{}
	for i, name := range now.snapshotters() {
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
		answer.ImageFilesystems = append(answer.ImageFilesystems, encodeUsage(now.ContentRoot, last.content))
	}
	return answer, nil
}

// encodeUsage returns a usage as the CRI message. A usage that is not measured yet is zero with the
// present time, because the timestamp must be above zero.
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
