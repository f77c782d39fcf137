// Package critest has a container runtime that answers over CRI, and only pretends.
package critest

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Runtime is a container runtime that remembers what it was asked to do. Its fields
// are set before Serve.
type Runtime struct {
	cri.UnimplementedRuntimeServiceServer
	cri.UnimplementedImageServiceServer

	Has     bool     // the image
	Digests []string // of the image, as REPOSITORY@DIGEST
	PullErr error    // what a pull ends with
	Pulled  func()   // is called in a pull; nil: nothing is
	Exit    int32    // what a container ends with

	mu   sync.Mutex // guards what follows
	did  []string
	auth *cri.AuthConfig
}

func (f *Runtime) do(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, what)
}

// Did is what it was asked to do, in that order.
func (f *Runtime) Did() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.did)
}

// Auth is what the last pull came with; nil: nothing.
func (f *Runtime) Auth() *cri.AuthConfig {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.auth
}

// Version implements the CRI.
func (f *Runtime) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{RuntimeName: "fake", RuntimeVersion: "1"}, nil
}

// ImageStatus implements the CRI.
func (f *Runtime) ImageStatus(context.Context, *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	if f.Has {
		return &cri.ImageStatusResponse{Image: &cri.Image{Id: "x", RepoDigests: f.Digests}}, nil
	}
	return &cri.ImageStatusResponse{}, nil
}

// PullImage implements the CRI.
func (f *Runtime) PullImage(_ context.Context, r *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	f.do("pull " + r.GetImage().GetImage())
	f.mu.Lock()
	f.auth = r.GetAuth()
	f.mu.Unlock()
	if f.Pulled != nil {
		f.Pulled()
	}
	return &cri.PullImageResponse{}, f.PullErr
}

// RemoveImage implements the CRI.
func (f *Runtime) RemoveImage(context.Context, *cri.RemoveImageRequest) (*cri.RemoveImageResponse, error) {
	f.do("remove image")
	return &cri.RemoveImageResponse{}, nil
}

// RunPodSandbox implements the CRI.
func (f *Runtime) RunPodSandbox(context.Context, *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	f.do("pod")
	return &cri.RunPodSandboxResponse{PodSandboxId: "p"}, nil
}

// StopPodSandbox implements the CRI.
func (f *Runtime) StopPodSandbox(context.Context, *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	f.do("stop pod")
	return &cri.StopPodSandboxResponse{}, nil
}

// RemovePodSandbox implements the CRI.
func (f *Runtime) RemovePodSandbox(context.Context, *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	f.do("remove pod")
	return &cri.RemovePodSandboxResponse{}, nil
}

// CreateContainer implements the CRI.
func (f *Runtime) CreateContainer(_ context.Context, r *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
	f.do("container " + strings.Join(r.GetConfig().GetCommand(), " "))
	return &cri.CreateContainerResponse{ContainerId: "c"}, nil
}

// StartContainer implements the CRI.
func (f *Runtime) StartContainer(context.Context, *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	f.do("start")
	return &cri.StartContainerResponse{}, nil
}

// ContainerStatus implements the CRI.
func (f *Runtime) ContainerStatus(context.Context, *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	return &cri.ContainerStatusResponse{Status: &cri.ContainerStatus{State: cri.ContainerState_CONTAINER_EXITED, ExitCode: f.Exit, Reason: "Error"}}, nil
}

// Serve answers at a socket, whose path it returns, until the test ends.
func (f *Runtime) Serve(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	srv := grpc.NewServer()
	cri.RegisterRuntimeServiceServer(srv, f)
	cri.RegisterImageServiceServer(srv, f)
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	return path
}
