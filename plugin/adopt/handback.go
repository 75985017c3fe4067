// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// HandedBack is what becomes of a pod of ours when containerd starts in the place of
// containerd-lite.
type HandedBack struct {
	Pod        string // namespace/name
	Ready      bool
	Containers int
	// Lost is true if containerd does not find the pod: its record is of an earlier release.
	Lost bool
	// Unreadable is true if our record cannot be decoded; containerd does not use it.
	Unreadable bool
	// Limits are what earlier versions of containerd cannot do with the pod.
	Limits []Limit
}

// Limit is a limit of versions of containerd before one.
type Limit struct{ Before, What string }

// The limits of earlier versions of containerd.
var (
	notListed = Limit{"2.0", "not listed, because it is stopped"}
	noVolumes = Limit{"2.1", "new containers with image volumes fail"}
	noUserns  = Limit{"1.7", "new containers are not in the user namespace of the pod: their root is that of the node"}
)

// HandBack returns what would become of the pods of ours, sorted by name.
func (s *Store) HandBack(ctx context.Context) ([]HandedBack, error) {
	pods, err := s.Containerd.Sandboxes(ctx)
	if err != nil {
		return nil, err
	}
	containers, err := s.Containerd.Containers(ctx)
	if err != nil {
		return nil, err
	}
	members, volumes := map[string]int{}, map[string]bool{}
	for _, saved := range containers {
		var r container.Record
		if json.Unmarshal(saved.JSON, &r) == nil {
			members[r.PodID]++
			volumes[r.PodID] = volumes[r.PodID] || len(r.VolumeImages) > 0
		}
	}
	var all []HandedBack
	for _, saved := range pods {
		all = append(all, handedBack(saved, members[saved.ID], volumes[saved.ID]))
	}
	slices.SortFunc(all, func(a, b HandedBack) int { return strings.Compare(a.Pod, b.Pod) })
	return all, nil
}

func handedBack(saved runtime.Record, containers int, volumes bool) HandedBack {
	h := HandedBack{Pod: saved.ID, Containers: containers, Lost: !saved.BuiltIn}
	r := new(pod.Record)
	if json.Unmarshal(saved.JSON, r) != nil {
		h.Unreadable = true
		return h
	}
	m := r.Config.GetMetadata()
	h.Pod, h.Ready = m.GetNamespace()+"/"+m.GetName(), r.State == pod.Ready
	if r.State == pod.Stopped {
		h.Limits = append(h.Limits, notListed)
	}
	if r.HasUserNamespace() {
		h.Limits = append(h.Limits, noUserns)
	}
	if volumes {
		h.Limits = append(h.Limits, noVolumes)
	}
	return h
}
