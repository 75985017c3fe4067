// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"path"
	"slices"
	"strconv"
	"strings"

	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// process writes arguments, environment, working directory and terminal.
func (b *builder) process() error {
	args, err := commandLine(b.in.Config, &b.in.Image)
	if err != nil {
		return err
	}
	env, err := b.environment()
	if err != nil {
		return err
	}
	cwd, err := b.workingDir()
	if err != nil {
		return err
	}
	p := b.spec.Process
	p.Args, p.Env, p.Cwd = args, env, cwd
	p.CommandLine = ""
	p.Terminal = b.in.Config.GetTty()
	p.NoNewPrivileges = b.sc.GetNoNewPrivs()
	b.spec.Root.Readonly = b.spec.Root.Readonly || b.sc.GetReadonlyRootfs()
	return nil
}

// commandLine merges command and args of the CRI with entrypoint and cmd of the image by Docker's
// rules: a command of the CRI replaces both of the image, args of the CRI replace the cmd of the
// image.
func commandLine(config *runtimeapi.ContainerConfig, image *Image) ([]string, error) {
	command, args := config.GetCommand(), config.GetArgs()
	if len(command) == 0 {
		command = image.Config.Entrypoint
		if len(command) == 1 && command[0] == "" {
			command = nil // an image that removes the entrypoint of its base has [""]
		}
		if len(args) == 0 {
			args = image.Config.Cmd
		}
	}
	if len(command)+len(args) == 0 {
		return nil, invalid("command", "is empty, and image %s has no entrypoint or cmd either", image.Name)
	}
	argv := slices.Concat(command, args)
	return argv, CheckCommand(argv)
}

// CheckCommand returns an error if a command is empty or cannot be passed to execve(2).
func CheckCommand(argv []string) error {
	if len(argv) == 0 {
		return invalid("command", "is empty")
	}
	for i, arg := range argv {
		if strings.ContainsRune(arg, 0) {
			return invalid("command", "argument %d has a NUL byte", i)
		}
	}
	return nil
}

// environment merges, in ascending precedence: a default PATH, the environment of the base spec,
// TERM for a terminal, HOSTNAME, the environment of the image, that of the CRI. A variable keeps
// the position of its first value.
func (b *builder) environment() ([]string, error) {
	var env variables
	env.add(defaultPath)
	for _, v := range b.spec.Process.Env {
		env.add(v)
	}
	if b.in.Config.GetTty() {
		env.add("TERM=xterm")
	}
	env.add("HOSTNAME=" + b.in.Pod.Hostname)
	for i, v := range b.in.Image.Config.Env {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			continue // not a variable according to the image spec
		}
		if err := checkVariable("image env["+strconv.Itoa(i)+"]", name, value); err != nil {
			return nil, err
		}
		env.add(v)
	}
	for i, kv := range b.in.Config.GetEnvs() {
		name, value := kv.GetKey(), string(kv.GetValue())
		if err := checkVariable("envs["+strconv.Itoa(i)+"]", name, value); err != nil {
			return nil, err
		}
		env.add(name + "=" + value)
	}
	return env.list, nil
}

// checkVariable never prints the value, which may be a secret. A value may have newlines, as those
// of a ConfigMap often do.
func checkVariable(field, name, value string) error {
	if name == "" {
		return invalid(field, "has no name")
	}
	if strings.ContainsRune(name, '=') {
		return invalid(field, "name %q has an equals sign", name)
	}
	if err := checkText(field, name); err != nil {
		return err
	}
	if strings.ContainsRune(value, 0) {
		return invalid(field, "the value of %s has a NUL byte", name)
	}
	return nil
}

// variables is an environment without duplicate names.
type variables struct {
	list  []string
	index map[string]int
}

func (v *variables) add(variable string) {
	name, _, _ := strings.Cut(variable, "=")
	if v.index == nil {
		v.index = make(map[string]int)
	}
	if i, ok := v.index[name]; ok {
		v.list[i] = variable
		return
	}
	v.index[name] = len(v.list)
	v.list = append(v.list, variable)
}

// workingDir returns the working directory of the CRI, of the image, of the base spec, or /, in
// this order. It refuses a directory of a process below /proc: /proc/self/fd gave access to the
// host's filesystem (CVE-2024-21626), and no container needs it.
func (b *builder) workingDir() (string, error) {
	dir, field := b.in.Config.GetWorkingDir(), "working_dir"
	if dir == "" {
		dir, field = b.in.Image.Config.WorkingDir, "image working dir"
	}
	if dir == "" {
		dir, field = b.spec.Process.Cwd, "base runtime spec: cwd"
	}
	if dir == "" {
		return "/", nil
	}
	dir, err := checkPath(field, dir)
	if err != nil {
		return "", err
	}
	if inProcess(dir) {
		return "", invalid(field, "%s is below the /proc directory of a process", dir)
	}
	return dir, nil
}

// inProcess reports whether a clean path is below /proc/self, /proc/thread-self or /proc/<pid>.
func inProcess(dir string) bool {
	below, ok := strings.CutPrefix(dir, "/proc/")
	if !ok {
		return false
	}
	first, _, _ := strings.Cut(below, "/")
	if ok, _ := path.Match("[0-9]*", first); ok {
		return true
	}
	return first == "self" || first == "thread-self"
}
