// SPDX-License-Identifier: Apache-2.0

package stress

import (
	"fmt"
	"sync"

	"google.golang.org/grpc/codes"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// stage is how far a pod or a container is in its life. It only grows.
type stage int

const (
	made    stage = iota // a container that was not started
	running              // a pod that is ready
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

// history is what the answers have said of each pod and each container.
type history struct {
	errorf func(format string, args ...any)

	mu       sync.Mutex
	objects  map[string]*object
	complain int // how often it did
}

// object is a pod or a container.
type object struct {
	pod      string // of a container
	stage    stage
	answered bool // its id was an answer to Run or Create, not only listed
	started  bool // an answer said that it was started
	going    bool // its removal, or its pod's, was asked for
}

func newHistory(errorf func(string, ...any)) *history {
	return &history{errorf: errorf, objects: map[string]*object{}}
}

// enough is how many complaints end the run: more of them say nothing new.
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

// stages is what was known when a call began: its answer must not be older.
type stages map[string]stage

// now is what is known of all pods (of "") or all containers.
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

// see takes down what an answer said of an object, which is in pod if it is a container. At the
// call's begin it was known to be at stage since.
func (h *history) see(what, id, pod string, since, is stage) *object {
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
		h.complainLocked("%s says that %s is at stage %d, and before the call it was at %d", what, id, is, since)
	}
	o.stage = max(o.stage, is)
	return o
}

// answer takes down the id that Run or Create has answered with.
func (h *history) answer(what, id, pod string, since stages) {
	is := made
	if pod == "" {
		is = running
	}
	if since[id] == gone {
		h.complainf("%s answers with %s, which was removed before the call", what, id)
	}
	o := h.see(what, id, pod, made, is)
	h.mu.Lock()
	defer h.mu.Unlock()
	o.answered = true
}

// ask takes down that somebody is about to remove a pod or container.
func (h *history) ask(id string) {
	if id == "" { // no pod is known, and no call made
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

// reach takes down what a call has done.
func (h *history) reach(id string, is stage) {
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
		return // who was never started has not ended
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

// missing takes down that an answer did not know an object.
func (h *history) missing(what, id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	o := h.objects[id]
	if o == nil {
		return
	}
	if o.answered && !o.going {
		h.complainLocked("%s does not know %s, which nobody has removed", what, id)
	}
	o.stage = gone
}

// counts are the answers by call and code.
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
