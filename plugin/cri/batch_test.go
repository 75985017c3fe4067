// SPDX-License-Identifier: Apache-2.0

package cri

import (
	"context"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// heavy returns a container whose message has about so many bytes.
func heavy(bytes int) *runtimeapi.Container {
	return &runtimeapi.Container{Annotations: map[string]string{"a": strings.Repeat("x", bytes)}}
}

func TestBatches(t *testing.T) {
	third := batchBytes / 3
	for name, tc := range map[string]struct {
		weights []int
		want    []int // items in each message
	}{
		"nothing":                     {nil, nil},
		"one":                         {[]int{1}, []int{1}},
		"all fit":                     {[]int{third, third}, []int{2}},
		"the third does not":          {[]int{third, third, third}, []int{2, 1}},
		"a too large item goes alone": {[]int{1, 2 * batchBytes, 1, 1}, []int{1, 1, 2}},
		"too large items first":       {[]int{3 * batchBytes, 3 * batchBytes}, []int{1, 1}},
		"many small items":            {make([]int, 5000), []int{5000}},
	} {
		var items []*runtimeapi.Container
		for _, w := range tc.weights {
			items = append(items, heavy(w))
		}
		var got []int
		err := sendBatches(t.Context(), items, func(batch []*runtimeapi.Container) error {
			got = append(got, len(batch))
			return nil
		})
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s: batches of %v, %v, want %v", name, got, err, tc.want)
		}
	}
}

func TestBatchesStopWithTheContextAndOnError(t *testing.T) {
	items := []*runtimeapi.Container{heavy(batchBytes), heavy(batchBytes), heavy(batchBytes)}
	ctx, cancel := context.WithCancel(t.Context())
	sent := 0
	err := sendBatches(ctx, items, func([]*runtimeapi.Container) error { sent++; cancel(); return nil })
	if !errors.Is(err, context.Canceled) || sent != 1 {
		t.Errorf("%d batches, %v after the context's end", sent, err)
	}
	broken := errors.New("broken pipe")
	sent = 0
	err = sendBatches(t.Context(), items, func([]*runtimeapi.Container) error { sent++; return broken })
	if !errors.Is(err, broken) || sent != 1 {
		t.Errorf("%d batches, %v after a failed send", sent, err)
	}
}

// FuzzBatches checks that each item is in exactly one message, in order, and that a message exceeds
// batchBytes only if it has a single item.
func FuzzBatches(f *testing.F) {
	f.Add([]byte{0, 0, 0, 1})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 1})
	f.Add([]byte{0x80, 0, 0x7f, 0xff, 0x40, 0, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		var items []*runtimeapi.Container
		for len(data) >= 2 && len(items) < 64 {
			items = append(items, heavy(32*int(binary.BigEndian.Uint16(data)))) // up to 2 MiB
			data = data[2:]
		}
		next := 0
		err := sendBatches(t.Context(), items, func(batch []*runtimeapi.Container) error {
			if len(batch) == 0 {
				t.Fatal("an empty message")
			}
			for _, item := range batch {
				if item != items[next] {
					t.Fatalf("item %d is not in its place", next)
				}
				next++
			}
			size := proto.Size(&runtimeapi.StreamContainersResponse{Containers: batch})
			if size > batchBytes && len(batch) > 1 {
				t.Fatalf("a message of %d items has %d bytes", len(batch), size)
			}
			// Each message is full: the next item does not fit.
			if next < len(items) && size+proto.Size(&runtimeapi.StreamContainersResponse{Containers: items[next : next+1]}) <= batchBytes {
				t.Fatalf("the message that ends before item %d has room for it", next)
			}
			return nil
		})
		if err != nil || next != len(items) {
			t.Fatalf("%d of %d items, %v", next, len(items), err)
		}
	})
}
