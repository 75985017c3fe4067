// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/containerd/api/runtime/bootstrap/v1"
	"github.com/containerd/errdefs"
	"github.com/containerd/ttrpc"
)

// dialShim connects to the shim of a task, for services that containerd has no API for. The shim's
// address is in the task's bundle, a directory in bundles.
func dialShim(bundles, id string) (*ttrpc.Client, error) {
	data, err := os.ReadFile(filepath.Join(bundles, id, "bootstrap.json"))
	if os.IsNotExist(err) {
		return nil, fmt.Errorf("shim of task %s: %w", id, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("shim of task %s: %w", id, err)
	}
	var shim bootstrap.BootstrapResult
	if err := json.Unmarshal(data, &shim); err != nil {
		return nil, fmt.Errorf("shim of task %s: %w", id, err)
	}
	// connect(2) does not wait for a shim: it fails if the backlog of the socket is full.
	conn, err := net.Dial("unix", strings.TrimPrefix(shim.Address, "unix://"))
	if err != nil {
		return nil, fmt.Errorf("shim of task %s: %w: %w", id, errdefs.ErrUnavailable, err)
	}
	return ttrpc.NewClient(conn), nil
}
