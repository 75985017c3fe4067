package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/containerd-lite/containerd-lite/integration/harness"
	"github.com/containerd-lite/containerd-lite/integration/image"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	ctx := context.Background()
	b, err := harness.New(ctx, harness.FromEnv())
	must(err)
	defer func() { fmt.Println("close:", b.Close(ctx)) }()
	cri, err := b.CRI()
	must(err)
	must(cri.Pull(ctx, image.Busybox))
	var ids []string
	var mu sync.Mutex
	sem := make(chan bool, 8)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			sem <- true
			defer func() { <-sem }()
			cfg := b.PodConfig(fmt.Sprintf("p%d", i))
			cfg.Hostname = ""
			cfg.Linux.SecurityContext.NamespaceOptions.Network = runtimeapi.NamespaceMode_NODE
			id, err := cri.RunPod(ctx, cfg)
			must(err)
			for _, n := range []string{"a", "b", "c"} {
				_, err = cri.Run(ctx, id, cfg, harness.ContainerConfig(cfg, n, image.Busybox, "sleep", "100000"))
				must(err)
			}
			mu.Lock()
			ids = append(ids, id)
			mu.Unlock()
		})
	}
	wg.Wait()
	pids, _ := b.Processes("containerd-shim")
	fmt.Println("shims", pids)
	t0 := time.Now()
	for _, p := range pids {
		syscall.Kill(p, syscall.SIGKILL)
	}
	gone := false
	for {
		l, err := cri.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
		must(err)
		n := 0
		for _, c := range l.Containers {
			if c.State == runtimeapi.ContainerState_CONTAINER_EXITED {
				n++
			}
		}
		sl, _ := b.Processes("sleep")
		if !gone && len(sl) == 0 {
			gone = true
			fmt.Println("processes gone after", time.Since(t0))
		}
		if n == 120 {
			fmt.Println("all exited after", time.Since(t0))
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	l, _ := cri.ListContainers(ctx, &runtimeapi.ListContainersRequest{})
	codes := map[int32]int{}
	for _, c := range l.Containers {
		s, err := cri.ContainerStatus(ctx, &runtimeapi.ContainerStatusRequest{ContainerId: c.Id})
		must(err)
		codes[s.Status.ExitCode]++
	}
	fmt.Println("codes", codes)
	for {
		ready := 0
		p, err := cri.ListPodSandbox(ctx, &runtimeapi.ListPodSandboxRequest{})
		must(err)
		for _, i := range p.Items {
			if i.State == 0 {
				ready++
			}
		}
		dl, _ := b.Processes("containerd-shim")
		if len(dl) <= 1 {
			fmt.Println("pods ready", ready, "settled after", time.Since(t0))
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	for _, id := range ids {
		must(cri.RemovePod(ctx, id))
	}
	data, _ := os.ReadFile(b.Path("daemon.log"))
	os.WriteFile("/tmp/sharing/kill.log", data, 0o644)
	fmt.Println(strings.Count(string(data), "level=error"), "errors")
}
