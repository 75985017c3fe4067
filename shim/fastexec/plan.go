// SPDX-License-Identifier: Apache-2.0

package fastexec

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/containerd-lite/containerd-lite/shim/enter"
)

// Container is a container that the program of package enter can start a process in.
type Container struct {
	keyring         string
	namespaces      uint64
	oomScoreAdj     string
	appArmorProfile string
	umask           *uint32
}

// New returns the container of a config.json. An error gives the reason why only the runtime can
// start processes in it. The container's session keyring is not joined if newKeyring is false.
func New(id string, config []byte, newKeyring bool) (*Container, error) {
	spec, err := parse(config)
	if err != nil {
		return nil, err
	}
	if err := onlyAllowed(spec, allowed); err != nil {
		return nil, err
	}
	if spec.Process == nil || spec.Linux == nil {
		return nil, errors.New("no process")
	}
	c := &Container{appArmorProfile: spec.Process.ApparmorProfile, umask: spec.Process.User.Umask}
	if newKeyring {
		c.keyring = "_ses." + id // the name that runc uses (libcontainer, setns_init_linux.go)
	}
	if score := spec.Process.OOMScoreAdj; score != nil {
		c.oomScoreAdj = strconv.Itoa(*score)
	}
	c.namespaces, err = namespaces(spec.Linux.Namespaces)
	return c, err
}

// namespaces returns the flags of the namespaces that an exec joins.
func namespaces(list []specs.LinuxNamespace) (flags uint64, err error) {
	for _, ns := range list {
		switch ns.Type {
		case specs.PIDNamespace:
			flags |= unix.CLONE_NEWPID
		case specs.NetworkNamespace:
			flags |= unix.CLONE_NEWNET
		case specs.MountNamespace:
			flags |= unix.CLONE_NEWNS
		case specs.IPCNamespace:
			flags |= unix.CLONE_NEWIPC
		case specs.UTSNamespace:
			flags |= unix.CLONE_NEWUTS
		case specs.CgroupNamespace:
			flags |= unix.CLONE_NEWCGROUP
		default:
			return 0, fmt.Errorf("%s namespace", ns.Type)
		}
	}
	if flags&unix.CLONE_NEWNS == 0 {
		return 0, errors.New("no mount namespace")
	}
	return flags, nil
}

// request returns the request for a process. An error gives the reason why only the runtime can
// start it.
func (c *Container) request(p *specs.Process) (*enter.Request, error) {
	if err := onlyAllowed(p, allowedInExec); err != nil {
		return nil, err
	}
	if len(p.Args) == 0 || !filepath.IsAbs(p.Cwd) || p.Capabilities == nil {
		return nil, errors.New("incomplete process")
	}
	r := &enter.Request{
		Namespaces:      c.namespaces,
		Keyring:         c.keyring,
		OOMScoreAdj:     c.oomScoreAdj,
		AppArmorProfile: cmp.Or(p.ApparmorProfile, c.appArmorProfile),
		User:            enter.User{UID: uint64(p.User.UID), GID: uint64(p.User.GID)},
		NoNewPrivs:      p.NoNewPrivileges,
		Cwd:             p.Cwd,
		Args:            p.Args,
		Env:             p.Env,
	}
	if c.umask != nil {
		r.Umask, r.HasUmask = uint64(*c.umask), true
	}
	for _, group := range p.User.AdditionalGids {
		r.User.Groups = append(r.User.Groups, uint64(group))
	}
	if err := addCapabilities(&r.Capabilities, p.Capabilities); err != nil {
		return nil, err
	}
	return r, addLimits(r, p.Rlimits)
}

func addCapabilities(r *enter.Capabilities, c *specs.LinuxCapabilities) error {
	for _, set := range []struct {
		names []string
		bits  *uint64
	}{
		{c.Bounding, &r.Bounding},
		{c.Effective, &r.Effective},
		{c.Permitted, &r.Permitted},
		{c.Inheritable, &r.Inheritable},
		{c.Ambient, &r.Ambient},
	} {
		for _, name := range set.names {
			bit, ok := capabilities[name]
			if !ok {
				return fmt.Errorf("capability %q", name)
			}
			*set.bits |= 1 << bit
		}
	}
	return nil
}

func addLimits(r *enter.Request, limits []specs.POSIXRlimit) error {
	for _, l := range limits {
		resource, ok := resources[l.Type]
		if !ok {
			return fmt.Errorf("limit %q", l.Type)
		}
		r.Limits = append(r.Limits, enter.Limit{Resource: resource, Soft: l.Soft, Hard: l.Hard})
	}
	return nil
}

// clean reports whether no string of a request has a zero byte, which the kernel would take for its
// end.
func clean(r *enter.Request) bool {
	for _, list := range [][]string{r.Args, r.Env, {r.Cwd, r.Keyring, r.AppArmorProfile}} {
		for _, s := range list {
			if strings.IndexByte(s, 0) >= 0 {
				return false
			}
		}
	}
	return true
}
