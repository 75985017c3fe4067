// SPDX-License-Identifier: Apache-2.0

package task

import (
	"slices"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
)

// maxHistory bounds the results that are kept for clients that ask twice. Of a
// shim with many pods the execs of all count.
const maxHistory = 128

// history holds the results of the latest deletions, the oldest first.
type history []pastProcess

type pastProcess struct {
	id, execID string
	response   *taskapi.DeleteResponse
}

func (h *history) add(id, execID string, response *taskapi.DeleteResponse) {
	if len(*h) >= maxHistory {
		*h = slices.Delete(*h, 0, 1)
	}
	*h = append(*h, pastProcess{id, execID, response})
}

func (h *history) find(id, execID string) *taskapi.DeleteResponse {
	for _, p := range slices.Backward(*h) {
		if p.id == id && p.execID == execID {
			return p.response
		}
	}
	return nil
}

// drop forgets a container whose id is used again.
func (h *history) drop(id string) {
	*h = slices.DeleteFunc(*h, func(p pastProcess) bool { return p.id == id })
}
