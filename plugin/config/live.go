// SPDX-License-Identifier: Apache-2.0

package config

import (
	"reflect"
	"sync/atomic"
)

// Live holds the config in effect. A reload replaces the whole config, so the values that one Get
// returns belong to the same version of the files.
type Live struct{ current atomic.Pointer[Config] }

// NewLive returns a Live with its first config.
func NewLive(c Config) *Live {
	l := new(Live)
	l.Set(c)
	return l
}

// Get returns the config. It must not be changed.
func (l *Live) Get() *Config { return l.current.Load() }

// Set replaces the config.
func (l *Live) Set(c Config) { l.current.Store(&c) }

// Handler is [Runtime.Handler] of the config in effect.
func (l *Live) Handler(name string) (string, Handler, error) { return l.Get().Runtime.Handler(name) }

// HandlerNames is [Runtime.HandlerNames] of the config in effect.
func (l *Live) HandlerNames() []string { return l.Get().Runtime.HandlerNames() }

// RuntimeType is [Runtime.RuntimeType] of the config in effect.
func (l *Live) RuntimeType(name string) string { return l.Get().Runtime.RuntimeType(name) }

// fixed lists the keys that the daemon reads only at its start.
var fixed = []struct {
	key   string
	field func(*Config) any // pointer
}{
	{RuntimeTable + ".enable_selinux", func(c *Config) any { return &c.Runtime.EnableSelinux }},
	{RuntimeTable + ".selinux_category_range", func(c *Config) any { return &c.Runtime.SelinuxCategoryRange }},
	{RuntimeTable + ".netns_mounts_under_state_dir", func(c *Config) any { return &c.Runtime.NetNSMountsUnderStateDir }},
	{RuntimeTable + ".stats_collect_period", func(c *Config) any { return &c.Runtime.StatsCollectPeriod }},
	{RuntimeTable + ".stats_retention_period", func(c *Config) any { return &c.Runtime.StatsRetentionPeriod }},
	{ImagesTable + ".stats_collect_period", func(c *Config) any { return &c.Images.StatsCollectPeriod }},
	{ServerTable + ".disable_tcp_service", func(c *Config) any { return &c.Server.DisableTCPService }},
}

// Reloaded returns next with the values of c for the keys that need a restart, and the names of
// those of them that next would change.
func (c Config) Reloaded(next Config) (Config, []string) {
	var pending []string
	for _, f := range fixed {
		now, want := reflect.ValueOf(f.field(&c)).Elem(), reflect.ValueOf(f.field(&next)).Elem()
		if !reflect.DeepEqual(now.Interface(), want.Interface()) {
			pending = append(pending, f.key)
			want.Set(now)
		}
	}
	return next, pending
}
