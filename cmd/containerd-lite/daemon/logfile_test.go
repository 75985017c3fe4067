// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"bytes"
	"strings"
	"sync"
)

// logFile stores what is written to it, and lets tests wait for a text. mu protects content.
type logFile struct {
	mu      sync.Mutex
	grown   *sync.Cond
	content bytes.Buffer
}

func newLogFile() *logFile {
	l := &logFile{}
	l.grown = sync.NewCond(&l.mu)
	return l
}

func (l *logFile) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.grown.Broadcast()
	return l.content.Write(p)
}

func (l *logFile) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.content.String()
}

// waitFor returns when the text has been written.
func (l *logFile) waitFor(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !strings.Contains(l.content.String(), text) {
		l.grown.Wait()
	}
}
