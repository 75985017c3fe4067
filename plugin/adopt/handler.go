// SPDX-License-Identifier: Apache-2.0

package adopt

import (
	"fmt"
	"slices"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"

	"github.com/containerd-lite/containerd-lite/plugin/config"
	"github.com/containerd-lite/containerd-lite/plugin/pod"
	"github.com/containerd-lite/containerd-lite/plugin/runtime"
)

// handlerOf returns the handler for new containers of a pod: the first candidate with the runtime
// type and options of the pause container or, if no handler has these options any more, the first
// with its runtime type.
func (s *Store) handlerOf(m podMetadata, found runtime.BuiltIn) (string, error) {
	for _, fits := range []func(config.Handler) bool{
		func(h config.Handler) bool { return h.Type == found.Runtime && sameOptions(h, found.Options) },
		func(h config.Handler) bool { return h.Type == found.Runtime },
	} {
		for _, name := range s.candidates(m) {
			if resolved, h, err := s.Handlers.Handler(name); err == nil && fits(h) {
				return resolved, nil
			}
		}
	}
	return "", fmt.Errorf("no runtime handler has the type %s (add one to config.toml and restart): %w", found.Runtime, errdefs.ErrFailedPrecondition)
}

// candidates returns the handlers that a pod may use: the requested one, runc, then all others. An
// untrusted pod may use only the handler for such pods. Its metadata has the requested handler, "".
func (s *Store) candidates(m podMetadata) []string {
	if m.RuntimeHandler == "" && m.Config.GetAnnotations()[pod.UntrustedAnnotation] == "true" {
		return []string{pod.UntrustedHandler}
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
