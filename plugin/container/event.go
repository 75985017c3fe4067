// SPDX-License-Identifier: Apache-2.0

package container

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

// Events is told what becomes of containers (KEP-3386). It must not block.
type Events interface {
	// PublishContainer tells what has happened to a container, whose record is
	// r: the last one, if the container was deleted.
	PublishContainer(kind runtimeapi.ContainerEventType, r *Record)
}

// announce makes an event of what readers see of a change:
//
//	before   after    → event
//	nothing  any      → created
//	created  running  → started
//	created  exited   → stopped: it could not be started
//	running  exited   → stopped
//	any      nothing  → deleted
//
// A change within a state is no event. Package store calls announce, in the order of the
// changes to a container.
func (m *Manager) announce(before, after *Record) {
	switch {
	case after == nil:
		m.Events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, before)
	case before == nil:
		m.Events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, after)
	case before.State() == after.State():
	case after.running():
		m.Events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, after)
	default:
		m.Events.PublishContainer(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, after)
	}
}
