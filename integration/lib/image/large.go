// SPDX-License-Identifier: Apache-2.0

package image

import (
	"fmt"
	"math/rand/v2"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
)

// largeFile is the size, in bytes, of the files of a large image.
const largeFile = 64 << 10

// Large returns an image with layers layers and size bytes in total, which compress by a quarter.
// It has no program, and its content is always the same.
func Large(layers, size int) (v1.Image, error) {
	content := letters(size)
	img := empty.Image
	for i := range layers {
		files := &layer{content: map[string][]byte{}}
		for j := range size / layers / largeFile {
			files.text(fmt.Sprintf("/data/%d/%d/%d", i, j/16, j), content[:largeFile], 0o644)
			content = content[largeFile:]
		}
		var err error
		if img, err = withLayer(img, v1.Config{}, files); err != nil {
			return nil, fmt.Errorf("large image: %w", err)
		}
	}
	return img, nil
}

// letters returns random characters from 64: six bits of entropy in a byte.
func letters(count int) string {
	text := make([]byte, count)
	random := rand.NewChaCha8([32]byte{})
	// Read of a ChaCha8 never returns an error.
	_, _ = random.Read(text)
	for i, b := range text {
		text[i] = '0' + b%64
	}
	return string(text)
}
