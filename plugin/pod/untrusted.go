// SPDX-License-Identifier: Apache-2.0

package pod

import (
	"fmt"

	"github.com/containerd/errdefs"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

const (
	// UntrustedAnnotation with the value "true" marks a pod that must be isolated from the host.
	// The built-in CRI defines it.
	UntrustedAnnotation = "io.kubernetes.cri.untrusted-workload"
	// UntrustedHandler is the runtime handler of such pods.
	UntrustedHandler = "untrusted"
)

// handler returns the runtime handler of a pod. An untrusted pod runs in the handler "untrusted" or
// not at all: it can neither request another handler nor share a namespace with the host.
func (m *Manager) handler(c *runtimeapi.PodSandboxConfig, requested string) (string, config.Handler, error) {
	if c.GetAnnotations()[UntrustedAnnotation] != "true" {
		return m.Handlers.Handler(requested)
	}
	if requested != "" && requested != UntrustedHandler {
		return "", config.Handler{}, untrusted("an untrusted pod cannot use the runtime handler %q", requested)
	}
	if sharesHost(c.GetLinux().GetSecurityContext().GetNamespaceOptions()) {
		return "", config.Handler{}, untrusted("an untrusted pod cannot share a namespace with the host")
	}
	name, h, err := m.Handlers.Handler(UntrustedHandler)
	if err != nil {
		return "", config.Handler{}, fmt.Errorf("annotation %s: %w", UntrustedAnnotation, err)
	}
	return name, h, nil
}

func sharesHost(modes *runtimeapi.NamespaceOption) bool {
	const node = runtimeapi.NamespaceMode_NODE
	return modes.GetNetwork() == node || modes.GetPid() == node || modes.GetIpc() == node
}

func untrusted(format string, args ...any) error {
	return fmt.Errorf("annotation %s: %s: %w", UntrustedAnnotation, fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument)
}
