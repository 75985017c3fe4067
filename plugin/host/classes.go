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

// Classes applies the blockio and RDT classes that annotations name. The annotations of a pod are
// {blockio,rdt}.resources.beta.kubernetes.io/pod, for all its containers, and /container.<name>,
// for one of them. The annotation of a container, io.kubernetes.cri.{blockio,rdt}-class, takes
// precedence. The administrator defines the classes in the files that containerd's task service
// reads (blockio_config_file, rdt_config_file).
type Classes struct {
	// IgnoreBlockIO and IgnoreRDT ignore the class if no such file is configured. Otherwise that is
	// an error.
	IgnoreBlockIO, IgnoreRDT bool
}

// Apply adds the limits of the classes to the spec of a container. A class that this machine does
// not have is FailedPrecondition.
func (c Classes) Apply(s *specs.Spec, container *runtimeapi.ContainerConfig, pod *runtimeapi.PodSandboxConfig) error {
	name := container.GetMetadata().GetName()
	class, err := blockio.ContainerClassFromAnnotations(name, container.GetAnnotations(), pod.GetAnnotations())
	if err != nil {
		return fmt.Errorf("blockio class: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	limits, err := c.BlockIO(class)
	if err != nil {
		return err
	}
	if limits != nil {
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

// BlockIO returns the limits of a blockio class. They are nil for the class "", and if there are no
// classes and IgnoreBlockIO is set.
func (c Classes) BlockIO(class string) (*specs.LinuxBlockIO, error) {
	if class == "" || c.IgnoreBlockIO && !blockio.IsEnabled() {
		return nil, nil
	}
	limits, err := blockio.ClassNameToLinuxOCI(class)
	if err != nil {
		return nil, fmt.Errorf("blockio class %q: %w (see blockio_config_file and ignore_blockio_not_enabled_errors): %w",
			class, err, errdefs.ErrFailedPrecondition)
	}
	return limits, nil
}

// RDT returns the settings of an RDT class that an NRI plugin requests. They are nil for the class
// "".
func (Classes) RDT(class string) (*specs.LinuxIntelRdt, error) {
	if class == "" {
		return nil, nil
	}
	return &specs.LinuxIntelRdt{ClosID: class}, nil
}
