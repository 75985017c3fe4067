// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"errors"
	"slices"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
)

// nodeFolders are the default directories of a daemon and of CNI plugins, without the contents of
// images and snapshots.
var nodeFolders = []string{"/run/containerd", "/run/netns", "/var/lib/cni", "/var/lib/containerd/io.containerd.grpc.v1.cri"}

// NodeState returns a function that reads the state of a host without a bench and of its single
// daemon, with everything in its default place. It reads the same kinds as [Bench.State] except
// processes, which the cgroups cover, network devices, whose names are random, and slices, which
// the kubelet creates.
func NodeState(client *containerd.Client) func(context.Context) (State, error) {
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
