// SPDX-License-Identifier: Apache-2.0

package task

import (
	"slices"

	taskapi "github.com/containerd/containerd/api/runtime/task/v3"
)

// maxHistory bounds the results that are kept for clients that repeat a Delete. Deleted execs
// count, too, and in a shared shim those of all pods.
const maxHistory = 128

// history holds the results of the latest deletions, oldest first.
type history []deletion

type deletion struct {
	id, execID string
	response   *taskapi.DeleteResponse
}

func (h *history) add(id, execID string, response *taskapi.DeleteResponse) {
	if len(*h) >= maxHistory {
		*h = slices.Delete(*h, 0, 1)
	}
	*h = append(*h, deletion{id, execID, response})
}

func (h *history) find(id, execID string) *taskapi.DeleteResponse {
	for _, p := range slices.Backward(*h) {
		if p.id == id && p.execID == execID {
			return p.response
		}
	}
	return nil
}

// drop removes the results of a container whose id is reused.
func (h *history) drop(id string) {
	*h = slices.DeleteFunc(*h, func(p deletion) bool { return p.id == id })
}
