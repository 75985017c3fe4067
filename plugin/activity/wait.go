// SPDX-License-Identifier: Apache-2.0

package activity

// Peer is what a step waits for. It is a label of the metrics.
type Peer string

// The peers of the daemon.
const (
	Shim     Peer = "shim"
	Disk     Peer = "disk" // containerd's metadata, and its snapshotters
	CNI      Peer = "cni"
	NRI      Peer = "nri"
	Registry Peer = "registry"
)

// Wait is what a step waits for.
type Wait struct {
	For Peer
	// Operation is one of few, because it is a label of the metrics.
	Operation string
	// Object is the ID, the name or the host that the operation is about; "" for none.
	Object string
}

// String returns the name of the step, such as "CNI plugin bridge: ADD".
func (w Wait) String() string {
	switch w.For {
	case Shim:
		return "shim of " + w.Object + ": " + w.Operation
	case CNI:
		return "CNI plugin " + w.Object + ": " + w.Operation
	case NRI:
		return "NRI plugins: " + w.Operation
	case Registry:
		return "registry " + w.Object
	default:
		return "disk: " + w.Operation + " " + w.Object
	}
}
