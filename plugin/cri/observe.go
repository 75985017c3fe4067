// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"github.com/prometheus/client_golang/prometheus"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/metrics"
)

// timer returns the metric for the duration of an RPC, or nil if it has none. It is called before
// the RPC: the labels of an object are not known after its removal.
func (s *Server) timer(req any) prometheus.Observer {
	switch r := req.(type) {
	case *runtimeapi.ListPodSandboxRequest:
		return metrics.SandboxList
	case *runtimeapi.ListContainersRequest:
		return metrics.ContainerList
	case *runtimeapi.StopPodSandboxRequest:
		return s.podTimer(metrics.SandboxStop, r.GetPodSandboxId())
	case *runtimeapi.RemovePodSandboxRequest:
		return s.podTimer(metrics.SandboxRemove, r.GetPodSandboxId())
	case *runtimeapi.CreateContainerRequest:
		if pod, err := s.Pods.Get(r.GetPodSandboxId()); err == nil {
			return metrics.ContainerCreate.WithLabelValues(s.RuntimeType(pod.Handler))
		}
	case *runtimeapi.StartContainerRequest:
		return s.containerTimer(metrics.ContainerStart, r.GetContainerId())
	case *runtimeapi.StopContainerRequest:
		return s.containerTimer(metrics.ContainerStop, r.GetContainerId())
	case *runtimeapi.RemoveContainerRequest:
		return s.containerTimer(metrics.ContainerRemove, r.GetContainerId())
	}
	return nil
}

// podTimer returns a metric with the requested handler of a pod. Like that of the built-in CRI it
// has no value for an unknown pod.
func (s *Server) podTimer(timer *prometheus.HistogramVec, id string) prometheus.Observer {
	pod, err := s.Pods.Get(id)
	if err != nil {
		return nil
	}
	return timer.WithLabelValues(pod.Requested)
}

// containerTimer returns a metric with the runtime type of a container.
func (s *Server) containerTimer(timer *prometheus.HistogramVec, id string) prometheus.Observer {
	container, err := s.Containers.Get(id)
	if err != nil {
		return nil
	}
	return timer.WithLabelValues(s.RuntimeType(container.Runtime.Handler))
}

// streamTimers are the metrics of streaming RPCs, by name.
var streamTimers = map[string]prometheus.Observer{
	"StreamPodSandboxes": metrics.SandboxStream,
	"StreamContainers":   metrics.ContainerStream,
}
