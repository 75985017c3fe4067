// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Container returns the runtime spec of a container.
//
// Errors name the CRI field. They are InvalidArgument if the request is wrong, and
// FailedPrecondition if the request is right but this machine, handler or pod cannot serve it.
//
// CDI devices are not applied: the caller passes the result to host.InjectCDI as the last step.
func Container(in Input) (*specs.Spec, error) {
	if err := checkContainer(&in); err != nil {
		return nil, fmt.Errorf("container config: %w", err)
	}
	b, err := newBuilder(&in)
	if err != nil {
		return nil, err
	}
	steps := []func() error{
		b.privilege,
		b.process,
		b.namespaces,
		b.user,
		b.capabilities,
		b.mounts,
		b.devices,
		b.resources,
		b.cgroup,
		b.paths,
		b.seccomp,
		b.apparmor,
		b.selinux,
		b.annotations,
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err // the caller adds the name of the container
		}
	}
	return b.spec, nil
}

// builder is the state of one call of Container. Each step is a method in the file of its topic and
// writes its own part of the spec. The step for capabilities precedes the one for seccomp, because
// the default profile depends on the capabilities.
type builder struct {
	in   *Input
	sc   *runtimeapi.LinuxContainerSecurityContext // nil-safe: getters only
	ids  idMaps                                    // of the pod's user namespace; empty without one
	spec *specs.Spec
}

func newBuilder(in *Input) (*builder, error) {
	s, err := template(in)
	if err != nil {
		return nil, err
	}
	return &builder{in: in, sc: in.Config.GetLinux().GetSecurityContext(), spec: s}, nil
}

// podSecurity returns the security context of the container's pod.
func (b *builder) podSecurity() *runtimeapi.LinuxSandboxSecurityContext {
	return b.in.Pod.Config.GetLinux().GetSecurityContext()
}

// privilege enforces LinuxSandboxSecurityContext.privileged: if it is not set, no container of the
// pod may be privileged.
func (b *builder) privilege() error {
	if b.sc.GetPrivileged() && !b.podSecurity().GetPrivileged() {
		return invalid("linux.security_context.privileged", "no privileged container allowed in sandbox, which is not privileged itself")
	}
	return nil
}

// invalid returns the error for a bad value in a CRI field.
func invalid(field, format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", field, fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument)
}

// unmet returns the error for a valid value that this machine, handler or pod cannot serve.
func unmet(field, format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", field, fmt.Sprintf(format, args...), errdefs.ErrFailedPrecondition)
}
