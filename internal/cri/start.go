package cri

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// runNamespace and runName are what runtimes are told, so that people see
	// whose container it is.
	runNamespace, runName = "p2pctl", "p2pctl-check"
	// runFor is how long a container that goes on by itself is watched, and
	// lookEvery how often it is looked at.
	runFor, lookEvery = 2 * time.Second, 50 * time.Millisecond
)

// Start runs a container of an image in the node's own network, which needs no
// plugin, and says what became of it. Undo removes it.
func (c *Client) Start(ctx context.Context, image string, command []string) (string, error) {
	host := &cri.NamespaceOption{Network: cri.NamespaceMode_NODE}
	sandbox := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: runName, Namespace: runNamespace, Uid: fmt.Sprint(time.Now().UnixNano())},
		Linux:    &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: host}},
	}
	pod, err := c.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: sandbox})
	if err != nil {
		return "", fmt.Errorf("make a pod: %w", said(err))
	}
	c.undo = append(c.undo, func(ctx context.Context) error {
		_, stopped := c.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod.GetPodSandboxId()})
		_, removed := c.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod.GetPodSandboxId()})
		return errors.Join(said(stopped), said(removed))
	})
	made, err := c.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: pod.GetPodSandboxId(), SandboxConfig: sandbox,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: runName}, Image: &cri.ImageSpec{Image: image}, Command: command,
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{NamespaceOptions: host}},
		},
	})
	if err != nil {
		return "", fmt.Errorf("make a container: %w", said(err))
	}
	if _, err := c.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: made.GetContainerId()}); err != nil {
		return "", fmt.Errorf("start it: %w", said(err))
	}
	return c.watch(ctx, made.GetContainerId())
}

// watch waits until a container ends, or has gone on for a while.
func (c *Client) watch(ctx context.Context, id string) (string, error) {
	for began := time.Now(); ; {
		found, err := c.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
		if err != nil {
			return "", said(err)
		}
		st := found.GetStatus()
		switch {
		case st.GetState() == cri.ContainerState_CONTAINER_EXITED && st.GetExitCode() == 0:
			return "it ran and ended with 0", nil
		case st.GetState() == cri.ContainerState_CONTAINER_EXITED:
			return "", fmt.Errorf("it ended with %d: %s", st.GetExitCode(), strings.TrimSpace(st.GetReason()+" "+st.GetMessage()))
		case st.GetState() == cri.ContainerState_CONTAINER_RUNNING && time.Since(began) > runFor:
			return "it runs", nil
		}
		select {
		case <-time.After(lookEvery):
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}
