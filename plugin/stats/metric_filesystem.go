// SPDX-License-Identifier: Apache-2.0

package stats

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

// filesystemMetrics are metrics of a container's writable layer and of its file system. They are
// sampled in the background.
var filesystemMetrics = []metric{
	ofFilesystem("container_fs_inodes_free", "Number of available Inodes",
		func(s *subject) num { return value(s.filesystem.InodesFree) }),
	ofFilesystem("container_fs_inodes_total", "Number of Inodes",
		func(s *subject) num { return value(s.filesystem.Inodes) }),
	ofFilesystem("container_fs_limit_bytes", "Number of bytes that can be consumed by the container on this filesystem.",
		func(s *subject) num { return value(s.filesystem.Bytes) }),
	ofFilesystem("container_fs_usage_bytes", "Number of bytes that are consumed by the container on this filesystem.",
		// 0 for a container that was created after the last sample, as in ContainerStats.
		func(s *subject) num { return value(s.layer.Bytes) }),
}

func ofFilesystem(name, help string, get func(s *subject) num) metric {
	return metric{name, help, runtimeapi.MetricType_GAUGE, []string{"device"}, func(s *subject, add addFunc) {
		if !s.filesystem.At.IsZero() {
			add(get(s), s.filesystem.Device)
		}
	}}
}
