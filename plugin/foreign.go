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

// maxNamedPods is how many foreign pods a log line names.
const maxNamedPods = 5

// warnOfForeign logs a line if pods of containerd's built-in CRI are on this node.
func warnOfForeign(ctx context.Context, sandboxes sandbox.Store, saved containers.Store) {
	found, err := runtime.FindForeign(ctx, sandboxes, saved)
	if err != nil {
		log.G(ctx).WithError(err).Warn("search for pods of containerd's built-in CRI failed; check with `ctr -n k8s.io containers ls`")
		return
	}
	if line := foreignLine(found); line != "" {
		log.G(ctx).Warn(line)
	}
}

// foreignLine returns the text of the log line, or "" if there are no such pods.
func foreignLine(f runtime.Foreign) string {
	if len(f.Pods) == 0 && f.Containers == 0 {
		return ""
	}
	names := f.Pods
	more := ""
	if len(names) > maxNamedPods {
		names, more = names[:maxNamedPods], ", …"
	}
	return fmt.Sprintf("%d pods and %d containers of containerd's built-in CRI are on this node (%s%s): they are not managed, the kubelet "+
		"does not see them and starts the same pods again; run stock containerd to remove them, and drain the node before changing to containerd-lite",
		len(f.Pods), f.Containers, strings.Join(names, ", "), more)
}
