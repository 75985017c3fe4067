// SPDX-License-Identifier: Apache-2.0

package stats

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// MetricDescriptors are the metrics that PodMetrics can return (KEP-2371). They
// do not change.
func (c *Collector) MetricDescriptors() []*runtimeapi.MetricDescriptor { return nil }

// PodMetrics returns the metrics of a pod and its containers.
func (c *Collector) PodMetrics(r *pod.Record, members []*container.Record) *runtimeapi.PodSandboxMetrics {
	answer := &runtimeapi.PodSandboxMetrics{PodSandboxId: r.ID}
	for _, member := range members {
		answer.ContainerMetrics = append(answer.ContainerMetrics, &runtimeapi.ContainerMetrics{ContainerId: member.ID})
	}
	return answer
}
