// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"github.com/pelletier/go-toml/v2"

	"github.com/containerd-lite/containerd-lite/plugin/config"
)

const (
	nriTable     = string(plugins.NRIApiPlugin) + ".nri"
	metricsTable = string(plugins.ServerPlugin) + ".metrics"
)

// maxNamed is the maximum number of NRI plugins in a warning.
const maxNamed = 5

// warnings returns a line for each feature of the built-in CRI that is configured on this node, by
// tables of other plugins of containerd, and that this CRI lacks.
func warnings(merged *srvconfig.Config) []string {
	if slices.Contains(merged.DisabledPlugins, config.ServerTable) {
		return nil
	}
	var lines []string
	for _, line := range []string{nriWarning(merged), metricsWarning(merged)} {
		if line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// nriWarning returns a warning if the node has NRI plugins: in their directories, or implied by a
// table of config.toml. A table with the defaults, as `config default` prints it, implies none.
func nriWarning(merged *srvconfig.Config) string {
	nri := struct {
		Disable          bool   `toml:"disable"`
		PluginPath       string `toml:"plugin_path"`
		PluginConfigPath string `toml:"plugin_config_path"`
	}{PluginPath: "/opt/nri/plugins", PluginConfigPath: "/etc/nri/conf.d"}
	table := merged.Plugins[nriTable]
	data, err := toml.Marshal(table)
	if err == nil && table != nil {
		err = toml.Unmarshal(data, &nri)
	}
	if err != nil || nri.Disable || slices.Contains(merged.DisabledPlugins, nriTable) {
		return ""
	}
	why := ""
	for _, dir := range []string{nri.PluginPath, nri.PluginConfigPath} {
		if names := fileNames(dir); len(names) > 0 {
			why = fmt.Sprintf("%s has %s", dir, strings.Join(names, ", "))
			break
		}
	}
	if why == "" && table != nil && !isDefault(nriTable, table) {
		why = "config.toml configures them"
	}
	if why == "" {
		return ""
	}
	return fmt.Sprintf("NRI plugins are not called yet (%s), so their changes to pods are missing; "+
		"keep containerd on nodes that need them, or set %s = true", why, config.KeyPath(nriTable, "disable"))
}

// fileNames returns the names of the first files in a directory, or none if the directory cannot be
// read.
func fileNames(dir string) []string {
	f, err := os.Open(cmp.Or(dir, os.DevNull))
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(maxNamed) // after an error, those before it
	slices.Sort(names)
	return names
}

// isDefault reports whether a table equals the config that the plugin registered.
func isDefault(uri string, table any) bool {
	all := registry.Graph(func(*plugin.Registration) bool { return false })
	found := slices.IndexFunc(all, func(r plugin.Registration) bool { return r.URI() == uri })
	if found < 0 {
		return false
	}
	var defaults map[string]any
	data, err := toml.Marshal(all[found].Config)
	return err == nil && toml.Unmarshal(data, &defaults) == nil && reflect.DeepEqual(defaults, table)
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
