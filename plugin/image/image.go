// SPDX-License-Identifier: Apache-2.0

package image

import (
	"math"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/client"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Image is what is known of one image. It is shared: nobody may change it or
// what it points to.
type Image struct {
	// ID is the digest of the image's config: the image_id of containers, and what PullImage
	// answers.
	ID string
	// Target is the manifest or index that the image's names point to.
	Target ocispec.Descriptor
	// ChainID is the key of the committed snapshot that holds the root file
	// system; empty for an image without layers.
	ChainID digest.Digest
	// Size is in bytes: index, manifest, config and packed layers, as containerd
	// counts them.
	Size int64
	// Spec is the image's config.
	Spec ocispec.Image
	// Annotations are those of the manifest, none where they are unreasonably large.
	Annotations map[string]string

	// Names are containerd's names of the image, sorted: its id, tags and digests.
	Names []string
	// Tags and Digests are those Names that are repo:tag and repo@digest.
	Tags, Digests []string
	// Pinned images are to be kept by the kubelet's garbage collection.
	Pinned bool
	// Handle is the image as containerd's client knows it, for unpacking and for
	// making snapshots. Only Resolve sets it.
	Handle client.Image
}

// Name is the name to show people for an image: a tag, else a digest, else the id.
func (i *Image) Name() string {
	switch {
	case len(i.Tags) > 0:
		return i.Tags[0]
	case len(i.Digests) > 0:
		return i.Digests[0]
	default:
		return i.ID
	}
}

// User splits the user of the image's config for the kubelet, which compares
// uid with 0 to enforce runAsNonRoot. Only a plain decimal uid that a process
// can have is one, also with zeros before it as long as it is not 0; everything
// else ("+0", "00", "4294967296") is handed on as a name,
// of which the kubelet cannot be persuaded that it is not root (CVE-2024-40635,
// CVE-2026-46680).
func (i *Image) User() (uid *int64, username string) {
	user, _, _ := strings.Cut(i.Spec.Config.User, ":")
	if user == "" {
		return nil, ""
	}
	n, err := strconv.ParseInt(user, 10, 64)
	digits := user
	if n != 0 {
		digits = strings.TrimLeft(user, "0")
	}
	if err != nil || n < 0 || n > math.MaxInt32 || strconv.FormatInt(n, 10) != digits {
		return nil, user
	}
	return &n, ""
}

// encode returns the image as the CRI message.
func (i *Image) encode() *runtimeapi.Image {
	out := &runtimeapi.Image{
		Id:          i.ID,
		RepoTags:    i.Tags,
		RepoDigests: i.Digests,
		Size:        uint64(i.Size),
		Spec:        &runtimeapi.ImageSpec{Image: i.ID, Annotations: i.Annotations},
		Pinned:      i.Pinned,
	}
	uid, username := i.User()
	if uid != nil {
		out.Uid = &runtimeapi.Int64Value{Value: *uid}
	}
	out.Username = username
	return out
}
