// SPDX-License-Identifier: Apache-2.0

package stdio

import (
	"io"
	"os"
	"sync"
)

const (
	// readSize is how much of an output is read at a time, in bytes.
	readSize = 32 << 10
	// clientBacklog is how many reads an attached client may lag behind before
	// it is cut off.
	clientBacklog = 64
)

// output is one stream out of the container: a pipe that one goroutine reads
// into the log and to the attached clients.
type output struct {
	name, path string
	log        io.WriteCloser // nil when the output is discarded
	reader     *os.File
	keeper     *os.File      // our write end, until the shim has its own
	done       chan struct{} // closed when the output has ended
	started    sync.Once

	mu      sync.Mutex
	ended   bool
	clients map[*client]struct{}
}

func openOutput(path, name string, create bool) (*output, error) {
	o := &output{name: name, path: path, done: make(chan struct{}), clients: map[*client]struct{}{}}
	var err error
	if o.reader, err = openPipe(path, os.O_RDONLY, create); err != nil {
		return nil, err
	}
	if !create {
		return o, nil
	}
	if o.keeper, err = openPipe(path, os.O_WRONLY, false); err != nil {
		o.reader.Close()
		return nil, err
	}
	return o, nil
}

// start reads the output in the background, until its end.
func (o *output) start() {
	o.started.Do(func() {
		if o.keeper != nil {
			o.keeper.Close()
		}
		go o.read()
	})
}

func (o *output) read() {
	defer close(o.done)
	defer o.end()
	buf := make([]byte, readSize)
	for {
		n, err := o.reader.Read(buf)
		if n > 0 {
			if o.log != nil {
				_, _ = o.log.Write(buf[:n]) // takes everything; see crilog
			}
			o.pass(buf[:n])
		}
		if err != nil {
			return // the end, or close
		}
	}
}

// pass hands what was read to the attached clients. One that does not keep up
// is cut off: it must not delay the container or its log.
func (o *output) pass(p []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.clients) == 0 {
		return
	}
	chunk := append([]byte(nil), p...)
	for c := range o.clients {
		select {
		case c.chunks <- chunk:
		default:
			delete(o.clients, c)
			c.err = errSlow
			close(c.chunks)
		}
	}
}

func (o *output) end() {
	if o.log != nil {
		_ = o.log.Close() // writes the last line; errors are reported by crilog
	}
	o.reader.Close()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	for c := range o.clients {
		delete(o.clients, c)
		close(c.chunks)
	}
}

// close ends the reading and waits for it.
func (o *output) close() {
	o.reader.Close()
	started := true
	o.started.Do(func() {
		started = false
		if o.keeper != nil {
			o.keeper.Close()
		}
		o.end()
		close(o.done)
	})
	if started {
		<-o.done
	}
}

// client is somebody who attached to an output.
type client struct {
	chunks chan []byte
	err    error // why it was cut off, if it was; set before chunks is closed
}

// subscribe adds a client. Its chunks end with the output.
func (o *output) subscribe() *client {
	c := &client{chunks: make(chan []byte, clientBacklog)}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		close(c.chunks)
		return c
	}
	o.clients[c] = struct{}{}
	return c
}

func (o *output) unsubscribe(c *client) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, ok := o.clients[c]; ok {
		delete(o.clients, c)
		close(c.chunks)
	}
}
