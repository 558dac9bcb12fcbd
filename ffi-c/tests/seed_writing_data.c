/* "Writing data": what the upstream document of that name shows, in C, pattern by pattern. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "http.h"

#include <stdatomic.h>

static const char *const EVENTS[] = {"{\"n\":0}", "{\"n\":1}", "{\"n\":2}", "{\"n\":3}"};
enum { EVENT_COUNT = 4 };

/* What `onError` does in the document: tell, and remember that another producer took over. */
static void on_error(const durstream_failure *failure, void *user_data) {
    atomic_bool *fenced = user_data;
    const durstream_error *error = durstream_failure_error(failure);
    if (durstream_error_code(error) == DURSTREAM_STALE_EPOCH) atomic_store(fenced, true);
    else fprintf(stderr, "Write error: %s\n", durstream_error_message(error));
}

static durstream_options *producer_options(atomic_bool *fenced) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "auto_claim", "true", &error), error);
    OK(durstream_options_on_error(options, on_error, fenced, NULL, &error), error);
    return options;
}

/* --- Setup: a JSON stream, an idempotent producer, append, flush, close. */
static void setup(void) {
    durstream_error *error = NULL;
    atomic_bool fenced = false;
    const char *path = fresh_path("my-stream");
    durstream_stream *handle = create(path, "application/json");
    durstream_options *options = producer_options(&fenced);
    durstream_producer *producer = open_producer(handle, "my-service", options);

    for (int n = 0; n < EVENT_COUNT; n++) OK(append(producer, EVENTS[n], &error), error);
    OK(durstream_producer_flush(producer, 30000, NULL, &error), error);
    OK(durstream_producer_close(producer, NULL, 0, 30000, NULL, &error), error);

    durstream_producer_free(producer);
    durstream_options_free(options);
    durstream_stream_free(handle);
    check_numbers(path, EVENT_COUNT);
}

/* --- Simple writes with append(): each waits for its own completion. */
static void simple_writes(void) {
    durstream_error *error = NULL;
    static const char created[] = "{\"type\":\"order.created\",\"orderId\":\"123\"}";
    static const char paid[] = "{\"type\":\"order.paid\",\"orderId\":\"123\"}";
    const char *path = fresh_path("events");
    durstream_stream *handle = create(path, "application/json");
    OK(durstream_stream_append(handle, (const uint8_t *)created, sizeof created - 1, 30000, NULL,
                               &error),
       error);
    OK(durstream_stream_append(handle, (const uint8_t *)paid, sizeof paid - 1, 30000, NULL, &error),
       error);
    durstream_stream_free(handle);

    char expected[128];
    snprintf(expected, sizeof expected, "[%s,%s]", created, paid);
    char *body = read_stream(path);
    CHECK(is(body, expected));
    free(body);
}

/* --- High-throughput writes: the producer batches and pipelines by itself. */
static void high_throughput(void) {
    durstream_error *error = NULL;
    atomic_bool fenced = false;
    const char *path = fresh_path("tokens");
    durstream_stream *handle = create(path, "text/plain");
    durstream_options *options = producer_options(&fenced);
    OK(durstream_options_set(options, "linger_ms", "10", &error), error);
    OK(durstream_options_set(options, "max_batch_bytes", "65536", &error), error);
    OK(durstream_options_set(options, "max_in_flight", "4", &error), error);
    durstream_producer *producer = open_producer(handle, "llm-worker", options);
    for (int n = 0; n < 20000; n++) OK(append(producer, "token ", &error), error);
    durstream_flush_report report = {.size = sizeof report};
    OK(durstream_producer_flush(producer, 30000, &report, &error), error);
    CHECK(report.delivered == 20000);
    durstream_stats stats = {.size = sizeof stats};
    OK(durstream_producer_stats(producer, &stats, &error), error);
    CHECK(stats.requests < 10000); /* each for several writes, however slow the machine is */
    OK(durstream_producer_close(producer, NULL, 0, 30000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_options_free(options);
    durstream_stream_free(handle);

    char *body = read_stream(path);
    CHECK(strlen(body) == 20000 * strlen("token "));
    free(body);
}

/* --- Closing a stream: with a last message, and again without. */
static void closing(void) {
    durstream_error *error = NULL;
    static const char complete[] = "{\"type\":\"stream.complete\"}";
    durstream_stream *handle = create(fresh_path("closing"), "application/json");
    char *first = NULL, *again = NULL;
    OK(durstream_stream_close(handle, (const uint8_t *)complete, sizeof complete - 1, 30000, &first,
                              &error),
       error);
    OK(durstream_stream_close(handle, NULL, 0, 30000, &again, &error), error);
    CHECK(is(again, first));
    CHECK(durstream_stream_append(handle, (const uint8_t *)"{}", 2, 30000, NULL, &error) ==
          DURSTREAM_STREAM_CLOSED);
    CHECK(is(durstream_error_final_offset(error), first));
    durstream_error_free(error);
    durstream_string_free(first);
    durstream_string_free(again);
    durstream_stream_free(handle);
}

/* --- Byte stream mode with custom framing: newline-delimited JSON. */
static void byte_stream(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("logs");
    durstream_stream *handle = create(path, "text/plain");
    durstream_producer *producer = open_producer(handle, "logger", NULL);
    OK(append(producer, "{\"level\":\"info\",\"msg\":\"started\"}\n", &error), error);
    OK(append(producer, "{\"level\":\"error\",\"msg\":\"failed\"}\n", &error), error);
    OK(durstream_producer_flush(producer, 30000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(handle);
    char *body = read_stream(path);
    CHECK(is(body, "{\"level\":\"info\",\"msg\":\"started\"}\n"
                   "{\"level\":\"error\",\"msg\":\"failed\"}\n"));
    free(body);
}

/* --- Handling StaleEpochError with several workers: stop when another one took over. */
static void fenced_workers_stop(void) {
    durstream_error *error = NULL;
    atomic_bool fenced = false, unused = false;
    durstream_stream *handle = create(fresh_path("workers"), "application/json");
    durstream_options *options = producer_options(&fenced);
    durstream_producer *worker = open_producer(handle, "worker", options);
    durstream_options *other_options = producer_options(&unused);
    durstream_producer *other = open_producer(handle, "worker", other_options);
    OK(append(worker, EVENTS[0], &error), error);
    OK(durstream_producer_flush(worker, 30000, NULL, &error), error);
    OK(append(other, EVENTS[1], &error), error);
    OK(durstream_producer_flush(other, 30000, NULL, &error), error);

    int written = 0;
    for (int n = 0; n < 3000 && !atomic_load(&fenced); n++, written++) {
        const durstream_code code = append(worker, EVENTS[2], NULL);
        CHECK(code == DURSTREAM_OK || code == DURSTREAM_STALE_EPOCH);
        pause_ms(10);
    }
    CHECK(atomic_load(&fenced) && !atomic_load(&unused) && written < 3000);
    durstream_producer_free(worker);
    durstream_producer_free(other);
    durstream_options_free(options);
    durstream_options_free(other_options);
    durstream_stream_free(handle);
}

int main(void) {
    durstream_error *error = NULL;
    setup();
    simple_writes();
    high_throughput();
    closing();
    byte_stream();
    fenced_workers_stop();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
