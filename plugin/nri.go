// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"fmt"

	"github.com/containerd/containerd/v2/pkg/deprecation"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/containerd/v2/plugins/services/warning"
	"github.com/containerd/containerd/v2/version"
	"github.com/containerd/log"
	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/plugin"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/nri"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// nriNode implements [nri.Node].
type nriNode struct {
	pods       *pod.Manager
	containers container.PluginView
}

// Subjects implements [nri.Node].
func (n nriNode) Subjects(ctx context.Context) (pods, containers []nri.Subject) {
	return n.pods.Subjects(ctx), n.containers.Subjects(ctx)
}

// Update implements [nri.Node].
func (n nriNode) Update(ctx context.Context, id string, resources *api.LinuxResources) error {
	return n.containers.Update(ctx, id, resources)
}

// nriOptions returns the options of the NRI plugins. containerd's NRI plugin decodes the table. Its
// instance serves only the built-in CRI and is stopped here. If disabled_plugins names it, NRI is
// off.
func nriOptions(ic *plugin.InitContext) (nri.Options, error) {
	own := ic.Plugins().Get(plugins.NRIApiPlugin, "nri")
	if own == nil || plugin.IsSkipPlugin(own.Err()) {
		log.G(ic.Context).Info("NRI is off, because containerd's NRI plugin is disabled")
		return nri.Options{Config: config.NRI{Disable: true}}, nil
	}
	if err := own.Err(); err != nil {
		return nri.Options{}, fmt.Errorf("table %s: %w", config.NRITable, err)
	}
	table, err := config.NRIFrom(own.Config)
	if err != nil {
		return nri.Options{}, err
	}
	if instance, err := own.Instance(); err == nil {
		instance.(interface{ Stop() }).Stop()
	}
	ws, err := ic.GetSingle(plugins.WarningPlugin)
	if err != nil {
		return nri.Options{}, err
	}
	return nri.Options{
		Config:  table,
		Name:    version.Name,
		Version: version.Version,
		Deprecated: func(ctx context.Context, name, details string) {
			ws.(warning.Service).Emit(ctx, deprecation.NRIPluginInterface)
			log.G(ctx).WithField("plugin", name).WithField("details", details).Warn("NRI plugin uses an interface that NRI will drop; build it with a newer NRI")
		},
	}, nil
}
