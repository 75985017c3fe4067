// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	srvconfig "github.com/containerd/containerd/v2/cmd/containerd/server/config"
)

// changedTables returns the keys and tables of containerd and its plugins that differ between two
// configs. Those that a reload applies, or that have no effect of their own, are left out.
func changedTables(a, b *checked) []string {
	var changed []string
	x, y := reflect.ValueOf(*a.Config), reflect.ValueOf(*b.Config)
	for i := range x.NumField() {
		key, _, _ := strings.Cut(x.Type().Field(i).Tag.Get("toml"), ",")
		switch key {
		case "version", "imports", "plugins":
			continue
		case "debug":
			if withoutLevel(a.Debug) == withoutLevel(b.Debug) {
				continue
			}
		}
		if !same(x.Field(i).Interface(), y.Field(i).Interface()) {
			changed = append(changed, key)
		}
	}
	tables := slices.Concat(slices.Collect(maps.Keys(a.Plugins)), slices.Collect(maps.Keys(b.Plugins)))
	slices.Sort(tables)
	for _, table := range slices.Compact(tables) {
		if !slices.Contains(criTables, table) && !same(a.Plugins[table], b.Plugins[table]) {
			changed = append(changed, table)
		}
	}
	return changed
}

func withoutLevel(d srvconfig.Debug) srvconfig.Debug {
	d.Level = ""
	return d
}

// same reports whether two values of a config are equal as fmt prints them. A missing value equals
// a zero value and an empty table.
func same(a, b any) bool {
	empty := func(v any) bool {
		r := reflect.ValueOf(v)
		return !r.IsValid() || r.IsZero() || (r.Kind() == reflect.Map || r.Kind() == reflect.Slice) && r.Len() == 0
	}
	return empty(a) && empty(b) || fmt.Sprint(a) == fmt.Sprint(b)
}
