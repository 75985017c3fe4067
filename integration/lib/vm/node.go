// SPDX-License-Identifier: Apache-2.0

package vm

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
)

// Node is a guest that keeps its root file system from one boot to the next.
type Node struct{ machine machine }

// NewNode returns a guest that keeps its disk in dir. The disk starts as a copy of the image.
func (i Image) NewNode(ctx context.Context, dir string) (Node, error) {
	base, err := filepath.Abs(i.path("root.img"))
	if err != nil {
		return Node{}, err
	}
	disk := filepath.Join(dir, "root.qcow2")
	if _, err := output(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", base, disk); err != nil {
		return Node{}, fmt.Errorf("disk of a node: %w", err)
	}
	return Node{machine{image: i, disk: disk}}, nil
}

// Run boots the node as [Image.Run] boots a guest; afterwards the node is shut down in order. If
// the context ends first, that is a power failure: data that the node did not flush is lost.
func (n Node) Run(ctx context.Context, c Command, output io.Writer) (int, error) {
	return n.machine.boot(ctx, c, output)
}
