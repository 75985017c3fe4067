// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"path/filepath"
)

// program has the properties by which the programs differ that a bench can run as its daemon.
type program interface {
	command() []string
	configFiles() map[string]string // contents by path
	// folders returns the directories below the root with files of pods and containers.
	folders() []string
	// state reads the stores of the daemon, which must run.
	state(ctx context.Context) (State, error)
	// clean removes the files outside the root that the daemon leaves behind.
	clean() error
}

func newProgram(b *Bench) program {
	if b.Options.Daemon == Crio {
		return newCrio(b)
	}
	return containerdProgram{b}
}

// containerdProgram is containerd-lite or stock containerd.
type containerdProgram struct{ bench *Bench }

func (p containerdProgram) command() []string {
	name := filepath.Join(p.bench.repo.bin(p.bench.Options), p.bench.lite())
	if p.bench.Options.Daemon == Stock {
		name = filepath.Join(p.bench.repo.stock(p.bench.Options), "containerd")
	}
	return []string{name, "--config", p.bench.Daemon.Config}
}

func (p containerdProgram) configFiles() map[string]string {
	return map[string]string{p.bench.Daemon.Config: p.bench.configTOML()}
}

// folders leaves out the sockets of the stock shim: if socket_dir is not the default, that shim
// finds its socket by a link in its bundle, which containerd may have removed by then (pkg/shim,
// cleanupSockets).
func (p containerdProgram) folders() []string {
	folders := []string{p.bench.Path("state"), p.bench.Path("root", "io.containerd.grpc.v1.cri")}
	if p.bench.Handler != HandlerRunc {
		folders = append(folders, p.bench.Path("s"))
	}
	return folders
}

func (p containerdProgram) state(ctx context.Context) (State, error) {
	client, err := p.bench.Containerd()
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return daemonState(ctx, client)
}

func (containerdProgram) clean() error { return nil }
