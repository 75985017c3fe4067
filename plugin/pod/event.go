// SPDX-License-Identifier: Apache-2.0

package pod

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

// Events publishes events of pods (KEP-3386). It must not block.
type Events interface {
	// PublishPod publishes an event of a pod. r is its record, the last one if the pod was deleted.
	PublishPod(kind runtimeapi.ContainerEventType, r *Record)
}

// publishChange publishes the events for a change of a record:
//
//	before    after      → events
//	nothing   ready      → created, started
//	nothing   not ready  → created, stopped: a failed Run left resources
//	ready     not ready  → stopped: Stop was called, or the init exited
//	any       nothing    → deleted
//
// Records in the state Creating count as nothing. Package store calls it in the order of the
// changes to a pod.
func publishChange(events Events, before, after *Record) {
	if !visible(after) {
		if visible(before) {
			events.PublishPod(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, before)
		}
		return
	}
	if !visible(before) {
		events.PublishPod(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, after)
	}
	switch {
	case after.State == Ready && (!visible(before) || before.State != Ready):
		events.PublishPod(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, after)
	case after.State != Ready && (!visible(before) || before.State == Ready):
		events.PublishPod(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, after)
	}
}

// visible reports whether callers can see the pod of a record.
func visible(r *Record) bool { return r != nil && r.State != Creating }
