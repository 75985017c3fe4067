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

// shimAddress returns the address of the shim of a task. It is in the task's bundle, a directory in
// bundles.
func shimAddress(bundles, id string) (string, error) {
	data, err := os.ReadFile(filepath.Join(bundles, id, "bootstrap.json"))
	if os.IsNotExist(err) {
		return "", fmt.Errorf("shim of task %s: %w", id, errdefs.ErrNotFound)
	}
	if err != nil {
		return "", fmt.Errorf("shim of task %s: %w", id, err)
	}
	var shim bootstrap.BootstrapResult
	if err := json.Unmarshal(data, &shim); err != nil {
		return "", fmt.Errorf("shim of task %s: %w", id, err)
	}
	return shim.Address, nil
}

// WriteAddress writes the address of the shim of a task to the file in which containerd before 2.0
// looks for it. Without the file, such a containerd takes the shim for dead at its start, and kills
// its containers.
func WriteAddress(bundles, id string) error {
	address, err := shimAddress(bundles, id)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(bundles, id, "address"), []byte(address), 0o600); err != nil {
		return fmt.Errorf("shim of task %s: write address: %w", id, err)
	}
	return nil
}

// dialShim connects to the shim of a task, for services that containerd has no API for.
func dialShim(bundles, id string) (*ttrpc.Client, error) {
	address, err := shimAddress(bundles, id)
	if err != nil {
		return nil, err
	}
	// connect(2) does not wait for a shim: it fails if the backlog of the socket is full.
	conn, err := net.Dial("unix", strings.TrimPrefix(address, "unix://"))
	if err != nil {
		return nil, fmt.Errorf("shim of task %s: %w: %w", id, errdefs.ErrUnavailable, err)
	}
	return ttrpc.NewClient(conn), nil
}
