// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"context"
	"slices"
	"strings"

	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// Outcome is what becomes of a pod when containerd-lite starts.
type Outcome struct {
	Pod        string // namespace/name
	Ready      bool
	Handler    string
	Containers int
	// Reason is why the pod cannot be adopted, or "".
	Reason string
}

// Plan returns what would become of the pods of the built-in CRI, sorted by name.
func (s *Store) Plan(ctx context.Context) ([]Outcome, error) {
	pods, err := s.BuiltInCRI.List(ctx, runtime.KindPod)
	if err != nil {
		return nil, err
	}
	containers, err := s.BuiltInCRI.List(ctx, runtime.KindContainer)
	if err != nil {
		return nil, err
	}
	members := map[string]int{}
	for _, found := range containers {
		var m containerMetadata
		if decodeMetadata(found.Metadata, &m) == nil {
			members[m.SandboxID]++
		}
	}
	var all []Outcome
	for _, found := range pods {
		r := s.pod(ctx, found)
		m := r.Config.GetMetadata()
		all = append(all, Outcome{
			Pod: m.GetNamespace() + "/" + m.GetName(), Ready: r.State == pod.Ready, Handler: r.Handler,
			Containers: members[r.ID], Reason: strings.Join(r.Unfinished, "; "),
		})
	}
	slices.SortFunc(all, func(a, b Outcome) int { return strings.Compare(a.Pod, b.Pod) })
	return all, nil
}
