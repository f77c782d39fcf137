package cri

import (
	"context"

	"github.com/google/go-containerregistry/pkg/authn"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// Pull pulls an image. Undo removes it, if it was not there before, which is what
// wasThere says.
func (c *Client) Pull(ctx context.Context, image string, auth authn.AuthConfig) (wasThere bool, err error) {
	wasThere, _, err = c.Held(ctx, image)
	if err != nil {
		return false, err
	}
	if !wasThere {
		c.undo = append(c.undo, func(ctx context.Context) error {
			_, err := c.images.RemoveImage(ctx, &cri.RemoveImageRequest{Image: &cri.ImageSpec{Image: image}})
			return said(err)
		})
	}
	return wasThere, c.Fetch(ctx, image, auth)
}

// Fetch has the runtime pull an image and unpack it, and returns once that is done.
// auth goes to whom the runtime asks for the image; containerd heeds a login and an
// identity token, and ignores a registry token. If ctx ends, so does the pull.
func (c *Client) Fetch(ctx context.Context, image string, auth authn.AuthConfig) error {
	ask := &cri.PullImageRequest{Image: &cri.ImageSpec{Image: image}}
	if auth != (authn.AuthConfig{}) {
		ask.Auth = &cri.AuthConfig{Username: auth.Username, Password: auth.Password, Auth: auth.Auth, IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken}
	}
	_, err := c.images.PullImage(ctx, ask)
	return said(err)
}

// Held reports whether the runtime has an image by that name, and then by which
// names with digests, as REPOSITORY@DIGEST.
func (c *Client) Held(ctx context.Context, image string) (held bool, digests []string, err error) {
	st, err := c.images.ImageStatus(ctx, &cri.ImageStatusRequest{Image: &cri.ImageSpec{Image: image}})
	if err != nil {
		return false, nil, said(err)
	}
	return st.GetImage() != nil, st.GetImage().GetRepoDigests(), nil
}
