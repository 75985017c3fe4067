// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"os"

	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Stats returns io.containerd.cgroups.v2.Metrics, or v1.Metrics on v1. The
// error is errdefs.ErrNotFound when the group is gone.
func (g *Group) Stats() (*anypb.Any, error) {
	metrics, err := g.metrics()
	if err != nil {
		return nil, fmt.Errorf("control group: read statistics: %w", err)
	}
	value, err := proto.Marshal(metrics)
	if err != nil {
		return nil, fmt.Errorf("control group: encode statistics: %w", err)
	}
	return &anypb.Any{TypeUrl: string(metrics.ProtoReflect().Descriptor().FullName()), Value: value}, nil
}

func (g *Group) metrics() (proto.Message, error) {
	// Neither library call tells a removed group from one without use.
	dirs := g.dirs()
	if len(dirs) == 0 {
		return nil, errdefs.ErrNotFound
	}
	if _, err := os.Stat(dirs[0]); err != nil {
		return nil, fmt.Errorf("%w: %w", errdefs.ErrNotFound, err)
	}
	if path, ok := g.Paths[""]; ok {
		m, err := cgroup2.Load(path, cgroup2.WithMountpoint(g.mount()))
		if err != nil {
			return nil, err
		}
		return m.Stat()
	}
	cg, err := cgroup1.Load(g.find, cgroup1.WithHierarchy(g.hierarchy))
	if err != nil {
		return nil, err
	}
	return cg.Stat(cgroup1.IgnoreNotExist)
}

func (g *Group) find(name cgroup1.Name) (string, error) {
	if path, ok := g.Paths[string(name)]; ok {
		return path, nil
	}
	return "", cgroup1.ErrControllerNotActive
}

// hierarchy lists the v1 controllers that have statistics.
func (g *Group) hierarchy() ([]cgroup1.Subsystem, error) {
	root := g.mount()
	all := []cgroup1.Subsystem{
		cgroup1.NewPids(root),
		cgroup1.NewCpu(root),
		cgroup1.NewCpuacct(root),
		cgroup1.NewMemory(root),
		cgroup1.NewBlkio(root),
		cgroup1.NewRdma(root),
	}
	if huge, err := cgroup1.NewHugetlb(root); err == nil {
		all = append(all, huge)
	}
	return all, nil
}
