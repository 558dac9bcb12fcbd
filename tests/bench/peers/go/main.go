// Upstream's Go client as its documentation shows it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	durablestreams "github.com/durable-streams/durable-streams/packages/client-go"
)

// The calls whose cost is measured: few enough that little is sent beside them.
const sampledCalls = 100_000

type job struct {
	url, kind, mode       string
	events, rate, streams int
	messages              [][]byte
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "main.go:", err)
		os.Exit(1)
	}
}

// From arguments of the form name=value.
func readJob() job {
	given := map[string]string{}
	for _, word := range os.Args[1:] {
		name, value, _ := strings.Cut(word, "=")
		given[name] = value
	}
	number := func(name string) int {
		value, _ := strconv.Atoi(given[name])
		return value
	}
	text, err := os.ReadFile(given["messages"])
	fail(err)
	return job{
		url: given["url"], kind: given["kind"], mode: given["mode"],
		events: number("events"), rate: number("rate"), streams: number("streams"),
		messages: bytes.Split(bytes.TrimSpace(text), []byte("\n")),
	}
}

func (j job) contentType() string {
	if j.kind == "bytes" {
		return "application/octet-stream"
	}
	return "application/json"
}

func (j job) message(n int) []byte { return j.messages[n%len(j.messages)] }

// Counts what goes out, and what goes out again.
type counter struct {
	http.RoundTripper
	lock          sync.Mutex
	seen          map[string]bool
	sent, repeats int
}

func (c *counter) RoundTrip(request *http.Request) (*http.Response, error) {
	if sequence := request.Header.Get("Producer-Seq"); sequence != "" {
		key := request.URL.String() + " " + sequence
		c.lock.Lock()
		c.sent++
		if c.seen[key] {
			c.repeats++
		}
		c.seen[key] = true
		c.lock.Unlock()
	}
	return c.RoundTripper.RoundTrip(request)
}

var (
	requests = &counter{seen: map[string]bool{}}
	// What the client said went wrong; a later error is not the first.
	failures sync.Map
)

func newClient() *durablestreams.Client {
	// Its own transport, counted.
	own := durablestreams.NewClient().HTTPClient()
	requests.RoundTripper = own.Transport
	return durablestreams.NewClient(durablestreams.WithHTTPClient(&http.Client{Transport: requests}))
}

func (j job) open(client *durablestreams.Client, url string) *durablestreams.IdempotentProducer {
	producer, err := client.IdempotentProducer(url, "bench", durablestreams.IdempotentProducerConfig{
		AutoClaim: true, ContentType: j.contentType(),
		OnError: func(err error) { failures.LoadOrStore("first", err) },
	})
	fail(err)
	return producer
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	fail(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	seconds := func(time syscall.Timeval) float64 { return float64(time.Sec) + float64(time.Usec)/1e6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}

func report(started time.Time, cpu float64, accepting time.Duration, calls int) map[string]any {
	return map[string]any{
		"seconds": time.Since(started).Seconds(), "cpu_seconds": cpuSeconds() - cpu,
		"accept_seconds": accepting.Seconds(), "accept_calls": calls,
		"requests": requests.sent, "repeats": requests.repeats,
	}
}

func (j job) streamAll(producer *durablestreams.IdempotentProducer) map[string]any {
	calls := min(j.events, sampledCalls)
	cpu, started := cpuSeconds(), time.Now()
	for n := range calls {
		fail(producer.Append(j.message(n)))
	}
	accepting := time.Since(started)
	for n := calls; n < j.events; n++ {
		fail(producer.Append(j.message(n)))
	}
	fail(producer.Flush(context.Background()))
	return report(started, cpu, accepting, calls)
}

func (j job) idle(producer *durablestreams.IdempotentProducer) map[string]any {
	waits := []int64{}
	for n := range j.events {
		started := time.Now()
		fail(producer.Append(j.message(n)))
		fail(producer.Flush(context.Background()))
		waits = append(waits, time.Since(started).Microseconds())
	}
	return map[string]any{"waits_us": waits}
}

// Events at a rate. What is due is appended and flushed: only a flush tells when it was taken.
func (j job) paced(producer *durablestreams.IdempotentProducer) map[string]any {
	due := func(event int) int64 {
		if j.rate <= 1000 {
			return int64(event) * 1_000_000 / int64(j.rate)
		}
		return int64(event) * 1000 / int64(j.rate) * 1000
	}
	begun, done := []int64{}, make([]*int64, j.events)
	started := time.Now()
	for len(begun) < j.events {
		pause := due(len(begun)) - time.Since(started).Microseconds()
		if pause > 0 {
			time.Sleep(time.Duration(pause) * time.Microsecond)
		}
		first, woken := len(begun), time.Since(started).Microseconds()
		for len(begun) < j.events && due(len(begun)) <= woken {
			// A sleep that takes too long is not the client's.
			at := due(len(begun))
			if pause > 0 {
				at = woken
			}
			begun = append(begun, at)
		}
		failures.Delete("first")
		for event := first; event < len(begun); event++ {
			fail(producer.Append(j.message(event)))
		}
		fail(producer.Flush(context.Background()))
		at := time.Since(started).Microseconds()
		if _, failed := failures.Load("first"); !failed {
			for event := first; event < len(begun); event++ {
				done[event] = &at
			}
		}
	}
	failures.Delete("first")
	return map[string]any{"epoch_us": started.UnixMicro(), "begun_us": begun, "done_us": done}
}

func residentBytes() int {
	text, err := os.ReadFile("/proc/self/statm")
	fail(err)
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	fail(err)
	return pages * 4096
}

func (j job) queue(producer *durablestreams.IdempotentProducer) map[string]any {
	fail(producer.Append(j.message(0)))
	fail(producer.Flush(context.Background()))
	fmt.Println("ready")
	_, err := os.Stdin.Read(make([]byte, 1)) // until the server is gone
	fail(err)
	before := residentBytes()
	for n := range j.events {
		fail(producer.Append(j.message(n)))
	}
	return map[string]any{"before_bytes": before, "after_bytes": residentBytes()}
}

func (j job) manyStreams(client *durablestreams.Client) map[string]any {
	cpu, started := cpuSeconds(), time.Now()
	producers := make([]*durablestreams.IdempotentProducer, j.streams)
	for n := range producers {
		producers[n] = j.open(client, fmt.Sprintf("%s-%d", j.url, n))
	}
	for n := range j.events / j.streams {
		for _, producer := range producers {
			fail(producer.Append(j.message(n)))
		}
	}
	for _, producer := range producers {
		fail(producer.Flush(context.Background()))
	}
	return report(started, cpu, 0, 0)
}

func main() {
	j, client := readJob(), newClient()
	var result map[string]any
	if j.mode == "streams" {
		result = j.manyStreams(client)
	} else {
		created := client.Stream(j.url).Create(
			context.Background(), durablestreams.WithContentType(j.contentType()))
		fail(created)
		producer := j.open(client, j.url)
		switch j.mode {
		case "idle":
			result = j.idle(producer)
		case "paced":
			result = j.paced(producer)
		case "queue":
			result = j.queue(producer)
		default:
			result = j.streamAll(producer)
		}
	}
	if failure, failed := failures.Load("first"); failed && j.mode != "queue" {
		fail(failure.(error))
	}
	fail(json.NewEncoder(os.Stdout).Encode(result))
	_, _ = io.Copy(io.Discard, os.Stdin) // until the result was looked at
}
