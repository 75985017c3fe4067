// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/metadata"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/urfave/cli/v3"
	"go.etcd.io/bbolt"

	"github.com/containerd-lite/containerd-lite/plugin/adopt"
)

// handBackCommand returns the command that shows what becomes of the pods of containerd-lite when
// containerd takes its place. It changes nothing: the pods carry what containerd needs.
func handBackCommand() *cli.Command {
	return &cli.Command{
		Name: "handback",
		Usage: "List the pods of containerd-lite, whether it runs or not, and what becomes of each when containerd takes its place. " +
			"Nothing has to be done before the change",
		Action: func(ctx context.Context, cmd *cli.Command) error {
			found, err := configOf(ctx, cmd)
			if err != nil {
				return err
			}
			client, closeAll, err := dialOrOpen(ctx, address(cmd, found.Config), rootOf(found))
			if err != nil {
				return err
			}
			defer closeAll()
			pods, err := records(client, found).HandBack(namespaces.WithNamespace(ctx, kubernetes))
			if err != nil {
				return err
			}
			listHandBack(cmd.Root().Writer, pods)
			return nil
		},
	}
}

// dialOrOpen returns a client of the daemon or, if none runs, of the metadata in its root
// directory.
func dialOrOpen(ctx context.Context, address, root string) (client *containerd.Client, closeAll func(), err error) {
	if client, err = dial(address); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if _, err = client.Version(ctx); err == nil {
		return client, func() { client.Close() }, nil
	}
	client.Close()
	path := filepath.Join(root, string(plugins.MetadataPlugin)+".bolt", "meta.db")
	db, openErr := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: dialTimeout})
	if openErr != nil {
		return nil, nil, errors.Join(fmt.Errorf("containerd at %s: %w", address, err), fmt.Errorf("open metadata: %w", openErr))
	}
	saved := metadata.NewDB(db, nil, nil)
	client, err = containerd.New("", containerd.WithServices(
		containerd.WithContainerStore(metadata.NewContainerStore(saved)),
		containerd.WithSandboxStore(metadata.NewSandboxStore(saved)),
	))
	if err != nil {
		return nil, nil, errors.Join(err, db.Close())
	}
	return client, func() { db.Close() }, nil
}

func listHandBack(out io.Writer, pods []adopt.HandedBack) {
	lost := 0
	for _, p := range pods {
		if p.Lost {
			lost++
		}
		fmt.Fprintln(out, describeHandBack(p))
	}
	fmt.Fprintf(out, "%d pods; %d would be lost\n", len(pods), lost)
}

// describeHandBack returns a line about a pod.
func describeHandBack(p adopt.HandedBack) string {
	var line strings.Builder
	switch {
	case p.Lost:
		return p.Pod + ": lost: its record is of an earlier release (start this containerd-lite once)"
	case p.Unreadable:
		return p.Pod + ": found by containerd; its record of containerd-lite cannot be read"
	case p.Ready:
		fmt.Fprintf(&line, "%s: keeps running; containers: %d", p.Pod, p.Containers)
	default:
		fmt.Fprintf(&line, "%s: stays NotReady; containers: %d", p.Pod, p.Containers)
	}
	for _, l := range p.Limits {
		fmt.Fprintf(&line, "; with containerd before %s: %s", l.Before, l.What)
	}
	return line.String()
}
