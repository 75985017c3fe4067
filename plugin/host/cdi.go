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

// CDIDevices returns the names of the CDI devices that a container asks for, each once: those of
// its field, then those in annotations with the prefix cdi.k8s.io/, by which device plugins asked
// before the field was there.
func CDIDevices(config *runtimeapi.ContainerConfig) ([]string, error) {
	var names []string
	for _, d := range config.GetCDIDevices() {
		names = append(names, d.GetName())
	}
	_, old, err := cdi.ParseAnnotations(config.GetAnnotations())
	if err != nil {
		return nil, fmt.Errorf("annotations %s...: %w: %w", cdi.AnnotationPrefix, err, errdefs.ErrInvalidArgument)
	}
	slices.Sort(old)
	var unique []string
	for _, name := range slices.Concat(names, old) {
		if !slices.Contains(unique, name) {
			unique = append(unique, name)
		}
	}
	return unique, nil
}

// InjectCDI edits a spec as the CDI specs of the devices say; it must be the last edit. A device
// that no CDI spec describes is NotFound. The specs are read anew, from the folders that
// cdi_spec_dirs names.
func InjectCDI(ctx context.Context, s *specs.Spec, devices []string) error {
	if len(devices) == 0 {
		return nil
	}
	// A broken spec of one vendor must not keep the devices of others away.
	if err := cdi.Refresh(); err != nil {
		log.G(ctx).WithError(err).Warn("a CDI spec is not read")
	}
	unknown, err := cdi.InjectDevices(s, devices...)
	if len(unknown) > 0 {
		return fmt.Errorf("CDI devices %q: no CDI spec in cdi_spec_dirs describes them: %w", unknown, errdefs.ErrNotFound)
	}
	if err != nil {
		return fmt.Errorf("CDI devices: %w", err)
	}
	return nil
}
