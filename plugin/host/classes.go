// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"

	"github.com/containerd/containerd/v2/pkg/blockio"
	"github.com/containerd/containerd/v2/pkg/rdt"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Classes applies the blockio and RDT classes that annotations ask for: those of a pod,
// {blockio,rdt}.resources.beta.kubernetes.io/pod and /container.<name>, or of a container,
// io.kubernetes.cri.{blockio,rdt}-class, which wins. What a class is, the administrator says in the
// files that containerd's task service is configured with (blockio_config_file, rdt_config_file).
type Classes struct {
	// IgnoreBlockIO and IgnoreRDT run a container without the class where no such file is
	// configured, which else is an error.
	IgnoreBlockIO, IgnoreRDT bool
}

// Apply adds the limits of the classes to the spec of a container. Errors are FailedPrecondition: a
// class that this machine has not.
func (c Classes) Apply(s *specs.Spec, container *runtimeapi.ContainerConfig, pod *runtimeapi.PodSandboxConfig) error {
	name := container.GetMetadata().GetName()
	class, err := blockio.ContainerClassFromAnnotations(name, container.GetAnnotations(), pod.GetAnnotations())
	if err != nil {
		return fmt.Errorf("blockio class: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if class != "" && (blockio.IsEnabled() || !c.IgnoreBlockIO) {
		limits, err := blockio.ClassNameToLinuxOCI(class)
		if err != nil {
			return fmt.Errorf("blockio class %q: %w (see blockio_config_file and ignore_blockio_not_enabled_errors): %w",
				class, err, errdefs.ErrFailedPrecondition)
		}
		s.Linux.Resources.BlockIO = limits
	}
	class, err = rdt.ContainerClassFromAnnotations(name, container.GetAnnotations(), pod.GetAnnotations())
	if err != nil && (rdt.IsEnabled() || !c.IgnoreRDT) {
		return fmt.Errorf("RDT class: %w (see rdt_config_file and ignore_rdt_not_enabled_errors): %w", err, errdefs.ErrFailedPrecondition)
	}
	if class != "" && err == nil {
		s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: class}
	}
	return nil
}
