// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// untrusted is the handler of pods with the annotation untrustedWorkload, which the metadata of
// the built-in CRI does not have.
const (
	untrusted         = "untrusted"
	untrustedWorkload = "io.kubernetes.cri.untrusted-workload"
)

// handlerOf returns the runtime handler of a pod, in which new containers of the pod run. It has
// the shim and the options of the pause container, even if the requested handler has others now. Of
// several, it is the requested one or the one that containerd has by default. If the options have
// changed, the shim decides.
func (s *Store) handlerOf(m podMetadata, stock runtime.Stock) (string, error) {
	for _, fits := range []func(config.Handler) bool{
		func(h config.Handler) bool { return h.Type == stock.Runtime && sameOptions(h, stock.Options) },
		func(h config.Handler) bool { return h.Type == stock.Runtime },
	} {
		for _, name := range s.candidates(m) {
			if resolved, h, err := s.Handlers.Handler(name); err == nil && fits(h) {
				return resolved, nil
			}
		}
	}
	return "", fmt.Errorf("no runtime handler has the type %s (add one to config.toml): %w", stock.Runtime, errdefs.ErrFailedPrecondition)
}

// candidates returns all handlers, the most likely first. A pod of an untrusted workload runs in no
// other than the one for it.
func (s *Store) candidates(m podMetadata) []string {
	if m.RuntimeHandler == "" && m.Config.GetAnnotations()[untrustedWorkload] == "true" {
		return []string{untrusted}
	}
	return slices.Concat([]string{m.RuntimeHandler, config.RuncHandler}, s.Handlers.HandlerNames())
}

func sameOptions(h config.Handler, have any) bool {
	options, err := h.RuntimeOptions()
	if err != nil {
		return false
	}
	want, _ := options.(proto.Message)
	message, _ := have.(proto.Message)
	if want == nil || message == nil { // no options are those with the default values
		return proto.Size(want) == 0 && proto.Size(message) == 0
	}
	return proto.Equal(want, message)
}
