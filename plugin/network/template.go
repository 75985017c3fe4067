// SPDX-License-Identifier: Apache-2.0

package network

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"text/template"

	"github.com/containerd/errdefs"
	"github.com/containerd/log"
	"github.com/containernetworking/cni/libcni"
)

// templateConf is the name of a configuration made from the template. The built-in
// CRI gives it this name, and so do people who install one by hand.
const templateConf = "10-containerd-net.conflist"

// templateValues are what the template may use, under the names that the built-in
// CRI gives them.
type templateValues struct {
	PodCIDR       string   // the first
	PodCIDRRanges []string // all
	Routes        []string // a default route for each family of addresses
}

// UsePodCIDRs makes a CNI configuration from Options.ConfTemplate for the node's
// ranges of pod addresses, which are separated by commas. Without a template, without
// ranges, or with any configuration in the directory it does nothing: what
// is there is the administrator's, or another component's, or was made before.
//
// A range that is none is ErrInvalidArgument; a template that makes no CNI
// configuration is ErrFailedPrecondition.
func (n *Network) UsePodCIDRs(ctx context.Context, cidrs string) error {
	if strings.TrimSpace(cidrs) == "" {
		return nil
	}
	values, err := newTemplateValues(cidrs)
	if err != nil {
		return err
	}
	if n.opts.ConfTemplate == "" {
		return nil
	}
	// Not what is loaded: a file may be there that cannot be used.
	present, err := libcni.ConfFiles(n.opts.ConfDir, confExtensions)
	if err != nil {
		return fmt.Errorf("CNI config directory %s: %w", n.opts.ConfDir, err)
	}
	if len(present) > 0 {
		return nil
	}
	conf, err := values.execute(n.opts.ConfTemplate)
	if err != nil {
		return fmt.Errorf("CNI template %s (cni.conf_template): %w: %w", n.opts.ConfTemplate, err, errdefs.ErrFailedPrecondition)
	}
	made, err := addFile(n.opts.ConfDir, templateConf, conf)
	if err != nil {
		return fmt.Errorf("CNI config from template: %w", err)
	}
	if made {
		log.G(ctx).WithField("cidrs", values.PodCIDRRanges).Infof("made CNI config %s in %s", templateConf, n.opts.ConfDir)
	}
	return nil
}

func newTemplateValues(cidrs string) (templateValues, error) {
	var v templateValues
	for text := range strings.SplitSeq(cidrs, ",") {
		text = strings.TrimSpace(text)
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return templateValues{}, fmt.Errorf("pod CIDR %q: %w: %w", text, err, errdefs.ErrInvalidArgument)
		}
		route := "0.0.0.0/0"
		if prefix.Addr().Is6() {
			route = "::/0"
		}
		v.PodCIDRRanges = append(v.PodCIDRRanges, text)
		if !slices.Contains(v.Routes, route) {
			v.Routes = append(v.Routes, route)
		}
	}
	slices.Sort(v.Routes) // 0.0.0.0/0 first
	v.PodCIDR = v.PodCIDRRanges[0]
	return v, nil
}

func (v templateValues) execute(file string) ([]byte, error) {
	t, err := template.ParseFiles(file)
	if err != nil {
		return nil, err
	}
	var conf bytes.Buffer
	if err := t.Execute(&conf, v); err != nil {
		return nil, err
	}
	if _, err := libcni.NetworkConfFromBytes(conf.Bytes()); err != nil {
		return nil, err
	}
	return conf.Bytes(), nil
}

// addFile makes a file with all of its content at once, and tells whether it did: a
// file of that name stays what it is.
func addFile(dir, name string, content []byte) (made bool, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, err
	}
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return false, err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close()); err != nil {
		return false, err
	}
	err = os.Link(f.Name(), filepath.Join(dir, name))
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}
