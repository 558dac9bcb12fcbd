/* Reads a stream back over a plain socket: the tests trust nothing of the library for that. Where a
 * recorder stands in the server's place, it is asked. */
#ifndef HTTP_H
#define HTTP_H

#include "check.h"

#include <durstream_test.h>

#include <netdb.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/types.h>

typedef struct {
    char *data;
    size_t length;
} text_buffer;

static inline void add(text_buffer *to, const char *data, size_t length) {
    to->data = (char *)realloc(to->data, to->length + length + 1);
    CHECK(to->data != NULL);
    memcpy(to->data + to->length, data, length);
    to->length += length;
    to->data[to->length] = '\0';
}

static inline int connected(const char *host, const char *port) {
    struct addrinfo hints, *found = NULL;
    memset(&hints, 0, sizeof hints);
    hints.ai_socktype = SOCK_STREAM;
    CHECK(getaddrinfo(host, port, &hints, &found) == 0);
    int connection = -1;
    for (struct addrinfo *at = found; at != NULL && connection < 0; at = at->ai_next) {
        connection = socket(at->ai_family, at->ai_socktype, at->ai_protocol);
        if (connection >= 0 && connect(connection, at->ai_addr, at->ai_addrlen) != 0) {
            close(connection);
            connection = -1;
        }
    }
    freeaddrinfo(found);
    CHECK(connection >= 0);
    return connection;
}

/* Undoes `Transfer-Encoding: chunked`. */
static inline text_buffer dechunked(const char *body) {
    text_buffer out = {NULL, 0};
    add(&out, "", 0);
    for (;;) {
        char *end = NULL;
        const unsigned long length = strtoul(body, &end, 16);
        const char *data = strstr(end, "\r\n");
        CHECK(end != body && data != NULL);
        if (length == 0) return out;
        add(&out, data + 2, length);
        body = data + 2 + length + 2;
    }
}

/* The recorder in the server's place, where there is one. */
static durstream_test_recorder *recorder_in_place = NULL;

/* From here on streams are a recorder's: what holds for the server holds for it. */
static inline void begin_recording(void) {
    recorder_in_place = durstream_test_recorder_new();
    CHECK(setenv("DURABLE_STREAMS_URL", durstream_test_recorder_url(recorder_in_place), 1) == 0);
}

static inline void end_recording(void) {
    durstream_test_recorder_free(recorder_in_place);
    recorder_in_place = NULL;
}

static inline char *recorded(const char *path) {
    durstream_error *error = NULL;
    durstream_chunk *chunk = NULL;
    OK(durstream_test_recorder_events(recorder_in_place, path, &chunk, &error), error);
    text_buffer text = {NULL, 0};
    size_t length = 0;
    const uint8_t *data = durstream_chunk_data(chunk, &length);
    add(&text, (const char *)data, length);
    durstream_chunk_free(chunk);
    return text.data;
}

/* The body of the whole stream at `path`, to be freed. */
static inline char *read_stream(const char *path) {
    if (recorder_in_place != NULL) return recorded(path);
    char host[128], port[16] = "80", request[512];
    CHECK(sscanf(server(), "http://%127[^:/]:%15[0-9]", host, port) >= 1);
    const int connection = connected(host, port);
    const int length =
        snprintf(request, sizeof request,
                 "GET /v1/stream%s?offset=-1 HTTP/1.1\r\nHost: %s:%s\r\nConnection: close\r\n\r\n",
                 path, host, port);
    CHECK(write(connection, request, (size_t)length) == length);
    text_buffer answer = {NULL, 0};
    char part[65536];
    ssize_t count;
    while ((count = read(connection, part, sizeof part)) > 0) add(&answer, part, (size_t)count);
    CHECK(count == 0);
    close(connection);

    CHECK(answer.length > 12 && strncmp(answer.data, "HTTP/1.1 200", 12) == 0);
    char *body = strstr(answer.data, "\r\n\r\n");
    CHECK(body != NULL);
    *body = '\0';
    body += 4;
    int chunked = 0;
    for (const char *at = answer.data; *at != '\0'; at++)
        chunked |= strncasecmp(at, "transfer-encoding: chunked", 26) == 0;
    text_buffer plain = {NULL, 0};
    if (chunked) plain = dechunked(body);
    else add(&plain, body, strlen(body));
    free(answer.data);
    return plain.data;
}

/* How often `part` is in `text`. */
static inline int occurrences(const char *text, const char *part) {
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)) != NULL; at += strlen(part)) count++;
    return count;
}

/* Checks that the stream holds the messages {"n":0} to {"n":count-1}, each once, in order. */
static inline void check_numbers(const char *path, int count) {
    char *body = read_stream(path);
    CHECK(occurrences(body, "{\"n\":") == count);
    const char *at = body;
    for (int n = 0; n < count; n++) {
        char message[32];
        snprintf(message, sizeof message, "{\"n\":%d}", n);
        at = strstr(at, message);
        CHECK(at != NULL);
    }
    free(body);
}

#endif
