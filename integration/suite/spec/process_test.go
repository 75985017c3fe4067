// SPDX-License-Identifier: Apache-2.0

package spec

import (
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// processCases are about arguments, environment, working directory and terminal, and about their
// defaults in the image.
func processCases() []podCase {
	return []podCase{{name: "process", containers: append(argumentCases(), environmentCases()...)}}
}

func command(command, args []string) func(*runtimeapi.ContainerConfig) {
	return func(c *runtimeapi.ContainerConfig) { c.Command, c.Args = command, args }
}

func argumentCases() []containerCase {
	return []containerCase{
		{name: "plain"},
		{name: "command", change: command([]string{"sleep", "1000"}, nil)},
		{name: "args", change: command(nil, []string{"sleep", "1000"})},
		{name: "command and args", change: command([]string{"sleep"}, []string{"1000", "", "a b"})},
		{name: "image", image: dressed},
		{name: "image with command", image: dressed, change: command([]string{"sleep", "1000"}, nil)},
		{name: "image with args", image: dressed, change: command(nil, []string{"echo hello"})},
		{name: "image with both", image: dressed, change: command([]string{"echo"}, []string{"hello"})},
		{name: "image with blank entrypoint", image: blankEntrypoint},
		{name: "image with blank entrypoint and args", image: blankEntrypoint, change: command(nil, []string{"true"})},
		{name: "image without PATH", image: bare},
		{name: "image with named user", image: named},
		{name: "terminal", change: func(c *runtimeapi.ContainerConfig) { c.Tty = true }},
		{name: "stdin", change: func(c *runtimeapi.ContainerConfig) { c.Stdin = true }},
		{name: "stdin once", change: func(c *runtimeapi.ContainerConfig) { c.Stdin, c.StdinOnce = true, true }},
		{name: "terminal and stdin", change: func(c *runtimeapi.ContainerConfig) { c.Tty, c.Stdin, c.StdinOnce = true, true, true }},
		{name: "terminal with TERM", change: func(c *runtimeapi.ContainerConfig) {
			c.Tty = true
			c.Envs = []*runtimeapi.KeyValue{{Key: "TERM", Value: []byte("vt100")}}
		}},
	}
}

func environmentCases() []containerCase {
	env := func(pairs ...string) func(*runtimeapi.ContainerConfig) {
		return func(c *runtimeapi.ContainerConfig) {
			for i := 0; i < len(pairs); i += 2 {
				c.Envs = append(c.Envs, &runtimeapi.KeyValue{Key: pairs[i], Value: []byte(pairs[i+1])})
			}
		}
	}
	directory := func(dir string) func(*runtimeapi.ContainerConfig) {
		return func(c *runtimeapi.ContainerConfig) { c.WorkingDir = dir }
	}
	return []containerCase{
		{name: "env", change: env("A", "1", "B", "with = and \"", "EMPTY", "", "LINES", "one\ntwo\n")},
		{name: "env set twice", change: env("A", "1", "B", "2", "A", "3")},
		{name: "env over image", image: dressed, change: env("BOTH", "pod", "PATH", "/usr/bin", "MORE", "x")},
		{name: "env set by the runtime", change: env("HOSTNAME", "mine", "PATH", "/nowhere")},
		{name: "directory", change: directory("/tmp")},
		{name: "directory not clean", change: directory("/tmp//a/../b/")},
		{name: "directory over image", image: dressed, change: directory("/var")},
		{name: "stop signal", change: func(c *runtimeapi.ContainerConfig) { c.StopSignal = runtimeapi.Signal_SIGNAL_SIGUSR1 }},
		{name: "stop signal over image", image: dressed, change: func(c *runtimeapi.ContainerConfig) {
			c.StopSignal = runtimeapi.Signal_SIGNAL_SIGRTMINPLUS3
		}},
		{name: "labels and annotations", image: dressed, change: func(c *runtimeapi.ContainerConfig) {
			c.Labels["both"] = "pod"
			c.Labels["empty"] = ""
			c.Annotations = map[string]string{"io.kubernetes.container.hash": "abc", "lines": "a\nb"}
		}},
		{name: "attempt", change: func(c *runtimeapi.ContainerConfig) { c.Metadata.Attempt = 3 }},
		{name: "log path", change: func(c *runtimeapi.ContainerConfig) { c.LogPath = "deep/below/0.log" }},
		{name: "no log", change: func(c *runtimeapi.ContainerConfig) { c.LogPath = "" }},
		{name: "image name as the user specified it", change: func(c *runtimeapi.ContainerConfig) {
			c.Image.UserSpecifiedImage = "busybox"
			c.Image.Annotations = map[string]string{"a": "b"}
		}},
	}
}
