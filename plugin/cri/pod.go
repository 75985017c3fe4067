// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// RunPodSandbox creates and starts a pod.
func (s *Server) RunPodSandbox(ctx context.Context, req *runtimeapi.RunPodSandboxRequest) (*runtimeapi.RunPodSandboxResponse, error) {
	id, err := s.Pods.Run(ctx, req.GetConfig(), req.GetRuntimeHandler())
	if err != nil {
		return nil, err
	}
	return &runtimeapi.RunPodSandboxResponse{PodSandboxId: id}, nil
}

// StopPodSandbox stops a pod and its containers.
func (s *Server) StopPodSandbox(ctx context.Context, req *runtimeapi.StopPodSandboxRequest) (*runtimeapi.StopPodSandboxResponse, error) {
	if err := s.Pods.Stop(ctx, req.GetPodSandboxId(), s.Containers); err != nil {
		return nil, err
	}
	return &runtimeapi.StopPodSandboxResponse{}, nil
}

// RemovePodSandbox stops a pod and removes it with its containers.
func (s *Server) RemovePodSandbox(ctx context.Context, req *runtimeapi.RemovePodSandboxRequest) (*runtimeapi.RemovePodSandboxResponse, error) {
	if err := s.Pods.Remove(ctx, req.GetPodSandboxId(), s.Containers); err != nil {
		return nil, err
	}
	return &runtimeapi.RemovePodSandboxResponse{}, nil
}

// UpdatePodSandboxResources records the resources of a pod, after the kubelet has written its
// cgroup.
func (s *Server) UpdatePodSandboxResources(ctx context.Context, req *runtimeapi.UpdatePodSandboxResourcesRequest) (*runtimeapi.UpdatePodSandboxResourcesResponse, error) {
	if err := s.Pods.UpdateResources(ctx, req.GetPodSandboxId(), req.GetOverhead(), req.GetResources()); err != nil {
		return nil, err
	}
	return &runtimeapi.UpdatePodSandboxResourcesResponse{}, nil
}

// PodSandboxStatus returns the status of a pod and its containers as they were at one moment.
//
// Timestamp stays 0. If it is set, a kubelet with the feature gate EventedPLEG takes the containers
// from this answer and then considers none of them active: it runs init containers again and again.
// Without a timestamp the kubelet asks for each container. See docs/decisions/0006-events.md.
func (s *Server) PodSandboxStatus(ctx context.Context, req *runtimeapi.PodSandboxStatusRequest) (*runtimeapi.PodSandboxStatusResponse, error) {
	r, err := s.Pods.Get(req.GetPodSandboxId())
	if err != nil {
		return nil, err
	}
	state := s.stateOf(r.ID)
	if state.Pod == nil {
		return nil, fmt.Errorf("%s: removed during the call: %w", r, errdefs.ErrNotFound)
	}
	answer := &runtimeapi.PodSandboxStatusResponse{
		Status:             podStatus(state.Pod),
		ContainersStatuses: s.containerStatuses(state.Containers),
	}
	if req.GetVerbose() {
		inspected, err := s.Containerd.Inspect(ctx, r.ID)
		if err != nil {
			return nil, fmt.Errorf("%s: task: %w", r, err)
		}
		if answer.Info, err = verbose(podInfo(state.Pod, inspected)); err != nil {
			return nil, fmt.Errorf("%s: %w", r, err)
		}
	}
	return answer, nil
}

// ListPodSandbox lists the pods that match a filter.
func (s *Server) ListPodSandbox(_ context.Context, req *runtimeapi.ListPodSandboxRequest) (*runtimeapi.ListPodSandboxResponse, error) {
	return &runtimeapi.ListPodSandboxResponse{Items: s.podItems(req.GetFilter())}, nil
}

func (s *Server) podItems(f *runtimeapi.PodSandboxFilter) []*runtimeapi.PodSandbox {
	var items []*runtimeapi.PodSandbox
	for _, r := range s.Pods.Select(func(r *pod.Record) bool { return podMatches(r, f) }) {
		items = append(items, podItem(r))
	}
	return items
}

func podMatches(r *pod.Record, f *runtimeapi.PodSandboxFilter) bool {
	return hasIDPrefix(r.ID, f.GetId()) &&
		(f.GetState() == nil || f.GetState().GetState() == podState(r)) &&
		hasLabels(r.Config.GetLabels(), f.GetLabelSelector())
}

func podState(r *pod.Record) runtimeapi.PodSandboxState {
	if r.State == pod.Ready {
		return runtimeapi.PodSandboxState_SANDBOX_READY
	}
	return runtimeapi.PodSandboxState_SANDBOX_NOTREADY
}

func podItem(r *pod.Record) *runtimeapi.PodSandbox {
	return &runtimeapi.PodSandbox{
		Id:             r.ID,
		Metadata:       r.Config.GetMetadata(),
		State:          podState(r),
		CreatedAt:      r.CreatedAt,
		Labels:         r.Config.GetLabels(),
		Annotations:    r.Config.GetAnnotations(),
		RuntimeHandler: r.Requested,
	}
}

func podStatus(r *pod.Record) *runtimeapi.PodSandboxStatus {
	status := &runtimeapi.PodSandboxStatus{
		Id:             r.ID,
		Metadata:       r.Config.GetMetadata(),
		State:          podState(r),
		CreatedAt:      r.CreatedAt,
		Network:        &runtimeapi.PodSandboxNetworkStatus{},
		Labels:         r.Config.GetLabels(),
		Annotations:    r.Config.GetAnnotations(),
		RuntimeHandler: r.Requested,
	}
	if r.State == pod.Ready { // the address of a stopped pod may belong to another pod by now
		status.Network.Ip = r.Network.IP
		for _, ip := range r.Network.AdditionalIPs {
			status.Network.AdditionalIps = append(status.Network.AdditionalIps, &runtimeapi.PodIP{Ip: ip})
		}
	}
	options := r.Config.GetLinux().GetSecurityContext().GetNamespaceOptions()
	if options == nil {
		options = &runtimeapi.NamespaceOption{}
	}
	status.Linux = &runtimeapi.LinuxPodSandboxStatus{
		Namespaces: &runtimeapi.Namespace{Options: options},
	}
	return status
}
