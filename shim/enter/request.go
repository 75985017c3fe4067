// SPDX-License-Identifier: Apache-2.0

package enter

import (
	"encoding/binary"
	"errors"
)

// MaxRequest is the maximum size of an encoded request in bytes. The kernel accepts arguments and
// an environment of this size at most by default (execve(2)).
const MaxRequest = 2 << 20

// Request describes a process and the container that it enters.
type Request struct {
	// InitPID is the PID of the container's init, of which file descriptor [PidfdFile] is a pidfd.
	InitPID uint64
	// Namespaces are the CLONE_NEW flags of the namespaces to join.
	Namespaces uint64
	// CgroupProcs are the files that a PID is written to, on cgroup v1.
	CgroupProcs []string
	// Keyring is the name of the session keyring to join, or "" to keep the present one.
	Keyring string
	// OOMScoreAdj is the content of the file oom_score_adj, or "" to keep the present value.
	OOMScoreAdj string
	// AppArmorProfile is the profile of the process and of the container's init, or "".
	AppArmorProfile string
	// Umask, if HasUmask.
	Umask    uint64
	HasUmask bool

	User         User
	Capabilities Capabilities
	NoNewPrivs   bool
	Limits       []Limit

	Cwd  string
	Args []string
	Env  []string
}

// User is the user of a process with its groups.
type User struct {
	UID, GID uint64
	Groups   []uint64
}

// Capabilities are the sets of capabilities of a process (capabilities(7)), with a bit for each
// capability.
type Capabilities struct{ Bounding, Effective, Permitted, Inheritable, Ambient uint64 }

// Limit is a resource limit (prlimit(2)).
type Limit struct{ Resource, Soft, Hard uint64 }

// codec encodes or decodes the fields of a request.
type codec interface {
	number(*uint64)
	text(*string)
}

// fields passes all fields to c, in the order of the encoding.
func (r *Request) fields(c codec) {
	for _, n := range []*uint64{
		&r.InitPID, &r.Namespaces, &r.Umask, &r.User.UID, &r.User.GID,
		&r.Capabilities.Bounding, &r.Capabilities.Effective, &r.Capabilities.Permitted,
		&r.Capabilities.Inheritable, &r.Capabilities.Ambient,
	} {
		c.number(n)
	}
	for _, s := range []*string{&r.Keyring, &r.OOMScoreAdj, &r.AppArmorProfile, &r.Cwd} {
		c.text(s)
	}
	boolean(c, &r.HasUmask)
	boolean(c, &r.NoNewPrivs)
	list(c, &r.CgroupProcs, codec.text)
	list(c, &r.Args, codec.text)
	list(c, &r.Env, codec.text)
	list(c, &r.User.Groups, codec.number)
	list(c, &r.Limits, func(c codec, l *Limit) {
		c.number(&l.Resource)
		c.number(&l.Soft)
		c.number(&l.Hard)
	})
}

func boolean(c codec, b *bool) {
	var n uint64
	if *b {
		n = 1
	}
	c.number(&n)
	*b = n != 0
}

func list[T any](c codec, values *[]T, field func(codec, *T)) {
	n := uint64(len(*values))
	c.number(&n)
	if *values == nil && n <= MaxRequest { // larger only in a bad request
		*values = make([]T, n)
	}
	for i := range *values {
		field(c, &(*values)[i])
	}
}

// Encode returns the encoded request.
func (r *Request) Encode() []byte {
	var e encoder
	r.fields(&e)
	return e
}

type encoder []byte

func (e *encoder) number(n *uint64) { *e = binary.AppendUvarint(*e, *n) }

func (e *encoder) text(s *string) {
	*e = binary.AppendUvarint(*e, uint64(len(*s)))
	*e = append(*e, *s...)
}

// Decode decodes a request.
func Decode(data []byte) (*Request, error) {
	d := decoder{rest: data}
	r := &Request{}
	r.fields(&d)
	if d.bad || len(d.rest) > 0 {
		return nil, errors.New("bad request")
	}
	return r, nil
}

type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) number(n *uint64) {
	value, size := binary.Uvarint(d.rest)
	if size <= 0 {
		*n, d.rest, d.bad = 0, nil, true
		return
	}
	*n, d.rest = value, d.rest[size:]
}

func (d *decoder) text(s *string) {
	var n uint64
	d.number(&n)
	if n > uint64(len(d.rest)) {
		d.rest, d.bad = nil, true
		return
	}
	*s, d.rest = string(d.rest[:n]), d.rest[n:]
}
