// SPDX-License-Identifier: Apache-2.0

// Demo shows what a user does with containerd-lite: it pulls an image, runs a pod with an address,
// asks its server over HTTP, reads its log, runs a command in it, reaches it through ports of the
// host, and removes everything. Each step is a crictl command that is printed before it runs. The
// registry that serves the image, the CNI bridge and the daemon live in a temporary root that is
// gone at the end.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/containerd-lite/containerd-lite/integration/harness"
	"github.com/containerd-lite/containerd-lite/integration/image"
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
	d.story()
	if d.err != nil {
		say("the daemon's last words:\n%s", bench.Daemon.LogTail(20))
	}
	title("Look for anything left behind, and stop")
	// After a ^C, too, everything is removed.
	if err := errors.Join(d.err, bench.Close(context.WithoutCancel(ctx))); err != nil {
		return err
	}
	say("no process, mount, namespace, link, cgroup, file, address or iptables rule is left")
	return nil
}

// demo keeps the first error, after which every step does nothing.
type demo struct {
	bench *harness.Bench
	ctx   context.Context
	err   error

	port           int32 // of 127.0.0.1, where the pod is published
	pod, container string
}

func (d *demo) story() {
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

	title("Ask it over HTTP: at its address, at a port of the host, and through port-forward")
	address := d.crictl("inspectp", "--output", "go-template", "--template", "{{.status.network.ip}}", d.pod)
	d.get("http://" + address + "/")
	d.get(fmt.Sprintf("http://127.0.0.1:%d/", d.port))
	d.forward()

	title("Read its log, run a command in it, look at its cost")
	d.crictl("logs", d.container)
	d.crictl("exec", d.container, "sh", "-c", "hostname; id; ifconfig eth0 | grep inet")
	d.crictl("stats", d.container)

	title("Remove it all")
	d.remove()
}

// remove runs when a step before it went wrong, too.
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

// crictl runs crictl, showing the command and what it printed, which it returns.
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
