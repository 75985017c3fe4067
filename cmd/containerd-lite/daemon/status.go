// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v3"
	"google.golang.org/grpc"

	"github.com/containerd-lite/containerd-lite/plugin"
	"github.com/containerd-lite/containerd-lite/plugin/check"
)

const (
	// statusTimeout bounds the answer of the daemon, and checkTimeout the checks of the node.
	statusTimeout = 5 * time.Second
	checkTimeout  = 500 * time.Millisecond
	// maxLines is how many calls, and how many errors, are printed.
	maxLines = 12
	// watchPeriod is the time between two lists of the pulls.
	watchPeriod = time.Second
)

// statusCommand returns the command that shows what the running daemon does.
func statusCommand() *cli.Command {
	const asJSON, watch = "json", "watch"
	flags := []cli.Flag{&cli.BoolFlag{Name: asJSON, Usage: "Print JSON"}}
	return &cli.Command{
		Name:  "status",
		Usage: "Show what the daemon does: pods, shims, calls in progress and what each waits for, pulls, the last errors",
		Flags: flags,
		Action: func(ctx context.Context, cmd *cli.Command) error {
			now, err := askStatus(ctx, cmd, "")
			if err != nil {
				return err
			}
			out := cmd.Root().Writer
			if cmd.Bool(asJSON) {
				return encode(out, now)
			}
			printStatus(out, now, errorsOf(ctx, cmd), shims("/"))
			return nil
		},
		Commands: []*cli.Command{
			{
				Name:      "pod",
				Usage:     "Show the calls of the last hour about a pod, also one that was removed, with their steps",
				ArgsUsage: "NAME | NAMESPACE/NAME",
				Flags:     flags,
				Action: func(ctx context.Context, cmd *cli.Command) error {
					name := cmd.Args().First()
					if name == "" {
						return errors.New("the name of the pod is missing")
					}
					now, err := askStatus(ctx, cmd, name)
					if err != nil {
						return err
					}
					if cmd.Bool(asJSON) {
						return encode(cmd.Root().Writer, now)
					}
					return printPod(cmd.Root().Writer, now, name)
				},
			},
			{
				Name:  "pulls",
				Usage: "Show the pulls in progress",
				Flags: []cli.Flag{&cli.BoolFlag{Name: watch, Usage: "Show them every second until interrupted"}},
				Action: func(ctx context.Context, cmd *cli.Command) error {
					show := func() error {
						now, err := askStatus(ctx, cmd, "")
						if err == nil {
							printPulls(cmd.Root().Writer, now)
						}
						return err
					}
					if !cmd.Bool(watch) {
						return show()
					}
					return repeat(ctx, show)
				},
			},
		},
	}
}

// repeat calls show until ctx ends or show returns an error.
func repeat(ctx context.Context, show func() error) error {
	tick := time.NewTicker(watchPeriod)
	defer tick.Stop()
	for {
		if err := show(); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// askStatus asks the daemon for its status; pod is as in [plugin.GetStatus].
func askStatus(ctx context.Context, cmd *cli.Command, pod string) (plugin.Status, error) {
	conn, err := connect(ctx, cmd)
	if err != nil {
		return plugin.Status{}, err
	}
	defer conn.close()
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	now, err := plugin.GetStatus(ctx, conn, pod)
	if err != nil {
		return now, fmt.Errorf("status of the daemon at %s: %w (is it containerd-lite, and does it run?)", conn.at, err)
	}
	return now, nil
}

// running is a connection to the running daemon.
type running struct {
	grpc.ClientConnInterface
	at     string // the socket
	broken error  // of the config files; then the daemon may have another socket
	close  func()
}

// connect connects to the running daemon. With config files that are not valid, the daemon runs
// with an earlier version of them.
func connect(ctx context.Context, cmd *cli.Command) (running, error) {
	c, broken := configOf(ctx, cmd)
	if broken != nil {
		c = noFile()
	}
	at := address(cmd, c.Config)
	client, err := dial(at)
	if err != nil {
		return running{}, errors.Join(broken, err)
	}
	conn := client.Conn().(grpc.ClientConnInterface) //nolint:forcetypeassert // it is a *grpc.ClientConn
	return running{conn, at, broken, func() { _ = client.Close() }}, nil
}

// errorsOf returns the errors of the node that are found at once.
func errorsOf(ctx context.Context, cmd *cli.Command) []check.Finding {
	c, err := configOf(ctx, cmd)
	if err != nil {
		return configFindings(err)
	}
	runner := check.Runner{Node: func() check.Node { return nodeOf(cmd, c) }}
	return slices.DeleteFunc(runner.Problems(ctx, checkTimeout), func(f check.Finding) bool {
		return f.Level != check.Error && f.Check != "check"
	})
}

// shimUse is how many shims run, and their resident memory in bytes.
type shimUse struct{ count, bytes int }

// shims adds up the shims of the node with this root directory, of whatever kind.
func shims(root string) (use shimUse) {
	for dir := range shimDirs(root) {
		statm, _ := os.ReadFile(filepath.Join(dir, "statm")) // it may have ended
		if fields := strings.Fields(string(statm)); len(fields) > 1 {
			pages, _ := strconv.Atoi(fields[1]) // proc_pid_statm(5)
			use.count++
			use.bytes += pages * os.Getpagesize()
		}
	}
	return use
}

func encode(out io.Writer, value any) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

func printStatus(out io.Writer, now plugin.Status, problems []check.Finding, use shimUse) {
	fmt.Fprintf(out, "up %s; %d pods, %d ready; %d containers, %d running; %d shims, %d MiB; %d goroutines",
		time.Since(now.Began).Round(time.Second), now.Pods, now.Ready, now.Containers, now.Running, use.count, use.bytes>>20, now.Goroutines)
	if now.Panics > 0 {
		fmt.Fprintf(out, "; %d panics, each a bug with its stack in the log", now.Panics)
	}
	fmt.Fprintln(out)
	for _, p := range problems {
		fmt.Fprintln(out, p)
	}
	fmt.Fprintf(out, "calls in progress: %d\n", len(now.Calls))
	for _, c := range now.Calls[:min(len(now.Calls), maxLines)] {
		fmt.Fprintln(out, " ", describeCall(c))
	}
	if more := len(now.Calls) - maxLines; more > 0 {
		fmt.Fprintf(out, "  and %d that began later\n", more)
	}
	fmt.Fprintf(out, "errors of the last hour: %d\n", len(now.Ended))
	for _, c := range now.Ended[max(0, len(now.Ended)-maxLines):] {
		fmt.Fprintf(out, "  %s %s %s: %s\n", c.Began.Local().Format(time.TimeOnly), c.RPC, objectOf(c), check.Printable(c.Error))
	}
}

// describeCall returns a line about a call in progress: since when, and what it waits for.
func describeCall(c plugin.Activity) string {
	line := fmt.Sprintf("%s %s, for %s", c.RPC, objectOf(c), c.Took.Round(time.Millisecond))
	if c.Error != "" {
		line += " (its caller has gone)"
	}
	step := c.Waits()
	if step == nil {
		return line + ": waits for an equal call, a lock, or the container"
	}
	line += fmt.Sprintf(": %s, for %s", check.Printable(step.Name), step.Took.Round(time.Millisecond))
	if step.Detail != "" {
		line += " (" + step.Detail + ")"
	}
	return line
}

// objectOf names the object of a call for a person.
func objectOf(c plugin.Activity) string {
	for _, name := range []string{c.Objects["image"], c.Pod, c.Objects["container"], c.Objects["pod"]} {
		if name != "" {
			return check.Printable(name)
		}
	}
	return "(node)"
}

func printPod(out io.Writer, now plugin.Status, name string) error {
	all := now.Ended
	for _, c := range now.Calls {
		if c.IsOf(name) {
			all = append(all, c)
		}
	}
	if len(all) == 0 {
		return fmt.Errorf("no call about pod %s in the last hour", name)
	}
	slices.SortStableFunc(all, func(a, b plugin.Activity) int { return a.Began.Compare(b.Began) })
	for _, c := range all {
		fmt.Fprintf(out, "%s  %-10s %s %s", c.Began.Local().Format("15:04:05.000"), c.Took.Round(time.Millisecond), c.RPC, objectOf(c))
		if c.Error != "" {
			fmt.Fprint(out, ": ", check.Printable(c.Error))
		}
		fmt.Fprintln(out)
		for _, s := range c.Steps {
			state := ""
			if s.Open {
				state = "  in progress " + s.Detail
			}
			fmt.Fprintf(out, "  +%-10s %-10s %s%s\n", s.Began.Sub(c.Began).Round(time.Millisecond), s.Took.Round(time.Millisecond), check.Printable(s.Name), state)
		}
	}
	return nil
}

func printPulls(out io.Writer, now plugin.Status) {
	count := 0
	for _, c := range now.Calls {
		if c.RPC == "PullImage" {
			count++
			fmt.Fprintln(out, describeCall(c))
		}
	}
	if count == 0 {
		fmt.Fprintln(out, "no pull in progress")
	}
}
