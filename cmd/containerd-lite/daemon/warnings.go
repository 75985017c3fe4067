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

// maxNamed is how many NRI plugins a line names.
const maxNamed = 5

// warnings names what a node has set up with other plugins of containerd, and what its built-in CRI
// would do for them and ours does not yet: one line each.
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

// nriWarning is for nodes with NRI plugins: in their directories, or expected by a table of
// config.toml. A table that only repeats the defaults, as `config default` prints it, expects none.
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
	return fmt.Sprintf("NRI plugins are not called yet (%s), so what they do to pods is missing; "+
		"keep containerd on nodes that need them, or set %s = true", why, config.KeyPath(nriTable, "disable"))
}

// fileNames returns the names of the first files in a directory; none if it cannot be read.
func fileNames(dir string) []string {
	f, err := os.Open(cmp.Or(dir, os.DevNull))
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(maxNamed) // what was read before an error
	slices.Sort(names)
	return names
}

// isDefault reports whether a table has the same keys and values as the config that a plugin was
// registered with.
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

// metricsWarning is for nodes whose metrics are collected.
func metricsWarning(merged *srvconfig.Config) string {
	address := merged.Metrics.Address //nolint:staticcheck // files of version 3 and before have it here
	if table, ok := merged.Plugins[metricsTable].(map[string]any); ok {
		moved, _ := table["address"].(string)
		address = cmp.Or(moved, address)
	}
	if address == "" {
		return ""
	}
	return fmt.Sprintf("the metrics containerd_cri_* are not exported at %s yet, so rules and dashboards that use them get nothing; "+
		"those of pods and containers are at the kubelet's /metrics/cadvisor", address)
}
