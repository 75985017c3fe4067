// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
)

// daemonState returns the contents of containerd's own stores, in every namespace. Images and their
// committed snapshots are no leak: they stay until they are removed. An active snapshot belongs to
// a container.
func daemonState(ctx context.Context, client *containerd.Client) (State, error) {
	all, err := client.NamespaceService().List(ctx)
	if err != nil {
		return nil, err
	}
	state := State{}
	looks := []func(context.Context, *containerd.Client, State) error{
		containersState, tasksState, sandboxesState, snapshotsState, leasesState, ingestsState,
	}
	for _, namespace := range all {
		for _, look := range looks {
			if err := look(namespaces.WithNamespace(ctx, namespace), client, state); err != nil {
				return nil, fmt.Errorf("daemon state: %w", err)
			}
		}
	}
	return state, nil
}

func containersState(ctx context.Context, client *containerd.Client, state State) error {
	containers, err := client.ContainerService().List(ctx)
	for _, c := range containers {
		state["container"] = append(state["container"], c.ID)
	}
	return err
}

func tasksState(ctx context.Context, client *containerd.Client, state State) error {
	answer, err := client.TaskService().List(ctx, &tasks.ListTasksRequest{})
	if err != nil {
		return err
	}
	for _, task := range answer.Tasks {
		state["task"] = append(state["task"], task.ID)
	}
	return nil
}

func sandboxesState(ctx context.Context, client *containerd.Client, state State) error {
	sandboxes, err := client.SandboxStore().List(ctx)
	if errdefs.IsNotImplemented(err) { // before containerd 1.7
		return nil
	}
	for _, s := range sandboxes {
		state["sandbox"] = append(state["sandbox"], s.ID)
	}
	return err
}

func snapshotsState(ctx context.Context, client *containerd.Client, state State) error {
	return client.SnapshotService("overlayfs").Walk(ctx, func(_ context.Context, info snapshots.Info) error {
		if info.Kind != snapshots.KindCommitted {
			state["snapshot"] = append(state["snapshot"], info.Kind.String()+" "+info.Name)
		}
		return nil
	})
}

// liteLease is the lease of containerd-lite, which each start renews: it stays when stock
// containerd takes over.
const liteLease = "containerd-lite.snapshots"

func leasesState(ctx context.Context, client *containerd.Client, state State) error {
	leases, err := client.LeasesService().List(ctx)
	for _, l := range leases {
		if l.ID == liteLease {
			continue
		}
		state["lease"] = append(state["lease"], l.ID)
	}
	return err
}

func ingestsState(ctx context.Context, client *containerd.Client, state State) error {
	ingests, err := client.ContentStore().ListStatuses(ctx)
	for _, i := range ingests {
		state["ingest"] = append(state["ingest"], i.Ref)
	}
	return err
}
