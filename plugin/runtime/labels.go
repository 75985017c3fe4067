// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/errdefs"
	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/plugin/reserved"
)

// kindLabel is the label by which tools recognize pods and containers of the CRI. Its values are
// those of the built-in CRI.
const kindLabel = "io.cri-containerd.kind"

// Kind is the value of kindLabel.
type Kind string

const (
	// KindPod is the container of a pod's task.
	KindPod Kind = "sandbox"
	// KindContainer is a container of a pod.
	KindContainer Kind = "container"
)

// filter returns a filter for the containers of this kind.
func (k Kind) filter() string { return fmt.Sprintf("labels.%q==%s", kindLabel, k) }

// Labels returns the labels of a container or sandbox in containerd: those of untrusted without
// reserved names (which containerd and other programs act on), and the kind.
func (k Kind) Labels(untrusted map[string]string) map[string]string {
	all := reserved.Drop(untrusted)
	all[kindLabel] = string(k)
	return all
}

// restartPrefix is the prefix of labels that containerd's restart monitor acts on. No CRI plugin
// uses it.
const restartPrefix = "containerd.io/restart."

// DropRestartLabels removes the labels of containerd's restart monitor from the pods and containers
// of the CRI. Earlier builds of containerd-lite, and containerd before 2.3.2, took them from images
// (CVE-2026-53488).
func DropRestartLabels(ctx context.Context, store containers.Store) error {
	list, err := store.List(ctx, KindPod.filter(), KindContainer.filter())
	if err != nil {
		return fmt.Errorf("list containers: %w", err)
	}
	for _, info := range list {
		if err := dropRestartLabels(ctx, store, info); err != nil {
			return err
		}
	}
	return nil
}

func dropRestartLabels(ctx context.Context, store containers.Store, info containers.Container) error {
	restarts := func(key, _ string) bool { return strings.HasPrefix(key, restartPrefix) }
	before := len(info.Labels)
	maps.DeleteFunc(info.Labels, restarts)
	if len(info.Labels) == before {
		return nil
	}
	_, err := store.Update(ctx, containers.Container{ID: info.ID, Labels: info.Labels}, "labels")
	if err != nil && !errdefs.IsNotFound(err) {
		return fmt.Errorf("container %s: drop restart labels: %w", info.ID, err)
	}
	log.G(ctx).WithField("container", info.ID).
		Warn("dropped labels by which containerd would restart the container; its image may be malicious")
	return nil
}
