// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
)

const (
	// pluginWaitDelay is how long the output of a plugin is waited for after
	// its end: a child that it left behind may hold it open.
	pluginWaitDelay = time.Second
	maxPluginOutput = 1 << 20 // bytes
)

// pluginExec runs CNI plugins for libcni. Other than libcni's own it kills all
// processes of a plugin whose time is up, its IPAM plugin for one, and does
// not wait for them.
type pluginExec struct {
	version.PluginDecoder
}

var _ invoke.Exec = (*pluginExec)(nil)

// FindInPath returns the path of a plugin. A type with a path in it is refused
// (CVE-2021-20206).
func (*pluginExec) FindInPath(plugin string, dirs []string) (string, error) {
	if plugin == "" || filepath.Base(plugin) != plugin || plugin == ".." || plugin == "." {
		return "", fmt.Errorf("CNI plugin type %q is not the name of a plugin: %w", plugin, errdefs.ErrFailedPrecondition)
	}
	for _, dir := range dirs {
		path := filepath.Join(dir, plugin)
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() {
			return path, nil
		}
	}
	return "", fmt.Errorf("CNI plugin %q is not in %s (install it, or set cni.bin_dirs): %w",
		plugin, strings.Join(dirs, ", "), errdefs.ErrFailedPrecondition)
}

// ExecPlugin runs a plugin and returns its standard output.
func (*pluginExec) ExecPlugin(ctx context.Context, path string, stdin []byte, environ []string) ([]byte, error) {
	var stdout, stderr limitedBuffer
	cmd := exec.CommandContext(ctx, path)
	cmd.Env = environ
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Stdout = &stdout
	cmd.Stderr = &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = pluginWaitDelay
	err := cmd.Run()
	switch {
	case err != nil && ctx.Err() != nil:
		// The cause says "signal: killed" at best.
		return nil, fmt.Errorf("%s: %w", path, ctx.Err())
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return nil, pluginError(err, stdout.Bytes(), stderr.Bytes())
	case stdout.exceeded:
		return nil, fmt.Errorf("%s: output of more than %d bytes: %w", path, maxPluginOutput, errdefs.ErrResourceExhausted)
	}
	if stderr.Len() > 0 {
		log.G(ctx).WithField("plugin", path).Debugf("CNI plugin: %s", stderr.String())
	}
	return stdout.Bytes(), nil
}

// pluginError returns the error that a plugin printed as JSON, as the CNI
// specification wants, or else what it wrote to its standard error.
func pluginError(err error, stdout, stderr []byte) error {
	var told types.Error
	if json.Unmarshal(stdout, &told) == nil && told.Msg != "" {
		return &told
	}
	text := bytes.TrimSpace(append(stderr, stdout...))
	if len(text) == 0 {
		return fmt.Errorf("no error message: %w", err)
	}
	return fmt.Errorf("%q: %w", text, err)
}

// limitedBuffer keeps the beginning of what is written and takes all of it.
type limitedBuffer struct {
	bytes.Buffer
	exceeded bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	keep := p
	if room := maxPluginOutput - b.Len(); len(keep) > room {
		keep = keep[:room]
		b.exceeded = true
	}
	b.Buffer.Write(keep)
	return len(p), nil
}
