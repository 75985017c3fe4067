// SPDX-License-Identifier: Apache-2.0

package pod

import runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

// Events is told what becomes of pods (KEP-3386). It must not block.
type Events interface {
	// PublishPod tells what has happened to a pod, whose record is r: the last
	// one, if the pod was deleted.
	PublishPod(kind runtimeapi.ContainerEventType, r *Record)
}

// announce makes events of what readers see of a change:
//
//	before    after      → events
//	nothing   ready      → created, started
//	nothing   not ready  → created, stopped: a Run failed and left something
//	ready     not ready  → stopped: somebody stops it, or its init has ended
//	any       nothing    → deleted
//
// Package store calls it, in the order of the changes to a pod.
func (m *Manager) announce(before, after *Record) {
	if !shown(after) {
		if shown(before) {
			m.Events.PublishPod(runtimeapi.ContainerEventType_CONTAINER_DELETED_EVENT, before)
		}
		return
	}
	if !shown(before) {
		m.Events.PublishPod(runtimeapi.ContainerEventType_CONTAINER_CREATED_EVENT, after)
	}
	switch {
	case after.State == Ready && (!shown(before) || before.State != Ready):
		m.Events.PublishPod(runtimeapi.ContainerEventType_CONTAINER_STARTED_EVENT, after)
	case after.State != Ready && (!shown(before) || before.State == Ready):
		m.Events.PublishPod(runtimeapi.ContainerEventType_CONTAINER_STOPPED_EVENT, after)
	}
}

// shown tells whether readers see a record.
func shown(r *Record) bool { return r != nil && r.State != Creating }
