// SPDX-License-Identifier: Apache-2.0

package cri

import "strings"

// hasIDPrefix reports whether an id starts with the id of a filter. The empty filter matches all.
func hasIDPrefix(id, filter string) bool { return strings.HasPrefix(id, filter) }

// hasLabels reports whether labels contain all labels of a selector.
func hasLabels(labels, selector map[string]string) bool {
	for key, want := range selector {
		if got, ok := labels[key]; !ok || got != want {
			return false
		}
	}
	return true
}
