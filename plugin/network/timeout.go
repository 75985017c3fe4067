// SPDX-License-Identifier: Apache-2.0

package network

import "time"

// The time limits of CNI calls. The kubelet gives up on RunPodSandbox earlier; its retry gets the
// result of the same call.
const (
	// addTimeout bounds ADD of all networks of a pod. It leaves plugin/pod time for the rest of
	// RunPodSandbox.
	addTimeout = 9 * time.Minute
	// delTimeout bounds DEL of all networks of a pod. It leaves plugin/pod time for the rest of
	// StopPodSandbox. The rollback of a pod has a shorter limit of its own.
	delTimeout = 4 * time.Minute
	// statusTimeout bounds STATUS of one network.
	statusTimeout = 5 * time.Second
	// firstStatusTimeout is how long the CRI's Status waits for the first result of STATUS.
	firstStatusTimeout = 2 * time.Second
	// pluginWaitDelay is how long to wait for the output of a plugin after it has exited: a child
	// of the plugin may hold the pipe open.
	pluginWaitDelay = time.Second
)
