// SPDX-License-Identifier: Apache-2.0

package runtimetest

import (
	"context"
	"encoding/json"
	"fmt"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/errdefs"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/proto"

	"github.com/containerd-lite/containerd-lite/internal/fault"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// Containerd fakes [runtime.Client]. It outlives the managers that use it, as containerd's metadata
// and shims outlive the daemon.
type Containerd struct {
	*fault.World

	// SandboxRecords and ContainerRecords are the saved records, as JSON by ID.
	SandboxRecords   map[string][]byte
	ContainerRecords map[string][]byte
	// Foreign is the ID of a container of another CRI plugin.
	Foreign string
	// Created is the argument of the last CreateContainer that succeeded.
	Created runtime.Container
	// Rootfs is the root file system of each snapshot.
	Rootfs []mount.Mount
	// Metrics is the answer of shims to Stats; nil makes them return an error.
	Metrics proto.Message

	state func(record any) string
	specs map[string][]byte // OCI specs of containers, as JSON by ID
	tasks map[string]*Task
}

// New returns a containerd without pods and containers. state returns the state of a record, which
// is part of the steps that save the record.
func New(state func(record any) string) *Containerd {
	return &Containerd{
		World:            fault.NewWorld(),
		SandboxRecords:   map[string][]byte{},
		ContainerRecords: map[string][]byte{},
		state:            state,
		specs:            map[string][]byte{},
		tasks:            map[string]*Task{},
	}
}

// CreateSandbox is the step "create record". The resource "record" exists only if it succeeds.
func (c *Containerd) CreateSandbox(_ context.Context, s runtime.Sandbox) error {
	if err := c.Makes("create record", "record"); err != nil {
		c.Lose("record")
		return err
	}
	return c.save(c.SandboxRecords, s.ID, s.Record)
}

// SaveSandbox is the step "save" with the state of the record. The error is NotFound without the
// resource "record".
func (c *Containerd) SaveSandbox(_ context.Context, s runtime.Sandbox) error {
	if err := c.Call("save " + c.state(s.Record)); err != nil {
		return err
	}
	if !c.Has("record") {
		return errdefs.ErrNotFound
	}
	return c.save(c.SandboxRecords, s.ID, s.Record)
}

// DeleteSandbox is the step "delete record", which removes the resource "record".
func (c *Containerd) DeleteSandbox(_ context.Context, id string) error {
	if err := c.Undoes("delete record", "record"); err != nil {
		return err
	}
	c.Lock()
	defer c.Unlock()
	delete(c.SandboxRecords, id)
	return nil
}

// Sandboxes returns the saved records of pods.
func (c *Containerd) Sandboxes(context.Context) ([]runtime.Record, error) {
	return c.records(c.SandboxRecords), nil
}

// CreateContainer is the step "create container", which creates the resource "container".
func (c *Containerd) CreateContainer(_ context.Context, ctr runtime.Container) error {
	if err := c.Makes("create container", "container"); err != nil {
		return err
	}
	c.Lock()
	c.Created = ctr
	c.Unlock()
	if err := c.save(c.specs, ctr.ID, ctr.Spec); err != nil {
		return err
	}
	return c.save(c.ContainerRecords, ctr.ID, ctr.Record)
}

// SaveContainer is the step "save" with the state of the record.
func (c *Containerd) SaveContainer(_ context.Context, ctr runtime.Container) error {
	if err := c.Call("save " + c.state(ctr.Record)); err != nil {
		return err
	}
	return c.save(c.ContainerRecords, ctr.ID, ctr.Record)
}

// DeleteContainer is the step "delete container", which removes the resources "container" and
// "snapshot".
func (c *Containerd) DeleteContainer(_ context.Context, id string) error {
	if err := c.Undoes("delete container", "container"); err != nil {
		return err
	}
	c.Lose("snapshot")
	c.Lock()
	defer c.Unlock()
	delete(c.ContainerRecords, id)
	return nil
}

// Containers returns the saved records of containers.
func (c *Containerd) Containers(context.Context) ([]runtime.Record, error) {
	return c.records(c.ContainerRecords), nil
}

// Knows reports whether a pod or container has a record, or is Foreign.
func (c *Containerd) Knows(_ context.Context, id string) (bool, error) {
	c.Lock()
	defer c.Unlock()
	return c.SandboxRecords[id] != nil || c.ContainerRecords[id] != nil || c.Foreign == id, nil
}

// Spec is the step "read spec". It returns the spec with which the container was created, and no
// labels.
func (c *Containerd) Spec(_ context.Context, id string) (*specs.Spec, map[string]string, error) {
	if err := c.Call("read spec"); err != nil {
		return nil, nil, err
	}
	c.Lock()
	defer c.Unlock()
	spec := new(specs.Spec)
	return spec, nil, json.Unmarshal(c.specs[id], spec)
}

// SaveSpec is the step "save spec" with the CPU shares of the spec. It does not change the spec.
func (c *Containerd) SaveSpec(_ context.Context, _ string, s *specs.Spec) error {
	return c.Call(fmt.Sprintf("save spec %d", *s.Linux.Resources.CPU.Shares))
}

// RenewLease removes the resource "snapshot".
func (c *Containerd) RenewLease(context.Context) error { c.Lose("snapshot"); return nil }

// PrepareSnapshot is the step "snapshot", which creates the resource "snapshot".
func (c *Containerd) PrepareSnapshot(context.Context, runtime.Snapshot) ([]mount.Mount, error) {
	return c.Rootfs, c.Makes("snapshot", "snapshot")
}

// RemoveSnapshot is the step "remove snapshot", which removes the resource "snapshot".
func (c *Containerd) RemoveSnapshot(context.Context, string, string) error {
	return c.Undoes("remove snapshot", "snapshot")
}

// NewTask is the step "new task". The resource "task" exists only if it succeeds: containerd cleans
// up after a failed call.
func (c *Containerd) NewTask(_ context.Context, id string, create cio.Creator, _ runtime.TaskOptions) (runtime.Task, error) {
	if _, err := create(id); err != nil {
		return nil, err
	}
	if err := c.Makes("new task", "task"); err != nil {
		c.Lose("task")
		return nil, err
	}
	return c.AddTask(id, runtime.Created), nil
}

// AddTask adds a task without a step.
func (c *Containerd) AddTask(id string, state containerd.ProcessStatus) *Task {
	c.Lock()
	defer c.Unlock()
	c.tasks[id] = &Task{containerd: c, id: id, state: state, exited: make(chan struct{})}
	return c.tasks[id]
}

// Task returns the task of a container, nil if it has none.
func (c *Containerd) Task(id string) *Task {
	c.Lock()
	defer c.Unlock()
	return c.tasks[id]
}

// LoadTask returns the task of a container.
func (c *Containerd) LoadTask(_ context.Context, id string, _ cio.Attach) (runtime.Task, error) {
	t := c.Task(id)
	if t == nil {
		return nil, fmt.Errorf("task %s: %w", id, errdefs.ErrNotFound)
	}
	return t, nil
}

// DeleteTask is the step "delete task by force", which removes the resource "task". Without a task
// it is no step.
func (c *Containerd) DeleteTask(ctx context.Context, id string) error {
	if c.Task(id) == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	if err := c.Call("delete task by force"); err != nil {
		return err
	}
	c.forgetTask(id)
	return nil
}

func (c *Containerd) forgetTask(id string) {
	c.Lose("task")
	c.Lock()
	defer c.Unlock()
	delete(c.tasks, id)
}

func (c *Containerd) save(to map[string][]byte, id string, value any) error {
	data, err := json.Marshal(value)
	c.Lock()
	defer c.Unlock()
	to[id] = data
	return err
}

func (c *Containerd) records(saved map[string][]byte) []runtime.Record {
	c.Lock()
	defer c.Unlock()
	var records []runtime.Record
	for id, data := range saved {
		records = append(records, runtime.Record{ID: id, JSON: data})
	}
	return records
}
