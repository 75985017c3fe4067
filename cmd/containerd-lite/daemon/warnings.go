// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"fmt"
	"slices"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/plugins"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

const metricsTable = string(plugins.ServerPlugin) + ".metrics"

// warnings returns a line for each feature of the built-in CRI that is configured on this node, by
// tables of other plugins of containerd, and that this CRI lacks.
func warnings(merged *srvconfig.Config) []string {
	if slices.Contains(merged.DisabledPlugins, config.ServerTable) {
		return nil
	}
	if line := metricsWarning(merged); line != "" {
		return []string{line}
	}
	return nil
}

// metricsWarning returns a warning if the node's metrics are collected.
func metricsWarning(merged *srvconfig.Config) string {
	address := merged.Metrics.Address //nolint:staticcheck // its place up to version 3
	if table, ok := merged.Plugins[metricsTable].(map[string]any); ok {
		moved, _ := table["address"].(string)
		address = cmp.Or(moved, address)
	}
	if address == "" {
		return ""
	}
	return fmt.Sprintf("the metrics containerd_cri_* are not exported at %s yet, so rules and dashboards that use them get no data; "+
		"metrics of pods and containers are at the kubelet's /metrics/cadvisor", address)
}
