// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/urfave/cli/v3"
	"golang.org/x/term"
	"google.golang.org/grpc"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/internal/guard"
	"github.com/containerd-lite/containerd-lite/plugin"
)

// The time between two reports of a pull's progress.
const (
	terminalPeriod = 250 * time.Millisecond
	linePeriod     = 5 * time.Second
)

// pullCommand returns the command that pulls an image as the kubelet does, and shows its progress.
func pullCommand() *cli.Command {
	const credentials = "creds"
	return &cli.Command{
		Name:      "pull",
		Usage:     "Pull an image for Kubernetes, through the CRI, and show layers, bytes, rate and the time left",
		ArgsUsage: "IMAGE",
		Flags: []cli.Flag{&cli.StringFlag{
			Name: credentials, Usage: "USER:PASSWORD for the registry; default: the credentials in config.toml", Sources: cli.EnvVars("CONTAINERD_LITE_CREDS"),
		}},
		Action: func(ctx context.Context, cmd *cli.Command) error {
			image := cmd.Args().First()
			if image == "" {
				return errors.New("the name of the image is missing")
			}
			var auth *runtimeapi.AuthConfig
			if given := cmd.String(credentials); given != "" {
				user, password, found := strings.Cut(given, ":")
				if !found {
					return errors.New("--creds has no colon between user and password")
				}
				auth = &runtimeapi.AuthConfig{Username: user, Password: password}
			}
			conn, err := connect(ctx, cmd)
			if err != nil {
				return err
			}
			defer conn.close()
			return pullImage(ctx, conn, image, auth, newProgress(cmd.Root().Writer))
		},
	}
}

// pullImage pulls an image and shows what the daemon says of the pull until it ends.
func pullImage(ctx context.Context, conn grpc.ClientConnInterface, image string, auth *runtimeapi.AuthConfig, show progress) error {
	began := time.Now()
	var pulled *runtimeapi.PullImageResponse
	done := guard.Start(ctx, "pull", func() (err error) {
		pulled, err = runtimeapi.NewImageServiceClient(conn).PullImage(ctx, &runtimeapi.PullImageRequest{
			Image: &runtimeapi.ImageSpec{Image: image}, Auth: auth,
		})
		return err
	})
	tick := time.NewTicker(show.period)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			show.clear()
			if err != nil {
				return errgrpc.ToNative(err)
			}
			fmt.Fprintf(show.out, "pulled %s as %s in %s\n", image, pulled.ImageRef, time.Since(began).Round(time.Millisecond))
			return nil
		case <-tick.C:
			// The pull goes on without a report if the daemon does not answer.
			if now, err := plugin.GetStatus(ctx, conn, ""); err == nil {
				show.line(progressOf(now, image))
			}
		}
	}
}

// progressOf returns the progress of the pull of an image.
func progressOf(now plugin.Status, image string) string {
	for _, c := range now.Calls {
		if step := c.Waits(); c.RPC == "PullImage" && c.Objects["image"] == image && step != nil {
			return step.Detail
		}
	}
	return "waiting: no transfer yet"
}

// progress prints the progress of a pull. On a terminal it overwrites one line; otherwise each
// report is a new line.
type progress struct {
	out      io.Writer
	terminal bool
	period   time.Duration
}

func newProgress(out io.Writer) progress {
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return progress{out, true, terminalPeriod}
	}
	return progress{out, false, linePeriod}
}

// eraseLine moves to the begin of the line and erases it.
const eraseLine = "\r\x1b[K"

func (p progress) line(text string) {
	if p.terminal {
		fmt.Fprint(p.out, eraseLine, text)
		return
	}
	fmt.Fprintln(p.out, text)
}

func (p progress) clear() {
	if p.terminal {
		fmt.Fprint(p.out, eraseLine)
	}
}
