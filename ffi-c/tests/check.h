/* What the test programs share: checks that end the program, and names of their own. */
#ifndef CHECK_H
#define CHECK_H

#include <durstream.h>

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #condition);               \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

/* Ends the program unless the call before it worked. */
#define OK(code, error) expect_ok(__FILE__, __LINE__, (code), &(error))
/* Ends the program unless the call failed with this code; frees the error. */
#define FAILS(expected, code, error) expect_code(__FILE__, __LINE__, (expected), (code), &(error))

static inline void expect_ok(const char *file, int line, durstream_code code,
                             durstream_error **error) {
    if (code == DURSTREAM_OK) return;
    fprintf(stderr, "%s:%d: %s: %s\n", file, line, durstream_code_name(code),
            *error != NULL ? durstream_error_json(*error) : "");
    exit(1);
}

static inline void expect_code(const char *file, int line, durstream_code expected,
                               durstream_code code, durstream_error **error) {
    if (code != expected || durstream_error_code(*error) != expected ||
        durstream_error_message(*error) == NULL) {
        fprintf(stderr, "%s:%d: expected %s, got %s: %s\n", file, line,
                durstream_code_name(expected), durstream_code_name(code),
                *error != NULL ? durstream_error_json(*error) : "no error");
        exit(1);
    }
    durstream_error_free(*error);
    *error = NULL;
}

static inline const char *server(void) {
    const char *url = getenv("DURABLE_STREAMS_URL");
    if (url == NULL) {
        fprintf(stderr, "DURABLE_STREAMS_URL is not set: no server to test against\n");
        exit(1);
    }
    return url;
}

/* A stream path nobody had before, e.g. `/c-tests/state-4711-1`. */
static inline const char *fresh_path(const char *name) {
    static char paths[32][128];
    static int made = 0;
    char *path = paths[made % 32];
    snprintf(path, sizeof paths[0], "/c-tests/%s-%ld-%ld-%d", name, (long)getpid(),
             (long)time(NULL), made);
    made++;
    return path;
}

static inline int is(const char *text, const char *expected) {
    return text != NULL && strcmp(text, expected) == 0;
}

static inline durstream_options *options_for(const char *path, const char *content_type) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "stream_path", path, &error), error);
    if (content_type != NULL)
        OK(durstream_options_set(options, "content_type", content_type, &error), error);
    return options;
}

static inline durstream_stream *create(const char *path, const char *content_type) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = options_for(path, content_type);
    OK(durstream_stream_create(options, NULL, 0, &stream, &error), error);
    durstream_options_free(options);
    return stream;
}

static inline durstream_producer *open_producer(const durstream_stream *stream, const char *id,
                                                const durstream_options *options) {
    durstream_error *error = NULL;
    durstream_producer *producer = NULL;
    OK(durstream_producer_open(stream, id, options, &producer, &error), error);
    return producer;
}

static inline durstream_code append(durstream_producer *producer, const char *text,
                                    durstream_error **error) {
    return durstream_producer_append(producer, (const uint8_t *)text, strlen(text), 0, NULL, error);
}

static inline void pause_ms(int ms) {
    const struct timespec pause = {ms / 1000, ms % 1000 * 1000 * 1000};
    nanosleep(&pause, NULL);
}

/* Waits for what another thread brings about; ends the program after a minute in vain. */
#define WAIT_UNTIL(condition)                                                                     \
    for (int waited_ms = 0; !(condition); waited_ms++) {                                          \
        CHECK(waited_ms < 60000 && "waited in vain");                                             \
        pause_ms(1);                                                                              \
    }

static inline double seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#endif
