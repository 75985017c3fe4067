// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/urfave/cli/v3"

	"github.com/containerd-lite/containerd-lite/plugin/adopt"
	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/paths"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// adoptCommand returns the command that shows what becomes of the pods of a running containerd.
func adoptCommand() *cli.Command {
	const dryRun = "dry-run"
	return &cli.Command{
		Name:  "adopt",
		Usage: "With --dry-run, list the pods of the running containerd, and what becomes of each when containerd-lite takes its place",
		Flags: []cli.Flag{&cli.BoolFlag{Name: dryRun, Usage: "List the pods, and change nothing"}},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if !cmd.Bool(dryRun) {
				return errors.New("the daemon adopts the pods when it starts (use adopt --dry-run to list them)")
			}
			found, err := configOf(ctx, cmd)
			if err != nil {
				return err
			}
			return listAdoption(ctx, cmd.Root().Writer, address(cmd, found.Config), found)
		},
	}
}

// configOf reads the config.toml of a command; without one it returns the defaults.
func configOf(ctx context.Context, cmd *cli.Command) (*checked, error) {
	path, ok := configPath(cmd)
	if !ok {
		return noFile(), nil
	}
	return checkQuietly(ctx, path)
}

const (
	// kubernetes is the namespace of containerd that the CRI uses.
	kubernetes = "k8s.io"
	// dialTimeout bounds the wait for containerd.
	dialTimeout = 5 * time.Second
)

func listAdoption(ctx context.Context, out io.Writer, address string, c *checked) error {
	client, err := dial(address)
	if err != nil {
		return err
	}
	defer client.Close()
	defer silenceLog()() // the daemon logs what it cannot adopt
	outcomes, err := records(client, c).Plan(namespaces.WithNamespace(ctx, kubernetes))
	if err != nil {
		return err
	}
	for _, o := range outcomes {
		fmt.Fprintln(out, describe(o))
	}
	fmt.Fprintf(out, "%d pods; nothing was changed\n", len(outcomes))
	return nil
}

func dial(address string) (*containerd.Client, error) {
	client, err := containerd.New(address, containerd.WithTimeout(dialTimeout))
	if err != nil {
		return nil, fmt.Errorf("containerd at %s: connect: %w (start containerd, or set --address)", address, err)
	}
	return client, nil
}

// records returns what a containerd has saved of pods and containers.
func records(client *containerd.Client, c *checked) *adopt.Store {
	c.cri.runtime.Complete()
	dirs := paths.Paths{
		Root:  filepath.Join(rootOf(c), config.ServerTable),
		State: filepath.Join(cmp.Or(c.State, defaults.DefaultStateDir), config.ServerTable),
	}
	return adopt.New(runtime.New(client, nil), runtime.NewBuiltInCRI(client), c.cri.runtime, dirs, kubernetes)
}

func rootOf(c *checked) string { return cmp.Or(c.Root, defaults.DefaultRootDir) }

// describe returns a line about a pod.
func describe(o adopt.Outcome) string {
	switch {
	case o.Reason != "":
		return fmt.Sprintf("%s: not adopted: %s; the kubelet will stop it and create it again", o.Pod, o.Reason)
	case !o.Ready:
		return fmt.Sprintf("%s: adopted; it is NotReady already; containers: %d", o.Pod, o.Containers)
	}
	return fmt.Sprintf("%s: adopted by handler %s, keeps running; containers: %d", o.Pod, o.Handler, o.Containers)
}
