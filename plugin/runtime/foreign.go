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

// foreignExtension is the prefix of the extensions in which containerd's built-in CRI keeps its
// records.
const foreignExtension = "io.cri-containerd."

// Foreign are the pods and containers that containerd's built-in CRI has left in the metadata.
type Foreign struct {
	// Pods are namespace/name of the pods, or their ids, sorted.
	Pods []string
	// Containers is the number of their containers.
	Containers int
}

// FindForeign looks for pods and containers of the built-in CRI.
func FindForeign(ctx context.Context, sandboxes sandbox.Store, saved containers.Store) (Foreign, error) {
	pods := map[string]string{} // names by id
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
			// Before containerd 2.0 a pod was this container only.
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

// podName returns the name that the kubelet's labels give a pod.
func podName(id string, labels map[string]string) string {
	name := labels["io.kubernetes.pod.name"]
	if name == "" {
		return id
	}
	return labels["io.kubernetes.pod.namespace"] + "/" + name
}
