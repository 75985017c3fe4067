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

// hostLocalDir is where the plugin host-local has its files without dataDir.
const hostLocalDir = "/var/lib/cni/networks"

// FreeOrphans frees the addresses that host-local has given to nobody. It keeps a
// file per address, with the id of the pod that has it, and a loss of power within
// seconds leaves the file without the id: no CNI DEL finds that, and a network can
// run out of addresses. It is called at start; errors are only logged.
func (n *Network) FreeOrphans(ctx context.Context) {
	for _, dir := range n.hostLocalDirs() {
		if err := freeOrphans(ctx, dir); err != nil {
			log.G(ctx).WithError(err).Warn("addresses that belong to no pod may be lost")
		}
	}
}

// hostLocalDirs are the default and what the configurations say. One that is made by
// another plugin, such as flannel's, uses the default.
func (n *Network) hostLocalDirs() []string {
	dirs := []string{hostLocalDir}
	for _, c := range n.confs {
		for _, network := range c.current.Load().networks {
			for _, p := range network.list.Plugins {
				var conf struct {
					IPAM struct {
						DataDir string `json:"dataDir"`
					} `json:"ipam"`
				}
				// An ipam of another form is another plugin's.
				if err := json.Unmarshal(p.Bytes, &conf); err == nil && conf.IPAM.DataDir != "" {
					dirs = append(dirs, conf.IPAM.DataDir)
				}
			}
		}
	}
	slices.Sort(dirs)
	return slices.Compact(dirs)
}

// freeOrphans frees those of all networks that have their files in a folder.
func freeOrphans(ctx context.Context, dir string) error {
	locks, err := filepath.Glob(filepath.Join(dir, "*", "lock"))
	for _, lock := range locks {
		err = errors.Join(err, freeNetworkOrphans(ctx, filepath.Dir(lock)))
	}
	return err
}

// freeNetworkOrphans frees those of one network, under host-local's lock: it makes
// and fills a file while it has that, so an empty one is nobody's. While the plugin
// runs nothing is done.
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
			return fmt.Errorf("free address %s: %w", address, err)
		}
		log.G(ctx).WithField("network", filepath.Base(network)).Infof("address %s had been given to nobody, and is free", address)
	}
	return nil
}
