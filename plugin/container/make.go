// SPDX-License-Identifier: Apache-2.0

package container

import (
	"github.com/containerd/containerd/v2/core/mount"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/image"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// SpecRequest is what the spec of a container is made from.
type SpecRequest struct {
	ID         string
	Config     *runtimeapi.ContainerConfig
	Pod        *pod.Record
	Image      image.Image
	Name       string // of the handler
	Handler    config.Handler
	Rootfs     []mount.Mount
	VolumesDir string // for the copies of the image's volumes
	// PIDOf returns the pid of a running container of a pod.
	PIDOf func(podID, id string) (uint32, error)
}

// SpecResult is a spec and who its process runs as.
type SpecResult struct {
	Spec *specs.Spec
	User *runtimeapi.LinuxContainerUser
}
