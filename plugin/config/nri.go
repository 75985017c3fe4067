// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"

	validator "github.com/containerd/nri/plugins/default-validator"
	"github.com/pelletier/go-toml/v2"
)

// NRITable is the table of the NRI plugins. A plugin of containerd decodes it.
const NRITable = "io.containerd.nri.v1.nri"

// NRIValidator is the table of the validator that is built into NRI.
type NRIValidator = validator.DefaultValidatorConfig

// NRI is the table of the NRI plugins.
type NRI struct {
	Disable            bool   `toml:"disable"`
	DisableConnections bool   `toml:"disable_connections"`
	SocketPath         string `toml:"socket_path"`
	PluginPath         string `toml:"plugin_path"`
	PluginConfigPath   string `toml:"plugin_config_path"`

	// The default of NRI applies if they are not set.
	PluginRegistrationTimeout Duration `toml:"plugin_registration_timeout"`
	PluginRequestTimeout      Duration `toml:"plugin_request_timeout"`

	DefaultValidator *NRIValidator `toml:"default_validator"`
}

// NRIFrom converts the table from the type into which containerd's plugin has decoded it. That type
// is in an internal package.
func NRIFrom(decoded any) (table NRI, err error) {
	text, err := toml.Marshal(decoded)
	if err == nil {
		err = toml.Unmarshal(text, &table)
	}
	if err != nil {
		return table, fmt.Errorf("table %s: %w", NRITable, err)
	}
	return table, nil
}
