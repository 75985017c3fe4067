// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/typeurl/v2"
)

// foreignExtension is the prefix of the names of extensions in which containerd's built-in CRI
// saves its records.
const foreignExtension = "io.cri-containerd."

// Foreign describes pods and containers of containerd's built-in CRI in the metadata.
type Foreign struct {
	// Pods has the pods as namespace/name, or the ID if there is no name, sorted.
	Pods []string
	// Containers is the number of their containers.
	Containers int
}

// FindForeign finds pods and containers of the built-in CRI.
func FindForeign(ctx context.Context, sandboxes sandbox.Store, saved containers.Store) (Foreign, error) {
	pods := map[string]string{} // name by ID
	list, err := sandboxes.List(ctx)
	if err != nil {
		return Foreign{}, fmt.Errorf("list sandboxes: %w", err)
	}
	for _, s := range list {
		if isForeign(s.Extensions) {
			pods[s.ID] = podName(s.ID, s.Labels)
		}
	}
	infos, err := saved.List(ctx, KindPod.filter(), KindContainer.filter())
	if err != nil {
		return Foreign{}, fmt.Errorf("list containers: %w", err)
	}
	var found Foreign
	for _, info := range infos {
		switch {
		case !isForeign(info.Extensions):
		case info.Labels[kindLabel] == string(KindPod):
			// Before containerd 2.0 a pod had only this container, no sandbox.
			pods[info.ID] = podName(info.ID, info.Labels)
		default:
			found.Containers++
		}
	}
	found.Pods = slices.Sorted(maps.Values(pods))
	return found, nil
}

func isForeign(extensions map[string]typeurl.Any) bool {
	for name := range extensions {
		if strings.HasPrefix(name, foreignExtension) {
			return true
		}
	}
	return false
}

// podName returns the name of a pod from the kubelet's labels, or its ID without them.
func podName(id string, labels map[string]string) string {
	name := labels["io.kubernetes.pod.name"]
	if name == "" {
		return id
	}
	return labels["io.kubernetes.pod.namespace"] + "/" + name
}
