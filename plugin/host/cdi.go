// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/opencontainers/runtime-spec/specs-go"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
	"tags.cncf.io/container-device-interface/pkg/cdi"
)

// CDIDevices returns the names of the CDI devices of a container without duplicates: those of the
// CRI field, followed by those of annotations with the prefix cdi.k8s.io/, which device plugins
// used before the field existed.
func CDIDevices(config *runtimeapi.ContainerConfig) ([]string, error) {
	var names []string
	for _, d := range config.GetCDIDevices() {
		names = append(names, d.GetName())
	}
	_, annotated, err := cdi.ParseAnnotations(config.GetAnnotations())
	if err != nil {
		return nil, fmt.Errorf("annotations %s...: %w: %w", cdi.AnnotationPrefix, err, errdefs.ErrInvalidArgument)
	}
	slices.Sort(annotated)
	var unique []string
	for _, name := range slices.Concat(names, annotated) {
		if !slices.Contains(unique, name) {
			unique = append(unique, name)
		}
	}
	return unique, nil
}

// InjectCDI applies the CDI specs of the devices to a spec. It must be the last edit of the spec.
// It reads the CDI specs in cdi_spec_dirs again. A device without a CDI spec is NotFound.
func InjectCDI(ctx context.Context, s *specs.Spec, devices []string) error {
	if len(devices) == 0 {
		return nil
	}
	// A broken spec of one vendor must not block the devices of others.
	if err := cdi.Refresh(); err != nil {
		log.G(ctx).WithError(err).Warn("CDI specs not read completely; devices of invalid specs are unavailable")
	}
	unknown, err := cdi.InjectDevices(s, devices...)
	if len(unknown) > 0 {
		return fmt.Errorf("CDI devices %q: no CDI spec found (see cdi_spec_dirs): %w", unknown, errdefs.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("CDI devices: %w", err)
	}
	return nil
}
