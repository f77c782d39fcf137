package ctl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const (
	// runNamespace and runName are what runtimes are told, so that people see
	// whose container it is.
	runNamespace, runName = "p2pctl", "p2pctl-check"
	// runFor is how long a container that goes on by itself is watched.
	runFor = 2 * time.Second
	// cleanWithin bounds the removal of what was started.
	cleanWithin = 20 * time.Second
)

// containerRuntime is a container runtime, asked as a kubelet does.
type containerRuntime struct {
	conn     *grpc.ClientConn
	runtime  cri.RuntimeServiceClient
	images   cri.ImageServiceClient
	clean    []func(context.Context) error // what is to be undone, the last first
	wasThere bool                          // the image, before it was pulled
}

func dialRuntime(socket string) (*containerRuntime, error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return nil, err
	}
	return &containerRuntime{conn: conn, runtime: cri.NewRuntimeServiceClient(conn), images: cri.NewImageServiceClient(conn)}, nil
}

// said is what a runtime fails with, without gRPC's words around it.
func said(err error) error {
	if err == nil {
		return nil
	}
	if s, ok := status.FromError(err); ok {
		return fmt.Errorf("the runtime says: %s", s.Message())
	}
	return err
}

func (r *containerRuntime) version(ctx context.Context) (string, error) {
	v, err := r.runtime.Version(ctx, &cri.VersionRequest{})
	if err != nil {
		return "", said(err)
	}
	return v.GetRuntimeName() + " " + v.GetRuntimeVersion(), nil
}

// pull pulls an image, with the credentials of docker login. It is removed at
// the end, if it was not there before.
func (r *containerRuntime) pull(ctx context.Context, image string, auth authn.AuthConfig) error {
	spec := &cri.ImageSpec{Image: image}
	before, err := r.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: spec})
	if err != nil {
		return said(err)
	}
	ask := &cri.PullImageRequest{Image: spec}
	if auth != (authn.AuthConfig{}) {
		ask.Auth = &cri.AuthConfig{Username: auth.Username, Password: auth.Password, Auth: auth.Auth, IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken}
	}
	if r.wasThere = before.GetImage() != nil; !r.wasThere {
		r.clean = append(r.clean, func(ctx context.Context) error {
			_, err := r.images.RemoveImage(ctx, &cri.RemoveImageRequest{Image: spec})
			return said(err)
		})
	}
	_, err = r.images.PullImage(ctx, ask)
	return said(err)
}

// start runs a container of an image in the node's own network, which needs no
// plugin, and says what became of it.
func (r *containerRuntime) start(ctx context.Context, image string, command []string) (string, error) {
	host := &cri.NamespaceOption{Network: cri.NamespaceMode_NODE}
	sandbox := &cri.PodSandboxConfig{
		Metadata: &cri.PodSandboxMetadata{Name: runName, Namespace: runNamespace, Uid: fmt.Sprint(time.Now().UnixNano())},
		Linux:    &cri.LinuxPodSandboxConfig{SecurityContext: &cri.LinuxSandboxSecurityContext{NamespaceOptions: host}},
	}
	pod, err := r.runtime.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: sandbox})
	if err != nil {
		return "", fmt.Errorf("make a pod: %w", said(err))
	}
	r.clean = append(r.clean, func(ctx context.Context) error {
		_, stopped := r.runtime.StopPodSandbox(ctx, &cri.StopPodSandboxRequest{PodSandboxId: pod.GetPodSandboxId()})
		_, removed := r.runtime.RemovePodSandbox(ctx, &cri.RemovePodSandboxRequest{PodSandboxId: pod.GetPodSandboxId()})
		return errors.Join(said(stopped), said(removed))
	})
	made, err := r.runtime.CreateContainer(ctx, &cri.CreateContainerRequest{
		PodSandboxId: pod.GetPodSandboxId(), SandboxConfig: sandbox,
		Config: &cri.ContainerConfig{
			Metadata: &cri.ContainerMetadata{Name: runName}, Image: &cri.ImageSpec{Image: image}, Command: command,
			Linux: &cri.LinuxContainerConfig{SecurityContext: &cri.LinuxContainerSecurityContext{NamespaceOptions: host}},
		},
	})
	if err != nil {
		return "", fmt.Errorf("make a container: %w", said(err))
	}
	if _, err := r.runtime.StartContainer(ctx, &cri.StartContainerRequest{ContainerId: made.GetContainerId()}); err != nil {
		return "", fmt.Errorf("start it: %w", said(err))
	}
	return r.watch(ctx, made.GetContainerId())
}

// watch waits until a container ends, or has gone on for a while.
func (r *containerRuntime) watch(ctx context.Context, id string) (string, error) {
	for began := time.Now(); ; {
		found, err := r.runtime.ContainerStatus(ctx, &cri.ContainerStatusRequest{ContainerId: id})
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
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return "", err
		}
	}
}

// undo removes what was made. It goes on after a failure, and has time of its
// own.
func (r *containerRuntime) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
	defer cancel()
	var failed []error
	for len(r.clean) > 0 {
		last := len(r.clean) - 1
		failed = append(failed, r.clean[last](ctx))
		r.clean = r.clean[:last]
	}
	return errors.Join(failed...)
}
