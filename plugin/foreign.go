// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"context"
	"fmt"
	"strings"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/log"

	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// maxNamed is how many foreign pods a log line names.
const maxNamed = 5

// warnOfForeign logs one line if containerd's built-in CRI has left pods on this node.
func warnOfForeign(ctx context.Context, sandboxes sandbox.Store, saved containers.Store) {
	found, err := runtime.FindForeign(ctx, sandboxes, saved)
	if err != nil {
		log.G(ctx).WithError(err).Warn("pods of containerd's built-in CRI are not counted; look with `ctr -n k8s.io containers ls`")
		return
	}
	if line := foreignLine(found); line != "" {
		log.G(ctx).Warn(line)
	}
}

// foreignLine says how many pods there are, what that means and what to do; "" for none.
func foreignLine(f runtime.Foreign) string {
	if len(f.Pods) == 0 && f.Containers == 0 {
		return ""
	}
	names := f.Pods
	more := ""
	if len(names) > maxNamed {
		names, more = names[:maxNamed], ", …"
	}
	return fmt.Sprintf("%d pods and %d containers of containerd's built-in CRI are on this node (%s%s): they are not managed, the kubelet "+
		"does not see them and starts their pods a second time; start containerd again to remove them, and drain the node before the next change",
		len(f.Pods), f.Containers, strings.Join(names, ", "), more)
}
