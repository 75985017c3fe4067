// SPDX-License-Identifier: Apache-2.0

package stress

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// stage is the stage of a pod or a container in its life. It only increases.
type stage int

const (
	made    stage = iota // a container that was not started
	running              // also a pod that is ready
	ended
	gone
)

func podStage(state runtimeapi.PodSandboxState) stage {
	if state == runtimeapi.PodSandboxState_SANDBOX_READY {
		return running
	}
	return ended
}

func containerStage(state runtimeapi.ContainerState) stage {
	switch state {
	case runtimeapi.ContainerState_CONTAINER_CREATED:
		return made
	case runtimeapi.ContainerState_CONTAINER_RUNNING:
		return running
	}
	return ended
}

// history is the state of each pod and container as known from the answers.
type history struct {
	errorf func(format string, args ...any)

	mu       sync.Mutex
	objects  map[string]*object
	complain int // number of complaints
}

// object is a pod or a container.
type object struct {
	pod      string // of a container
	stage    stage
	answered bool // its ID was returned by Run or Create, not only listed
	started  bool // a start of it was acknowledged
	going    bool // its removal, or its pod's, was requested
}

func newHistory(errorf func(string, ...any)) *history {
	return &history{errorf: errorf, objects: map[string]*object{}}
}

// enough is the number of complaints that end the run.
const enough = 30

func (h *history) broken() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.complain >= enough
}

func (h *history) complainf(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.complainLocked(format, args...)
}

func (h *history) complainLocked(format string, args ...any) {
	h.complain++
	if h.complain <= enough {
		h.errorf(format, args...)
	}
}

// stages are the known stages at the begin of a call: its answer must not be older.
type stages map[string]stage

// now returns the known stages of all pods or of all containers.
func (h *history) now(containers bool) stages {
	h.mu.Lock()
	defer h.mu.Unlock()
	known := stages{}
	for id, o := range h.objects {
		if (o.pod != "") == containers {
			known[id] = o.stage
		}
	}
	return known
}

func (h *history) stageOf(id string) stage {
	h.mu.Lock()
	defer h.mu.Unlock()
	if o := h.objects[id]; o != nil {
		return o.stage
	}
	return made
}

// observe records the stage of an object in an answer. pod is the pod of a container. since is the
// known stage of the object at the begin of the call.
func (h *history) observe(what, id, pod string, since, is stage) *object {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.objects[id]
	if o == nil {
		o = &object{pod: pod}
		if p := h.objects[pod]; p != nil {
			o.going = p.going
		}
		h.objects[id] = o
	}
	if is < since {
		h.complainLocked("%s returned %s at stage %d; before the call it was at %d", what, id, is, since)
	}
	o.stage = max(o.stage, is)
	return o
}

// answer records the ID that Run or Create returned.
func (h *history) answer(what, id, pod string, since stages) {
	is := made
	if pod == "" {
		is = running
	}
	if since[id] == gone {
		h.complainf("%s returned %s, which was removed before the call", what, id)
	}
	o := h.observe(what, id, pod, made, is)
	h.mu.Lock()
	defer h.mu.Unlock()
	o.answered = true
}

// expectRemoval records that a caller is about to remove a pod or container.
func (h *history) expectRemoval(id string) {
	if id == "" { // no pod is known: no call is made
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for other, o := range h.objects {
		if other == id || o.pod == id {
			o.going = true
		}
	}
}

// advance records the stage that a call has reached.
func (h *history) advance(id string, is stage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.objects[id]
	if o == nil {
		return
	}
	if is == running {
		o.started = true
	}
	if is == ended && o.stage == made {
		return // a container that was never started has not exited
	}
	o.stage = max(o.stage, is)
	for _, member := range h.objects {
		if member.pod != id {
			continue
		}
		if is == gone || member.stage == running {
			member.stage = max(member.stage, is)
		}
	}
}

// missing records that an answer did not contain an object.
func (h *history) missing(what, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.objects[id]
	if o == nil {
		return
	}
	if o.answered && !o.going {
		h.complainLocked("%s does not know %s, which was not removed", what, id)
	}
	o.stage = gone
}

// counts are the numbers of answers by call and code.
type counts struct {
	mu sync.Mutex
	by map[string]map[codes.Code]int
}

func newCounts() *counts { return &counts{by: map[string]map[codes.Code]int{}} }

func (c *counts) add(call string, code codes.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[call] == nil {
		c.by[call] = map[codes.Code]int{}
	}
	c.by[call][code]++
}

func (c *counts) report() {
	for _, call := range sorted(c.by) {
		line := fmt.Sprintf("report: stress: %-26s", call)
		for _, code := range sorted(c.by[call]) {
			line += fmt.Sprintf(" %s %d", code, c.by[call][code])
		}
		fmt.Println(line)
	}
}
