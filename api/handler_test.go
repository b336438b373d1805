package api

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"pgregory.net/rapid"

	cairnv1 "github.com/cairn-p2p/cairn/api/cairn/v1"
	"github.com/cairn-p2p/cairn/api/cairn/v1/cairnv1connect"
)

// post posts a body to one of NodeService's methods and decodes the JSON of the
// answer into v.
func post(t *testing.T, c *Client, method, body string, v any) (code int) {
	t.Helper()
	return postTo(t, c, cairnv1connect.NodeServiceName+"/"+method, body, v)
}

// postTo is post for the path of any method.
func postTo(t *testing.T, c *Client, path, body string, v any) (code int) {
	t.Helper()
	r, err := http.Post(c.url+"/"+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close() //nolint:errcheck // it was read
	if err := json.NewDecoder(r.Body).Decode(v); err != nil {
		t.Fatal(err)
	}
	return r.StatusCode
}

// TestJSON uses the API with nothing but net/http and encoding/json.
func TestJSON(t *testing.T) {
	c := serveNode(t)
	var published struct{ CIDs []string }
	if code := post(t, c, "Publish", `{"topic":"t","events":[{"payload":"YQ=="},{"payload":"Yg==","tags":["x"]},{}]}`, &published); code != http.StatusOK || len(published.CIDs) != 3 {
		t.Fatalf("publish: %d, %v", code, published)
	}
	var misspelt struct{ Code, Message string }
	if code := post(t, c, "Publish", `{"topic":"misspelt","event":[{"payload":"YQ=="}]}`, &misspelt); code != http.StatusBadRequest || misspelt.Message != "invalid argument: no events to publish" {
		t.Errorf("publish without events: %d, %+v", code, misspelt)
	}
	if code := post(t, c, "GetHeads", `{"topic":"misspelt"}`, &map[string]any{}); code != http.StatusNotFound {
		t.Errorf("a topic was joined for no event: %d", code)
	}
	var heads map[string]any
	if code := post(t, c, "GetHeads", `{"topic":"t"}`, &heads); code != http.StatusOK || heads["heads_hash"] == "" {
		t.Errorf("heads: %d, %v", code, heads)
	}
	if code := post(t, c, "JoinTopic", `{"topic":"empty"}`, &map[string]any{}); code != http.StatusOK {
		t.Errorf("join: %d", code)
	}
	post(t, c, "GetHeads", `{"topic":"empty"}`, &heads)
	if list, ok := heads["heads"].([]any); !ok || len(list) != 0 {
		t.Errorf("heads of an empty topic: %v", heads)
	}
	var failure struct {
		Code    string
		Message string
		Details []struct{ Debug struct{ Reason string } }
	}
	if code := post(t, c, "GetHeads", `{"topic":"none"}`, &failure); code != http.StatusNotFound || failure.Code != "not_found" ||
		len(failure.Details) != 1 || failure.Details[0].Debug.Reason != "not_found" {
		t.Errorf("heads of an unknown topic: %d, %+v", code, failure)
	}
	if code := post(t, c, "GetHeads", ``, &failure); code != http.StatusBadRequest {
		t.Errorf("no body: %d", code)
	}
	if code := post(t, c, "GetHeads", `{"topic":"none","later":1}`, &failure); code != http.StatusNotFound {
		t.Errorf("an unknown field: %d", code)
	}

	var cids []string
	next := ""
	for range 3 {
		var page struct {
			Events []struct{ CID string }
			Next   string
		}
		body := fmt.Sprintf(`{"topic":"t","filter":{"limit":2,"after":%q}}`, next)
		if code := post(t, c, "ListEvents", body, &page); code != http.StatusOK {
			t.Fatalf("list: %d", code)
		}
		for _, e := range page.Events {
			cids = append(cids, e.CID)
		}
		if next = page.Next; next == "" {
			break
		}
	}
	if !slices.Equal(cids, published.CIDs) {
		t.Errorf("pages have %v, published %v", cids, published.CIDs)
	}
}

func TestReflection(t *testing.T) {
	c := serveNode(t)
	client := grpcreflect.NewClient(&http.Client{Transport: c.http}, c.url, connect.WithGRPC())
	stream := client.NewStream(soon(t))
	defer stream.Close() //nolint:errcheck // nothing depends on it
	services, err := stream.ListServices()
	for _, want := range []protoreflect.FullName{cairnv1connect.NodeServiceName, cairnv1connect.ConsumerServiceName} {
		if err != nil || !slices.Contains(services, want) {
			t.Errorf("services %v, %v; want %s", services, err, want)
		}
	}
}

// allowed are the codes that a malformed request may be answered with.
var allowed = []string{"", "invalid_argument", "not_found", "resource_exhausted", "already_exists"}

// TestEmptyRequests sends every call a request without fields, and with random
// ones: each gets an answer, and never that something broke.
func TestEmptyRequests(t *testing.T) {
	c := serveNode(t)
	for _, m := range append(
		methods(cairnv1.File_cairn_v1_cairn_proto.Services().ByName("NodeService")),
		methods(cairnv1.File_cairn_v1_consumer_proto.Services().ByName("ConsumerService"))...) {
		t.Run(string(m.Name()), func(t *testing.T) {
			check := func(t interface {
				Errorf(string, ...any)
				Fatal(...any)
			}, request proto.Message,
			) {
				if code := call(t.Fatal, c, m, request); !slices.Contains(allowed, code) {
					t.Errorf("request {%v}: code %q", request, code)
				}
			}
			check(t, dynamicpb.NewMessage(m.Input()))
			rapid.Check(t, func(rt *rapid.T) { check(rt, randomMessage(rt, m.Input())) })
		})
	}
	if _, err := c.Status(soon(t)); err != nil {
		t.Error(err)
	}
}

func methods(d protoreflect.ServiceDescriptor) []protoreflect.MethodDescriptor {
	var all []protoreflect.MethodDescriptor
	for i := range d.Methods().Len() {
		all = append(all, d.Methods().Get(i))
	}
	return all
}

// randomMessage draws a message of which any field may be absent.
func randomMessage(t *rapid.T, d protoreflect.MessageDescriptor) *dynamicpb.Message {
	m := dynamicpb.NewMessage(d)
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		if !rapid.Bool().Draw(t, "present") {
			continue
		}
		if !f.IsList() {
			m.Set(f, randomValue(t, f))
			continue
		}
		for range rapid.IntRange(0, 3).Draw(t, "length") {
			m.Mutable(f).List().Append(randomValue(t, f))
		}
	}
	return m
}

func randomValue(t *rapid.T, f protoreflect.FieldDescriptor) protoreflect.Value {
	switch f.Kind() {
	case protoreflect.StringKind:
		texts := rapid.SampledFrom([]string{"t", "id:", "start", "ack", "kAAAAAAAAAAAAAAAAAQE", "bafyreihhyyb5esmuvsihbnns66ol543tfbqdh7kzv5kscrvgf22pqzqugu", "/ip4/127.0.0.1"})
		return protoreflect.ValueOfString(rapid.OneOf(texts, rapid.String()).Draw(t, "text"))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes(rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(rapid.Bool().Draw(t, "bool"))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(rapid.Uint64().Draw(t, "number"))
	case protoreflect.Int64Kind:
		return protoreflect.ValueOfInt64(rapid.Int64().Draw(t, "number"))
	case protoreflect.Int32Kind:
		return protoreflect.ValueOfInt32(rapid.Int32().Draw(t, "number"))
	case protoreflect.MessageKind:
		return protoreflect.ValueOfMessage(randomMessage(t, f.Message()))
	}
	panic("no random value of kind " + f.Kind().String())
}

// callTime is more than a call takes that does not wait for something, and
// what one that waits is given.
const callTime = 50 * time.Millisecond

// call makes one call with one request and returns the code of the answer: ""
// for success, and for one that still goes on.
func call(fatal func(...any), c *Client, m protoreflect.MethodDescriptor, request proto.Message) string {
	body, err := proto.Marshal(request)
	if err != nil {
		fatal(err)
	}
	contentType := "application/proto"
	streaming := m.IsStreamingClient() || m.IsStreamingServer()
	if streaming {
		contentType = "application/connect+proto"
		body = append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body))), body...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url+"/"+string(m.Parent().FullName())+"/"+string(m.Name()), bytes.NewReader(body))
	if err != nil {
		fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	response, err := c.http.RoundTrip(r)
	if err == nil {
		defer response.Body.Close() //nolint:errcheck // it was read
		body, err = io.ReadAll(response.Body)
	}
	if ctx.Err() != nil {
		return ""
	}
	if err != nil {
		fatal(err)
	}
	if streaming {
		return streamCode(body)
	}
	if response.StatusCode == http.StatusOK {
		return ""
	}
	var failure struct{ Code string }
	if err := json.Unmarshal(body, &failure); err != nil {
		fatal(err)
	}
	return failure.Code
}

// streamCode returns the code in the last frame of a stream of the protocol.
func streamCode(body []byte) string {
	const head = 5
	for len(body) >= head {
		last, size := body[0]&2 != 0, int(binary.BigEndian.Uint32(body[1:]))
		frame := body[head:min(len(body), head+size)]
		body = body[head+len(frame):]
		if !last {
			continue
		}
		var end struct{ Error struct{ Code string } }
		if err := json.Unmarshal(frame, &end); err != nil {
			return err.Error()
		}
		return end.Error.Code
	}
	return "the stream has no end"
}
