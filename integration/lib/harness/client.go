// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"

	containerd "github.com/containerd/containerd/v2/client"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Namespace is the containerd namespace of the CRI's containers.
const Namespace = "k8s.io"

// CRI is a raw client: requests reach the daemon unchanged and unchecked.
type CRI struct {
	runtimeapi.RuntimeServiceClient
	runtimeapi.ImageServiceClient
	conn *grpc.ClientConn
}

// Close closes the connection.
func (c *CRI) Close() error { return c.conn.Close() }

// CRI returns a client of the daemon. The daemon need not run yet.
func (b *Bench) CRI() (*CRI, error) {
	conn, err := grpc.NewClient("unix://"+b.Daemon.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &CRI{runtimeapi.NewRuntimeServiceClient(conn), runtimeapi.NewImageServiceClient(conn), conn}, nil
}

// Containerd returns a client of the daemon's own API, in the namespace of the CRI.
func (b *Bench) Containerd() (*containerd.Client, error) {
	return containerd.New(b.Daemon.Socket, containerd.WithDefaultNamespace(Namespace), containerd.WithTimeout(hangTimeout))
}

// Crictl returns a crictl command for the daemon.
func (b *Bench) Crictl(ctx context.Context, args ...string) *exec.Cmd {
	return b.command(ctx, "crictl", append([]string{"--config", b.CrictlConfig()}, args...)...)
}

// CrictlConfig returns the path of the crictl.yaml that names the daemon's socket.
func (b *Bench) CrictlConfig() string { return b.Path("crictl.yaml") }

func (b *Bench) writeCrictlConfig() error {
	endpoint := "unix://" + b.Daemon.Socket
	text := fmt.Sprintf("runtime-endpoint: %q\nimage-endpoint: %q\ntimeout: %d\n", endpoint, endpoint, int(hangTimeout.Seconds()))
	return os.WriteFile(b.CrictlConfig(), []byte(text), 0o644)
}

// Ctr returns a ctr command for the daemon. args may set the namespace; the default is ctr's.
func (b *Bench) Ctr(ctx context.Context, args ...string) *exec.Cmd {
	return b.command(ctx, "ctr", append([]string{"--address", b.Daemon.Socket}, args...)...)
}

// Tool returns the path of a program that `make tools` built.
func (b *Bench) Tool(name string) string { return b.repo.Tool("bin", name) }

func (b *Bench) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, b.Tool(name), args...)
	cmd.Env = append(os.Environ(), "PATH="+b.repo.path(b.Options))
	cmd.Dir = b.Root
	return cmd
}

// Output runs a command and returns its stdout; the error includes its stderr.
func Output(cmd *exec.Cmd) (string, error) {
	var stderr bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args[1:], " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), err
}
