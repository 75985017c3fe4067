// SPDX-License-Identifier: Apache-2.0

package container

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

// Events publishes the events of containers (KEP-3386). It must not block.
type Events interface {
	// PublishContainer publishes an event of a container. r is its record, or the last one if the
	// container was removed.
	PublishContainer(kind runtimeapi.ContainerEventType, r *Record)
}

// publish derives the event from a change that readers see:
//
//	before   after    → event
//	nothing  any      → created
//	created  running  → started
//	created  exited   → stopped (the start failed)
//	running  exited   → stopped
//	any      nothing  → deleted
//
// A change within a state is no event. Package store calls publish in the order of the changes to a
// container.
func publish(events Events, before, after *Record) {
	switch {
	case after == nil:
		events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, before)
	case before == nil:
		events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, after)
	case before.State() == after.State():
	case after.running():
		events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, after)
	default:
		events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, after)
	}
}
