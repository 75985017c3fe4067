// SPDX-License-Identifier: Apache-2.0

package task

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/containerd-lite/containerd-lite/shim/fastexec"
	"github.com/containerd-lite/containerd-lite/shim/oci"
	"github.com/containerd-lite/containerd-lite/shim/reap"
)

// allowFastExec sets fastExec if the container needs nothing that only the runtime does.
func (s *setup) allowFastExec(config []byte) {
	// They are known when runc has created the container, and do not change.
	s.cgroups = sync.OnceValues(func() (map[string]string, error) { return s.runtime.Cgroups(s.id) })
	container, err := fastexec.New(s.id, config, !s.opts.GetNoNewKeyring())
	if err == nil && s.opts.GetNoPivotRoot() {
		err = errors.New("the root of its mount namespace is that of the node (NoPivotRoot)")
	}
	if err != nil {
		s.log().WithError(err).Debug("FastExec has no effect for the container")
		return
	}
	s.fastExec = container
}

// startFast starts the exec without the runtime. If it returns false, no program was executed, and
// the runtime must be called: it knows more kinds of containers, and its errors are those that
// users know (docs/decisions/0020).
func (e *exec) startFast(ctx context.Context, target *oci.Process) bool {
	if e.setup.fastExec == nil {
		return false
	}
	err := e.tryFast(ctx, target)
	if err != nil {
		e.setup.log().WithError(err).WithField("exec", e.execID).Debug("exec not started without the OCI runtime; starting it with the runtime")
	}
	return err == nil
}

func (e *exec) tryFast(ctx context.Context, target *oci.Process) error {
	init, err := e.admission.runningInit()
	if err != nil {
		return err
	}
	// The start would wait for the end of the pause; the runtime returns an error.
	if group := e.resources.group(); group == nil || !group.Thawed() {
		return errors.New("the container is paused, or its cgroup is unknown")
	}
	cgroups, err := e.setup.cgroups()
	if err != nil {
		return err
	}
	return e.setup.fastExec.Start(ctx, &fastexec.Exec{Init: init, Cgroups: cgroups, Process: e.spec, Target: target})
}

// runningInit returns the process of an init that runs.
func (a *admission) runningInit() (*reap.Child, error) {
	a.init.mu.Lock()
	defer a.init.mu.Unlock()
	child, ok := a.init.child.(*reap.Child)
	if !ok || a.init.state != running {
		return nil, fmt.Errorf("the init is %s", a.init.state)
	}
	return child, nil
}
