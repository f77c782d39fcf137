package daemon_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/p2pd/p2pd/internal/api"
)

// message is an empty one of the package p2pd.v1.
func message(t *testing.T, name string) *dynamicpb.Message {
	t.Helper()
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName("p2pd.v1." + name))
	if err != nil {
		t.Fatal(err)
	}
	m, ok := d.(protoreflect.MessageDescriptor)
	if !ok {
		t.Fatalf("%s is no message", name)
	}
	return dynamicpb.NewMessage(m)
}

// job is what programs see of one.
type job struct {
	ID      string `json:"id"`
	State   string `json:"state"`
	Done    int    `json:"done"`
	Bytes   string `json:"bytes"`
	OfBytes string `json:"ofBytes"`
	Ended   string `json:"ended"`
}

// invoke asks the PreheatService as any program may that has its .proto file.
func invoke(ctx context.Context, t *testing.T, conn *grpc.ClientConn, method, request string) (answer struct {
	Job  job   `json:"job"`
	Jobs []job `json:"jobs"`
}, err error) {
	t.Helper()
	ask, got := message(t, method+"Request"), message(t, method+"Response")
	if err := protojson.Unmarshal([]byte(request), ask); err != nil {
		t.Fatal(err)
	}
	if err := conn.Invoke(ctx, "/p2pd.v1.PreheatService/"+method, ask, got); err != nil {
		return answer, err
	}
	b, err := protojson.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &answer); err != nil {
		t.Fatal(err)
	}
	return answer, nil
}

func dialGRPC(t *testing.T, target string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Preheats are to be had by gRPC at the place where they are by HTTP, and are the same.
func TestPreheatByGRPC(t *testing.T) {
	s := newShop(t)
	s.push(t, "a/app")
	o := newOven(t, s, 2)
	ctx, conn := t.Context(), dialGRPC(t, "unix://"+o.socket)
	made, err := invoke(ctx, t, conn, "CreatePreheat", `{"image":"shop.test/a/app:v1","scope":"all","timeout":"90s"}`)
	if err != nil || made.Job.ID == "" {
		t.Fatalf("%+v, %v", made, err)
	}
	same := `{"id":"` + made.Job.ID + `"}`
	var got job
	until(t, "the job has ended", func() bool {
		a, err := invoke(ctx, t, conn, "GetPreheat", same)
		if err != nil {
			t.Fatal(err)
		}
		got = a.Job
		return got.Ended != ""
	})
	if got.State != api.PreheatSucceeded || got.Done != 2 || got.Bytes != got.OfBytes {
		t.Errorf("job: %+v", got)
	}
	var list api.PreheatList
	o.ask(t, http.MethodGet, "/preheats", nil, &list)
	all, err := invoke(ctx, t, conn, "ListPreheats", `{}`)
	if err != nil || len(all.Jobs) != 1 || len(list.Items) != 1 || all.Jobs[0].ID != made.Job.ID {
		t.Errorf("by gRPC %+v, %v; by HTTP %+v", all, err, list.Items)
	}
	if a, err := invoke(ctx, t, conn, "CancelPreheat", same); err != nil || a.Job.State != api.PreheatSucceeded {
		t.Errorf("cancelled when it was over: %+v, %v", a, err)
	}
	for request, want := range map[string]codes.Code{
		`{"image":"shop.test/a/app:v1","percentage":101}`: codes.InvalidArgument,
		`{"image":"unlisted.test/a/app:v1"}`:              codes.PermissionDenied,
		`{"image":"shop.test/a/app:v1","selector":"gpu"}`: codes.FailedPrecondition, // this is no Kubernetes
	} {
		if _, err := invoke(ctx, t, conn, "CreatePreheat", request); status.Code(err) != want {
			t.Errorf("%s: %v, want %v", request, err, want)
		}
	}
	if _, err := invoke(ctx, t, conn, "GetPreheat", `{"id":"77"}`); status.Code(err) != codes.NotFound {
		t.Errorf("a job that is not there: %v", err)
	}
}

// On TCP gRPC asks for the same token as HTTP.
func TestGRPCAsksForTheToken(t *testing.T) {
	file := filepath.Join(t.TempDir(), "admin.token")
	at := port(t)
	if _, _, err := hubAt(t, at, file); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	conn := dialGRPC(t, at)
	for token, want := range map[string]codes.Code{"": codes.Unauthenticated, "x" + string(b): codes.Unauthenticated, string(b): codes.OK} {
		ctx := metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+strings.TrimSpace(token))
		if _, err := invoke(ctx, t, conn, "ListPreheats", `{}`); status.Code(err) != want {
			t.Errorf("token of %d bytes: %v, want %v", len(token), err, want)
		}
	}
}
