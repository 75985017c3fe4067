// SPDX-License-Identifier: Apache-2.0

// Demo shows the use of containerd-lite: it pulls an image, runs a pod with an IP address, sends
// HTTP requests to its server, reads its log, runs a command in it, reaches it through ports of the
// host, and removes everything. Each step is a crictl command that is printed before it runs. The
// registry of the image, the CNI bridge and the daemon run in a temporary root that is removed at
// the end.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	title("Start a registry, a CNI network and the daemon in a temporary root")
	bench, err := harness.New(ctx, harness.FromEnv())
	if err != nil {
		return err
	}
	say("%s, pid %d, socket %s", bench.Options.Daemon, bench.Daemon.PID(), bench.Daemon.Socket)
	d := &demo{bench: bench, ctx: ctx}
	d.port, d.err = harness.FreePort()
	d.steps()
	if d.err != nil {
		say("end of the daemon's log:\n%s", bench.Daemon.LogTail(20))
	}
	title("Check for leaks, and stop")
	// Everything is also removed after a ^C.
	if err := errors.Join(d.err, bench.Close(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	say("no process, mount, namespace, link, cgroup, file, address or iptables rule was left behind")
	return nil
}

// demo keeps the first error; after an error all further steps are skipped.
type demo struct {
	bench *harness.Bench
	ctx   context.Context
	err   error

	port           int32 // of 127.0.0.1; the pod's port is published there
	pod, container string
}

func (d *demo) steps() {
	title("Pull an image")
	d.crictl("pull", image.Httpd)
	d.crictl("images")

	title("Run a pod with a container")
	pod, container := d.configs()
	d.pod = d.crictl("runp", pod)
	d.container = d.crictl("create", d.pod, container, pod)
	d.crictl("start", d.container)
	d.crictl("pods")
	d.crictl("ps")

	title("Send HTTP requests: to its address, to a port of the host, and through port-forward")
	address := d.crictl("inspectp", "--output", "go-template", "--template", "{{.status.network.ip}}", d.pod)
	d.get("http://" + address + "/")
	d.get(fmt.Sprintf("http://127.0.0.1:%d/", d.port))
	d.forward()

	title("Read its log, run a command in it, show its resource usage")
	d.crictl("logs", d.container)
	d.crictl("exec", d.container, "sh", "-c", "hostname; id; ifconfig eth0 | grep inet")
	d.crictl("stats", d.container)

	title("Remove everything")
	d.remove()
}

// remove also runs after an error.
func (d *demo) remove() {
	first := d.err
	d.err = nil
	if d.container != "" {
		d.crictl("stop", d.container)
		d.crictl("rm", d.container)
	}
	if d.pod != "" {
		d.crictl("stopp", d.pod)
		d.crictl("rmp", d.pod)
	}
	d.crictl("rmi", image.Httpd)
	d.err = errors.Join(first, d.err)
}

// crictl runs crictl. It prints the command and its output, and returns the output.
func (d *demo) crictl(args ...string) string {
	if d.err == nil {
		d.err = d.ctx.Err()
	}
	if d.err != nil {
		return ""
	}
	fmt.Printf("$ crictl %s\n", strings.Join(args, " "))
	cmd := d.bench.Crictl(context.WithoutCancel(d.ctx), args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := harness.Output(cmd)
	say("%s\n%s", out, stderr.String())
	d.err = err
	return out
}

func title(text string) { fmt.Printf("\n%s\n%s\n", text, strings.Repeat("-", len(text))) }

func say(format string, args ...any) {
	// crictl stats clears the screen first.
	text := strings.TrimSpace(strings.ReplaceAll(fmt.Sprintf(format, args...), "\x1b[2J\x1b[H", ""))
	if text != "" {
		fmt.Println("  " + strings.ReplaceAll(text, "\n", "\n  "))
	}
}
