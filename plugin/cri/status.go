// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"encoding/json"

	containerdversion "github.com/containerd/containerd/v2/version"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// kubeAPIVersion is the version of the kubelet's runtime API. It has never changed.
	kubeAPIVersion = "0.1.0"
	criVersion     = "v1"
	// runtimeName is containerd's: cAdvisor, the node's status and many tools identify the runtime
	// by it.
	runtimeName = "containerd"
)

// Version returns the name and the versions of the runtime.
func (s *Server) Version(context.Context, *runtimeapi.VersionRequest) (*runtimeapi.VersionResponse, error) {
	return &runtimeapi.VersionResponse{
		Version:           kubeAPIVersion,
		RuntimeName:       runtimeName,
		RuntimeVersion:    containerdversion.Version,
		RuntimeApiVersion: criVersion,
	}, nil
}

// Status reports whether pods can be run, and with which handlers.
func (s *Server) Status(ctx context.Context, req *runtimeapi.StatusRequest) (*runtimeapi.StatusResponse, error) {
	network := &runtimeapi.RuntimeCondition{Type: runtimeapi.NetworkReady, Status: true}
	if err := s.Node.NetworkStatus(); err != nil {
		// The texts are the built-in CRI's. The kubelet shows them in the node's Ready condition.
		network.Status = false
		network.Reason = "NetworkPluginNotReady"
		network.Message = "Network plugin returns error: " + err.Error()
	}
	upToDate, err := s.upToDate(ctx)
	if err != nil {
		return nil, err
	}
	answer := &runtimeapi.StatusResponse{
		Status: &runtimeapi.RuntimeStatus{Conditions: []*runtimeapi.RuntimeCondition{
			{Type: runtimeapi.RuntimeReady, Status: true},
			network,
			upToDate,
		}},
		RuntimeHandlers: s.Node.Handlers(),
		Features: &runtimeapi.RuntimeFeatures{
			SupplementalGroupsPolicy:  true,
			UserNamespacesHostNetwork: true,
			MountOptions:              true,
		},
	}
	if !req.GetVerbose() {
		return answer, nil
	}
	answer.Info, err = s.Node.Info(ctx)
	return answer, err
}

// upToDate returns the built-in CRI's condition for deprecated features, which is true if none is
// in use.
func (s *Server) upToDate(ctx context.Context) (*runtimeapi.RuntimeCondition, error) {
	condition := &runtimeapi.RuntimeCondition{Type: "ContainerdHasNoDeprecationWarnings", Status: true}
	messages, err := s.Node.Deprecations(ctx)
	if err != nil || len(messages) == 0 {
		return condition, err
	}
	text, err := json.Marshal(messages)
	condition.Status, condition.Reason, condition.Message = false, "ContainerdHasDeprecationWarnings", string(text)
	return condition, err
}

// RuntimeConfig returns the cgroup driver that the kubelet must use.
func (s *Server) RuntimeConfig(context.Context, *runtimeapi.RuntimeConfigRequest) (*runtimeapi.RuntimeConfigResponse, error) {
	driver := runtimeapi.CgroupDriver_CGROUPFS
	if s.Node.SystemdCgroup() {
		driver = runtimeapi.CgroupDriver_SYSTEMD
	}
	return &runtimeapi.RuntimeConfigResponse{
		Linux: &runtimeapi.LinuxRuntimeConfiguration{CgroupDriver: driver},
	}, nil
}

// UpdateRuntimeConfig applies the only setting that the kubelet has for a runtime: the pod CIDRs of
// the node.
func (s *Server) UpdateRuntimeConfig(ctx context.Context, req *runtimeapi.UpdateRuntimeConfigRequest) (*runtimeapi.UpdateRuntimeConfigResponse, error) {
	if err := s.Node.UsePodCIDRs(ctx, req.GetRuntimeConfig().GetNetworkConfig().GetPodCidr()); err != nil {
		return nil, err
	}
	return &runtimeapi.UpdateRuntimeConfigResponse{}, nil
}
