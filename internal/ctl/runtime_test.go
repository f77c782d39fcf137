package ctl

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// fakeRuntime is a container runtime that remembers what it was asked to do.
type fakeRuntime struct {
	cri.UnimplementedRuntimeServiceServer
	cri.UnimplementedImageServiceServer

	mu      sync.Mutex // guards what follows
	did     []string
	has     bool  // the image
	pullErr error // what a pull ends with
	exit    int32 // what a container ends with; negative: it goes on
	pulled  func()
}

func (f *fakeRuntime) do(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.did = append(f.did, what)
}

func (f *fakeRuntime) Version(context.Context, *cri.VersionRequest) (*cri.VersionResponse, error) {
	return &cri.VersionResponse{RuntimeName: "fake", RuntimeVersion: "1"}, nil
}

func (f *fakeRuntime) ImageStatus(context.Context, *cri.ImageStatusRequest) (*cri.ImageStatusResponse, error) {
	if f.has {
		return &cri.ImageStatusResponse{Image: &cri.Image{Id: "x"}}, nil
	}
	return &cri.ImageStatusResponse{}, nil
}

func (f *fakeRuntime) PullImage(_ context.Context, r *cri.PullImageRequest) (*cri.PullImageResponse, error) {
	f.do("pull " + r.GetImage().GetImage())
	if f.pulled != nil {
		f.pulled()
	}
	return &cri.PullImageResponse{}, f.pullErr
}

func (f *fakeRuntime) RemoveImage(context.Context, *cri.RemoveImageRequest) (*cri.RemoveImageResponse, error) {
	f.do("remove image")
	return &cri.RemoveImageResponse{}, nil
}

func (f *fakeRuntime) RunPodSandbox(context.Context, *cri.RunPodSandboxRequest) (*cri.RunPodSandboxResponse, error) {
	f.do("pod")
	return &cri.RunPodSandboxResponse{PodSandboxId: "p"}, nil
}

func (f *fakeRuntime) StopPodSandbox(context.Context, *cri.StopPodSandboxRequest) (*cri.StopPodSandboxResponse, error) {
	f.do("stop pod")
	return &cri.StopPodSandboxResponse{}, nil
}

func (f *fakeRuntime) RemovePodSandbox(context.Context, *cri.RemovePodSandboxRequest) (*cri.RemovePodSandboxResponse, error) {
	f.do("remove pod")
	return &cri.RemovePodSandboxResponse{}, nil
}

func (f *fakeRuntime) CreateContainer(_ context.Context, r *cri.CreateContainerRequest) (*cri.CreateContainerResponse, error) {
	f.do("container " + strings.Join(r.GetConfig().GetCommand(), " "))
	return &cri.CreateContainerResponse{ContainerId: "c"}, nil
}

func (f *fakeRuntime) StartContainer(context.Context, *cri.StartContainerRequest) (*cri.StartContainerResponse, error) {
	f.do("start")
	return &cri.StartContainerResponse{}, nil
}

func (f *fakeRuntime) ContainerStatus(context.Context, *cri.ContainerStatusRequest) (*cri.ContainerStatusResponse, error) {
	return &cri.ContainerStatusResponse{Status: &cri.ContainerStatus{State: cri.ContainerState_CONTAINER_EXITED, ExitCode: f.exit, Reason: "Error"}}, nil
}

// serve answers at a socket until the test ends.
func (f *fakeRuntime) serve(t *testing.T) string {
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

// What the runtime does is told, what it made is removed whatever happened, and
// an image that was there before stays.
func TestCheckStarts(t *testing.T) {
	all := []string{"pull r.test/app:1", "pod", "container /bin/true x", "start", "stop pod", "remove pod", "remove image"}
	for name, tt := range map[string]struct {
		runtime       *fakeRuntime
		served        int64
		check, result string
		says          string
		did           []string
	}{
		"all is well": {&fakeRuntime{}, 5, "a container starts from it", resultOK, "", all},
		"p2pd gave":   {&fakeRuntime{}, 5, "the runtime pulls the image", resultOK, "", all},
		"past p2pd":   {&fakeRuntime{}, 0, "the runtime pulls the image", resultWarning, "took nothing from p2pd", all},
		"it fails":    {&fakeRuntime{exit: 3}, 5, "a container starts from it", resultError, "ended with 3", all},
		"no pull":     {&fakeRuntime{pullErr: errors.New("not found")}, 5, "the runtime pulls the image", resultError, "the runtime says: not found", []string{"pull r.test/app:1", "remove image"}},
		"it was there": {&fakeRuntime{has: true}, 0, "the runtime pulls the image", resultOK, "",
			[]string{"pull r.test/app:1", "pod", "container /bin/true x", "start", "stop pod", "remove pod"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSound(t)
			s.status.Served = 100
			tt.runtime.pulled = func() { s.status.Served += tt.served }
			// The registry does not exist: that is found too, and is no matter here.
			_, found := s.check(t, "--image", "r.test/app:1", "--start", "--cri-socket", tt.runtime.serve(t), "--command", "/bin/true,x", "--timeout", "10s")
			c := found[tt.check]
			if c.Result != tt.result || !strings.Contains(c.Error, tt.says) {
				t.Errorf("%+v, want %s about %q", c, tt.result, tt.says)
			}
			if !slices.Equal(tt.runtime.did, tt.did) {
				t.Errorf("it was told to\n%q, want\n%q", tt.runtime.did, tt.did)
			}
			if left := found["nothing of it is left"]; left.Result != resultOK {
				t.Errorf("%+v", left)
			}
		})
	}
	if code, _, err := run(t, "check", "--start"); code != 2 || !strings.Contains(err, "--image") {
		t.Errorf("--start without an image: %d %q", code, err)
	}
}
