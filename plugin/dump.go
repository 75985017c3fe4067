// SPDX-License-Identifier: Apache-2.0

package plugin

import (
	"time"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/plugin/container"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
)

// Records are the pods and containers for a bug report. Of the data of users they have only names
// and image references: no annotations, commands or environment variables.
type Records struct {
	Pods       []PodRecord       `json:"pods"`
	Containers []ContainerRecord `json:"containers"`
}

// PodRecord is a pod for a bug report.
type PodRecord struct {
	ID         string    `json:"id"`
	Name       string    `json:"name"` // NAMESPACE/NAME
	Attempt    uint32    `json:"attempt"`
	State      pod.State `json:"state"`
	Handler    string    `json:"handler"`
	Created    time.Time `json:"created"`
	PID        uint32    `json:"pid,omitempty"`
	IP         string    `json:"ip,omitempty"`
	Unfinished []string  `json:"unfinished,omitempty"`
}

// ContainerRecord is a container for a bug report.
type ContainerRecord struct {
	ID       string    `json:"id"`
	Pod      string    `json:"pod"` // ID
	Name     string    `json:"name"`
	Attempt  uint32    `json:"attempt"`
	State    string    `json:"state"`
	Image    string    `json:"image"`
	PID      uint32    `json:"pid,omitempty"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	Code     int32     `json:"code"`
	Reason   string    `json:"reason,omitempty"`
}

// records returns the pods and containers for a bug report.
func (s *Service) records() (all Records) {
	for _, p := range s.pods.List() {
		all.Pods = append(all.Pods, podRecord(p))
	}
	for _, c := range s.containers.List() {
		all.Containers = append(all.Containers, containerRecord(c))
	}
	return all
}

func podRecord(p *pod.Record) PodRecord {
	meta := p.Config.GetMetadata()
	return PodRecord{
		ID: p.ID, Name: meta.GetNamespace() + "/" + meta.GetName(), Attempt: meta.GetAttempt(), State: p.State,
		Handler: p.Handler, Created: time.Unix(0, p.CreatedAt), PID: p.PID, IP: p.Network.IP, Unfinished: p.Unfinished,
	}
}

func containerRecord(c *container.Record) ContainerRecord {
	meta := c.Config.GetMetadata()
	r := ContainerRecord{
		ID: c.ID, Pod: c.PodID, Name: meta.GetName(), Attempt: meta.GetAttempt(), Image: c.Image.Name,
		State: runtimeapi.ContainerState_name[int32(c.State())], PID: c.PID, Code: c.Exit.Code, Reason: c.Exit.Reason,
	}
	if c.Times.Started > 0 {
		r.Started = time.Unix(0, c.Times.Started)
	}
	if c.Times.Finished > 0 {
		r.Finished = time.Unix(0, c.Times.Finished)
	}
	return r
}
