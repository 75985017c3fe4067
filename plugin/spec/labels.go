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
	// maxTexts bounds the labels, and the annotations, of one object in bytes. Kubernetes allows
	// 256 KiB of annotations; all of them are in each answer to a list, and an answer above 16 MiB
	// would not arrive.
	maxTexts = 512 << 10
	// maxConfig bounds a whole config in bytes. It is saved in containerd's database; arguments and
	// environment that come near it are too long for execve(2).
	maxConfig = 8 << 20
)

// described is what pods and containers have in common.
type described interface {
	proto.Message
	GetLabels() map[string]string
	GetAnnotations() map[string]string
}

// checkDescription bounds what is only kept and shown.
func checkDescription(config described) error {
	if n := proto.Size(config); n > maxConfig {
		return invalid("config", "has %d bytes, at most %d can be kept", n, maxConfig)
	}
	if err := checkTexts("labels", config.GetLabels()); err != nil {
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
	return checkTexts("annotations", config.GetAnnotations())
}

// checkTexts refuses what no file or runtime could hold: keys that are empty or not one line, NUL
// in values, too much of it. An annotation may have lines.
func checkTexts(field string, texts map[string]string) error {
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
	if size > maxTexts {
		return invalid(field, "have %d bytes, at most %d can be kept", size, maxTexts)
	}
	return nil
}
