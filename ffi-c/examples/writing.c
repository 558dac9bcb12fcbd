/* The ways of writing: a few appends, a producer for sustained writes, the end of a stream, lines
 * in a stream of bytes, and whatever a callback gives. Prints what each stream holds then.
 *
 * WRITING_STREAM_PREFIX is the path the streams are below; the server is found as by every
 * producer. */
#include <durstream.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_MS = 30000 };

/* This program cannot go on without what it asks for. */
static void check(durstream_code code, durstream_error *const *error) {
    if (code == DURSTREAM_OK) return;
    fprintf(stderr, "writing: %s\n", durstream_error_message(*error));
    exit(1);
}

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

static durstream_stream *create(const char *name, const char *content_type) {
    const char *prefix = getenv("WRITING_STREAM_PREFIX");
    if (prefix == NULL) {
        fputs("writing: the environment variable WRITING_STREAM_PREFIX is not set\n", stderr);
        exit(2);
    }
    char path[256];
    snprintf(path, sizeof path, "%s/%s", prefix, name);
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = durstream_options_new();
    check(durstream_options_set(options, "stream_path", path, &error), &error);
    check(durstream_options_set(options, "content_type", content_type, &error), &error);
    check(durstream_stream_create(options, NULL, 0, &stream, &error), &error);
    durstream_options_free(options);
    return stream;
}

/* Prints the stream, read from its start to its end, and lets its handle go. */
static void show(const char *name, durstream_stream *stream) {
    durstream_error *error = NULL;
    durstream_reader *reader = NULL;
    durstream_chunk *chunk = NULL;
    check(durstream_stream_read(stream, NULL, &reader, &error), &error);
    printf("%s: ", name);
    for (;;) {
        check(durstream_reader_next(reader, LIMIT_MS, &chunk, &error), &error);
        if (chunk == NULL) break;
        size_t length = 0;
        const uint8_t *data = durstream_chunk_data(chunk, &length);
        fwrite(data, 1, length, stdout);
        durstream_chunk_free(chunk);
    }
    putchar('\n');
    durstream_reader_free(reader);
    durstream_stream_free(stream);
}

/* A few messages, each waited for. They are repeated through failures and still written once. */
static void simple_writes(void) {
    static const char *const EVENTS[] = {"{\"type\":\"order.created\",\"orderId\":\"123\"}",
                                         "{\"type\":\"order.paid\",\"orderId\":\"123\"}"};
    durstream_error *error = NULL;
    durstream_stream *stream = create("events", "application/json");
    for (int n = 0; n < 2; n++)
        check(durstream_stream_append(stream, bytes(EVENTS[n]), strlen(EVENTS[n]), LIMIT_MS, NULL,
                                      &error),
              &error);
    show("events", stream);
}

/* On the library's thread, for each message that was not delivered. */
static void on_error(const durstream_failure *failure, void *user_data) {
    (void)user_data;
    const durstream_error *error = durstream_failure_error(failure);
    if (durstream_error_code(error) == DURSTREAM_STALE_EPOCH)
        fputs("Another producer took over\n", stderr);
    else fprintf(stderr, "Write error: %s\n", durstream_error_message(error));
}

/* Many small messages: the producer gathers, sends several requests at once, and waits for none. */
static void high_throughput(void) {
    static const char *const TOKENS[] = {"To ", "be, ", "or ", "not ", "to ", "be. "};
    durstream_error *error = NULL;
    durstream_producer *producer = NULL;
    durstream_stream *stream = create("tokens", "text/plain");
    durstream_options *options = durstream_options_new();
    check(durstream_options_set(options, "linger_ms", "10", &error), &error);
    check(durstream_options_set(options, "max_batch_bytes", "65536", &error), &error);
    check(durstream_options_set(options, "max_in_flight", "4", &error), &error);
    check(durstream_options_on_error(options, on_error, NULL, NULL, &error), &error);
    check(durstream_producer_open(stream, "llm-worker", options, &producer, &error), &error);
    durstream_options_free(options);
    for (int n = 0; n < 20 * 6; n++) {
        const char *token = TOKENS[n % 6];
        check(durstream_producer_append(producer, bytes(token), strlen(token), 0, NULL, &error),
              &error);
    }
    check(durstream_producer_flush(producer, LIMIT_MS, NULL, &error), &error);
    /* And `close` would end the stream for everybody. */
    check(durstream_producer_detach(producer, LIMIT_MS, NULL, &error), &error);
    durstream_producer_free(producer);
    show("tokens", stream);
}

/* Nobody can append any more after this; ending what has ended is fine. */
static void ending(void) {
    static const char LAST[] = "{\"type\":\"stream.complete\"}";
    durstream_error *error = NULL;
    durstream_stream *stream = create("ending", "application/json");
    check(durstream_stream_close(stream, bytes(LAST), strlen(LAST), LIMIT_MS, NULL, &error),
          &error);
    check(durstream_stream_close(stream, NULL, 0, LIMIT_MS, NULL, &error), &error);
    show("ending", stream);
}

/* A stream of bytes has no messages: what divides it is up to its writers. */
static void lines_of_json(void) {
    static const char *const LINES[] = {"{\"level\":\"info\",\"msg\":\"started\"}\n",
                                        "{\"level\":\"error\",\"msg\":\"failed\"}\n"};
    durstream_error *error = NULL;
    durstream_producer *producer = NULL;
    durstream_stream *stream = create("logs", "text/plain");
    check(durstream_producer_open(stream, "logger", NULL, &producer, &error), &error);
    for (int n = 0; n < 2; n++)
        check(durstream_producer_append(producer, bytes(LINES[n]), strlen(LINES[n]), 0, NULL,
                                        &error),
              &error);
    check(durstream_producer_detach(producer, LIMIT_MS, NULL, &error), &error);
    durstream_producer_free(producer);
    show("logs", stream);
}

/* The next row, or nothing at the end. */
static void give_row(durstream_source *source, void *user_data) {
    int *row = user_data;
    char message[32];
    if (*row == 5) return;
    const int length = snprintf(message, sizeof message, "{\"row\":%d}", ++*row);
    durstream_source_give(source, bytes(message), (size_t)length);
}

/* A source is asked for more only while there is room, however long it is. */
static void from_a_callback(void) {
    durstream_error *error = NULL;
    durstream_flush_report report = {.size = sizeof report};
    durstream_stream *stream = create("import", "application/json");
    int row = 0;
    check(durstream_stream_append_stream(stream, give_row, &row, &report, &error), &error);
    if (report.delivered != 5) exit(1);
    show("import", stream);
}

int main(void) {
    durstream_error *error = NULL;
    simple_writes();
    high_throughput();
    ending();
    lines_of_json();
    from_a_callback();
    check(durstream_shutdown(5000, &error), &error);
    return 0;
}
