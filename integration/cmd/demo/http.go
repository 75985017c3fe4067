// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/containerd-lite/containerd-lite/integration/lib/harness"
	"github.com/containerd-lite/containerd-lite/integration/lib/image"
)

// configs writes the configs of the pod and its container and returns their paths.
func (d *demo) configs() (pod, container string) {
	config := d.bench.PodConfig("demo")
	config.PortMappings = []*runtimeapi.PortMapping{{ContainerPort: 80, HostPort: d.port, HostIp: "127.0.0.1"}}
	return d.write("pod", config), d.write("container", harness.ContainerConfig(config, "httpd", image.Httpd))
}

func (d *demo) write(name string, config any) string {
	file, err := d.bench.WriteConfig(name, config)
	if d.err == nil {
		d.err = err
	}
	return file
}

// get retries until the server, which was started a moment ago, answers.
func (d *demo) get(url string) {
	if d.err != nil {
		return
	}
	fmt.Printf("$ curl %s\n", url)
	d.err = harness.Await(d.ctx, func() error {
		answer, err := http.Get(url)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		page, err := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
		if err != nil {
			return err
		}
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, answer.Status)
		}
		say("%s", page)
		return nil
	})
}

// forward starts `crictl port-forward` on a free port, sends a request through it, and stops it.
func (d *demo) forward() {
	if d.err != nil {
		return
	}
	fmt.Printf("$ crictl port-forward %s :80 &\n", d.pod)
	cmd := d.bench.Crictl(context.WithoutCancel(d.ctx), "port-forward", d.pod, ":80")
	out, err := cmd.StdoutPipe()
	if err != nil {
		d.err = err
		return
	}
	if d.err = cmd.Start(); d.err != nil {
		return
	}
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // killed by our signal
	}()
	// Example: Forwarding from 127.0.0.1:36789 -> 80
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		d.err = fmt.Errorf("port-forward: %w", err)
		return
	}
	say("%s", line)
	if words := strings.Fields(line); len(words) > 2 {
		d.get("http://" + words[2] + "/")
	}
}
