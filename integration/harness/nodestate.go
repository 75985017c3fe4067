// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"slices"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
)

// nodeFolders are where a daemon has its files by default, and CNI plugins theirs, but for the
// contents of images and snapshots.
var nodeFolders = []string{"/run/containerd", "/run/netns", "/var/lib/cni", "/var/lib/containerd/io.containerd.grpc.v1.cri"}

// NodeLook looks at a machine that has no bench but one daemon, with everything where it is by
// default, and at that daemon: it finds what [Bench.State] does but for processes, which the
// cgroups have, devices, whose names are drawn by lot, and slices, which a kubelet makes.
func NodeLook(client *containerd.Client) func(context.Context) (State, error) {
	return func(ctx context.Context) (State, error) {
		state, err := daemonState(ctx, client)
		if err != nil {
			return nil, err
		}
		return state, errors.Join(
			mountsState(state, func(place string) bool {
				return slices.ContainsFunc(nodeFolders, func(folder string) bool { return strings.HasPrefix(place, folder+"/") })
			}),
			cgroupsState(state, func(path string) bool { return !strings.HasSuffix(path, ".slice") }),
			filesState(state, "file", nodeFolders...),
			rulesState(state))
	}
}
