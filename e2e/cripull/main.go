// Command cripull asks a container runtime over CRI, as a kubelet does, to pull
// or to remove an image, or whether it is ready. The end-to-end tests run it:
// ctr has ways of its own into containerd, CRI is the one that nodes use.
//
//	cripull -socket PATH version | pull IMAGE | remove IMAGE
//
// It is a module of its own to keep Kubernetes' out of p2pd's.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func main() {
	socket := flag.String("socket", "", "`path` of the runtime's socket")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *socket, flag.Args())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, socket string, args []string) (err error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	images := cri.NewImageServiceClient(conn)
	switch {
	case len(args) == 1 && args[0] == "version":
		// The image service's own answer: the runtime's half may come later.
		_, err = images.ListImages(ctx, &cri.ListImagesRequest{})
	case len(args) == 2 && args[0] == "pull":
		var pulled *cri.PullImageResponse
		if pulled, err = images.PullImage(ctx, &cri.PullImageRequest{Image: &cri.ImageSpec{Image: args[1]}}); err == nil {
			fmt.Println(pulled.GetImageRef())
		}
	case len(args) == 2 && args[0] == "remove":
		_, err = images.RemoveImage(ctx, &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: args[1]}})
	default:
		return errors.New("usage: cripull -socket PATH version | pull IMAGE | remove IMAGE")
	}
	if err != nil {
		return fmt.Errorf("%s: %s", status.Code(err), status.Convert(err).Message())
	}
	return nil
}
