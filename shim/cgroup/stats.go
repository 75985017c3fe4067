// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
)

// Stats returns io.containerd.cgroups.v2.Metrics, or v1.Metrics on v1. Values that the kernel does
// not report are 0. The error is errdefs.ErrNotFound if the cgroup is gone.
//
// Only the messages come from containerd/cgroups. The rest of that module creates cgroups, talks to
// systemd and loads eBPF programs, which would increase the size of every shim.
func (g *Group) Stats() (*anypb.Any, error) {
	dirs := g.dirs()
	if len(dirs) == 0 {
		return nil, fmt.Errorf("cgroup: read statistics: %w", errdefs.ErrNotFound)
	}
	if _, err := os.Stat(dirs[0]); err != nil {
		return nil, fmt.Errorf("cgroup: read statistics: %w: %w", errdefs.ErrNotFound, err)
	}
	var metrics proto.Message
	if dir, ok := g.unified(); ok {
		metrics = unifiedMetrics(dir)
	} else {
		metrics = g.legacyMetrics()
	}
	return encode(metrics)
}

// encode sets a type URL without a host, as typeurl does.
func encode(metrics proto.Message) (*anypb.Any, error) {
	value, err := proto.Marshal(metrics)
	if err != nil {
		return nil, fmt.Errorf("cgroup: encode statistics: %w", err)
	}
	return &anypb.Any{TypeUrl: string(metrics.ProtoReflect().Descriptor().FullName()), Value: value}, nil
}

// CountKills returns the statistics with at least the given number of out-of-memory kills. The
// cgroup may have been removed before its files counted them. statistics may be nil.
func (g *Group) CountKills(statistics *anypb.Any, kills uint64) *anypb.Any {
	if kills == 0 {
		return statistics
	}
	var metrics proto.Message
	var count func()
	if _, ok := g.unified(); ok {
		metrics, count = unifiedKills(kills)
	} else {
		metrics, count = legacyKills(kills)
	}
	if statistics != nil && statistics.UnmarshalTo(metrics) != nil {
		return statistics
	}
	count()
	counted, err := encode(metrics)
	if err != nil {
		return statistics
	}
	return counted
}

// names maps keys of the kernel to fields with another name.
type names map[string]protoreflect.Name

// fill sets the fields of m from the "key number" lines of a control file. Keys without a field are
// skipped.
func fill(m proto.Message, path string, renamed names) {
	for line := range lines(path) {
		key, value, _ := strings.Cut(line, " ")
		set(m, key, value, renamed)
	}
}

// fillPairs sets the fields of m from words of the form "key=number".
func fillPairs(m proto.Message, words []string, renamed names) {
	for _, word := range words {
		key, value, _ := strings.Cut(word, "=")
		set(m, key, value, renamed)
	}
}

func set(m proto.Message, key, value string, renamed names) {
	name, ok := renamed[key]
	if !ok {
		name = protoreflect.Name(key)
	}
	message := m.ProtoReflect()
	field := message.Descriptor().Fields().ByName(name)
	switch {
	case field == nil:
	case field.Kind() == protoreflect.Uint64Kind:
		message.Set(field, protoreflect.ValueOfUint64(parse(value)))
	case field.Kind() == protoreflect.Uint32Kind:
		message.Set(field, protoreflect.ValueOfUint32(uint32(min(parse(value), math.MaxUint32))))
	case field.Kind() == protoreflect.DoubleKind:
		f, _ := strconv.ParseFloat(value, 64)
		message.Set(field, protoreflect.ValueOfFloat64(f))
	}
}

// number reads a control file that has one number; 0 if it cannot be read.
func number(path ...string) uint64 {
	data, _ := os.ReadFile(filepath.Join(path...))
	return parse(strings.TrimSpace(string(data)))
}

// parse reads a number as the kernel writes it: "max" means no limit, and a counter that is
// negative for a moment counts as 0.
func parse(s string) uint64 {
	if s == "max" {
		return math.MaxUint64
	}
	n, _ := strconv.ParseUint(s, 10, 64)
	return n
}

// lines returns the lines of a control file; none if it cannot be read.
func lines(path string) func(yield func(string) bool) {
	data, _ := os.ReadFile(path)
	return func(yield func(string) bool) {
		for line := range strings.Lines(string(data)) {
			if !yield(strings.TrimSpace(line)) {
				return
			}
		}
	}
}

// device splits "major:minor".
func device(s string) (major, minor uint64) {
	a, b, _ := strings.Cut(s, ":")
	return parse(a), parse(b)
}

// hugePageSizes returns the page sizes that have control files in dir, as in the file names: "2MB".
func hugePageSizes(dir, suffix string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "hugetlb.*."+suffix))
	sizes := make([]string, 0, len(files))
	for _, file := range files {
		size := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(file), "hugetlb."), "."+suffix)
		if !strings.Contains(size, ".") { // skips reservations: "2MB.rsvd"
			sizes = append(sizes, size)
		}
	}
	return sizes
}

// rdma reads lines of the form "device key=number …" into the entries of v1 or v2 metrics.
func rdma[Entry any, Message interface {
	*Entry
	proto.Message
}](dir, file string) []Message {
	var entries []Message
	for line := range lines(filepath.Join(dir, file)) {
		words := strings.Fields(line)
		if len(words) < 2 {
			continue
		}
		entry := Message(new(Entry))
		message := entry.ProtoReflect()
		message.Set(message.Descriptor().Fields().ByName("device"), protoreflect.ValueOfString(words[0]))
		fillPairs(entry, words[1:], names{"hca_handle": "hca_handles", "hca_object": "hca_objects"})
		entries = append(entries, entry)
	}
	return entries
}
