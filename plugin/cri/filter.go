// SPDX-License-Identifier: Apache-2.0

package cri

import "strings"

// hasIDPrefix tells whether an id matches a filter's, which may be the start of
// one; the empty filter matches all.
func hasIDPrefix(id, filter string) bool { return strings.HasPrefix(id, filter) }

// hasLabels tells whether labels contain all of a selector's.
func hasLabels(labels, selector map[string]string) bool {
	for key, want := range selector {
		if got, ok := labels[key]; !ok || got != want {
			return false
		}
	}
	return true
}
