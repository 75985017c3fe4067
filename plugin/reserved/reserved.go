// SPDX-License-Identifier: Apache-2.0

package reserved

import "strings"

// prefixes are the prefixes of reserved names. containerd's pkg/labels.IsReserved has
// containerd.io/ and io.cri-containerd. Annotations with io.containerd. or io.kubernetes.cri.
// control shims: one selects the group of a task. Labels with nerdctl/ control nerdctl if it uses
// the same namespace.
var prefixes = [...]string{
	"containerd.io/",
	"io.containerd.",
	"io.cri-containerd",
	"io.kubernetes.cri.",
	"nerdctl/",
}

// Name reports whether a label or annotation is reserved.
func Name(key string) bool {
	for _, prefix := range prefixes {
		if strings.HasPrefix(key, prefix) {
			return true
		}
	}
	return false
}

// Drop returns the labels or annotations without the reserved ones.
func Drop(all map[string]string) map[string]string {
	kept := make(map[string]string, len(all))
	for key, value := range all {
		if !Name(key) {
			kept[key] = value
		}
	}
	return kept
}
