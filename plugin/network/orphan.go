// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"

	"github.com/containerd/log"
	"golang.org/x/sys/unix"
)

// HostLocalDir is where the IPAM plugin host-local stores its files if dataDir is not set.
const HostLocalDir = "/var/lib/cni/networks"

// FreeOrphans releases host-local addresses without an owner. host-local keeps a file per address
// with the ID of the pod that has it. After a power failure a recent file can be empty: no CNI DEL
// finds it, and a network can run out of addresses. FreeOrphans is called at start; errors are only
// logged.
func (n *Network) FreeOrphans(ctx context.Context) {
	for _, dir := range n.hostLocalDirs() {
		if err := freeOrphans(ctx, dir); err != nil {
			log.G(ctx).WithError(err).Warn("orphaned host-local addresses not released; will retry at next start")
		}
	}
}

// hostLocalDirs returns the default directory and those in the loaded configurations. Plugins that
// generate the configuration of host-local, such as flannel, use the default.
func (n *Network) hostLocalDirs() []string {
	dirs := []string{HostLocalDir}
	for _, c := range n.settings.Load().confs {
		for _, network := range c.current.Load().networks {
			for _, p := range network.list.Plugins {
				var conf struct {
					IPAM struct {
						DataDir string `json:"dataDir"`
					} `json:"ipam"`
				}
				// The ipam section of another plugin may have another format.
				if err := json.Unmarshal(p.Bytes, &conf); err == nil && conf.IPAM.DataDir != "" {
					dirs = append(dirs, conf.IPAM.DataDir)
				}
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// freeOrphans releases the orphaned addresses of all networks in a host-local directory.
func freeOrphans(ctx context.Context, dir string) error {
	locks, err := filepath.Glob(filepath.Join(dir, "*", "lock"))
	for _, lock := range locks {
		err = errors.Join(err, freeNetworkOrphans(ctx, filepath.Dir(lock)))
	}
	return err
}

// freeNetworkOrphans releases the orphaned addresses of one network, under host-local's lock.
// host-local creates and fills a file under this lock, so an empty file has no owner. While the
// plugin runs, nothing is done.
func freeNetworkOrphans(ctx context.Context, network string) error {
	lock, err := os.Open(filepath.Join(network, "lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil
		}
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	entries, err := os.ReadDir(network)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		address, err := netip.ParseAddr(entry.Name())
		if err != nil {
			continue
		}
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() > 0 {
			continue
		}
		if err == nil {
			err = os.Remove(filepath.Join(network, entry.Name()))
		}
		if err != nil {
			return fmt.Errorf("release address %s: %w", address, err)
		}
		log.G(ctx).WithFields(log.Fields{"network": filepath.Base(network), "address": address}).Info("released orphaned host-local address")
	}
	return nil
}
