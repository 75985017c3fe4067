// SPDX-License-Identifier: Apache-2.0

package spec

import (
	"maps"
	"slices"
	"strings"

	"github.com/containerd/containerd/v2/pkg/labels"
	"google.golang.org/protobuf/proto"
)

const (
	// maxMapBytes bounds the labels, and the annotations, of one object. Kubernetes allows 256 KiB
	// of annotations. Each response to a list contains all of them, and must stay below 16 MiB, the
	// limit of containerd and the kubelet for a gRPC message.
	maxMapBytes = 512 << 10
	// maxConfig bounds a whole config in bytes. It is saved in containerd's database. Arguments and
	// environment of that size are too long for execve(2) anyway.
	maxConfig = 8 << 20
)

// describedConfig is the common part of the configs of pods and containers.
type describedConfig interface {
	proto.Message
	GetLabels() map[string]string
	GetAnnotations() map[string]string
}

// checkLabelsAndAnnotations checks labels, annotations and the total size of a config.
func checkLabelsAndAnnotations(config describedConfig) error {
	if n := proto.Size(config); n > maxConfig {
		return invalid("config", "has %d bytes, the maximum is %d", n, maxConfig)
	}
	if err := checkMap("labels", config.GetLabels()); err != nil {
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(config.GetLabels())) {
		value := config.GetLabels()[key]
		if err := checkText("labels["+key+"]", value); err != nil {
			return err
		}
		if err := labels.Validate(key, value); err != nil {
			return invalid("labels", "%v", err)
		}
	}
	return checkMap("annotations", config.GetAnnotations())
}

// checkMap refuses keys that are empty or have control characters, values with a NUL byte, and a
// total size above maxMapBytes. Values may have newlines, because annotations have them.
func checkMap(field string, texts map[string]string) error {
	size := 0
	for _, key := range slices.Sorted(maps.Keys(texts)) {
		size += len(key) + len(texts[key])
		switch {
		case key == "":
			return invalid(field, "a key is empty")
		case strings.ContainsFunc(key, isControl):
			return invalid(field, "key %q has a control character", key)
		case strings.ContainsRune(texts[key], 0):
			return invalid(field, "the value of %s has a NUL byte", key)
		}
	}
	if size > maxMapBytes {
		return invalid(field, "have %d bytes, the maximum is %d", size, maxMapBytes)
	}
	return nil
}
