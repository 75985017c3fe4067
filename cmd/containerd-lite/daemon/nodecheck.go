// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/urfave/cli/v3"

	"github.com/containerd-lite/containerd-lite/plugin"
	"github.com/containerd-lite/containerd-lite/plugin/check"
	"github.com/containerd-lite/containerd-lite/plugin/config"
)

// programTimeout bounds the answer of an OCI runtime to --version.
const programTimeout = 10 * time.Second

// checkCommand returns the command that examines the node. It needs no daemon.
func checkCommand() *cli.Command {
	const asJSON, local = "json", "local"
	return &cli.Command{
		Name:  "check",
		Usage: "Find what prevents this node from running pods, and say what to type. The command fails if there is an error; a warning does not make it fail",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: asJSON, Usage: "Print JSON"},
			&cli.BoolFlag{Name: local, Usage: "Ask no registries"},
		},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			found := examineNode(ctx, cmd, cmd.Bool(local))
			if err := printFindings(cmd.Root().Writer, found, cmd.Bool(asJSON)); err != nil {
				return err
			}
			if check.HasErrors(found) {
				return errors.New("this node cannot run all pods")
			}
			return nil
		},
	}
}

// examineNode runs all checks. With a config that is not valid, only its errors are found.
func examineNode(ctx context.Context, cmd *cli.Command, local bool) []check.Finding {
	c, err := configOf(ctx, cmd)
	if err != nil {
		return configFindings(err)
	}
	what := "no config.toml; the defaults apply"
	if path, found := configPath(cmd); found {
		what = path + " is valid"
	}
	all := []check.Finding{{Level: check.OK, Check: "config", What: what}}
	all = append(all, nodeOf(cmd, c).Local(ctx)...)
	if !local {
		all = append(all, plugin.CheckRegistries(ctx, c.cri.images)...)
	}
	return all
}

// nodeOf returns this node with a config.
func nodeOf(cmd *cli.Command, c *checked) check.Node {
	c.cri.runtime.Complete()
	return check.Node{
		Config:   config.Config{Images: c.cri.images, Runtime: c.cri.runtime, Server: c.cri.server},
		Root:     "/",
		DataDirs: []string{rootOf(c), cmp.Or(c.State, defaults.DefaultStateDir)},
		Endpoint: address(cmd, c.Config),
		RuntimeVersion: func(ctx context.Context, handler string) (string, string, error) {
			return programVersion(ctx, c, handler)
		},
	}
}

// configFindings returns a finding for each error in the config.
func configFindings(err error) (all []check.Finding) {
	problems := []error{err}
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		problems = joined.Unwrap()
	}
	for _, problem := range problems {
		all = append(all, check.Finding{
			Level: check.Error, Check: "config", What: "the daemon does not start: " + problem.Error(),
			Do: "mend the line; `containerd-lite config check` reads the file again",
		})
	}
	return all
}

// programVersion runs the OCI runtime of a handler with --version. The first line of the answer of
// runc and crun is "NAME version VERSION".
func programVersion(ctx context.Context, c *checked, handler string) (name, version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, programTimeout)
	defer cancel()
	program := c.cri.runtime.Containerd.Runtimes[handler].Program()
	ask := exec.CommandContext(ctx, program, "--version")
	ask.WaitDelay = time.Second // for a child that keeps its output open
	said, err := ask.Output()
	if err != nil {
		return "", "", fmt.Errorf("%s --version: %w", program, err)
	}
	first, _, _ := strings.Cut(string(said), "\n")
	if fields := strings.Fields(first); len(fields) == 3 && fields[1] == "version" {
		return filepath.Base(fields[0]), fields[2], nil
	}
	return "", "", nil // another runtime
}

func printFindings(out io.Writer, all []check.Finding, asJSON bool) error {
	if asJSON {
		return encode(out, all)
	}
	counts := map[check.Level]int{}
	for _, f := range all {
		counts[f.Level]++
		fmt.Fprintln(out, f)
	}
	fmt.Fprintf(out, "%d errors, %d warnings, %d ok\n", counts[check.Error], counts[check.Warning], counts[check.OK])
	return nil
}
