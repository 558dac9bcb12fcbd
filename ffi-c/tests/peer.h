/* A server of one's own for what no real one does at will: it gives its answers one by one, each
 * when it is told to, and notes what it was asked. */
#ifndef PEER_H
#define PEER_H

#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

typedef struct {
    /* Header lines, each with its `\r\n`. A producer's numbers are echoed beside them. */
    const char *headers, *body;
    /* `401 Unauthorized`; NULL is `200 OK`. */
    const char *status;
} peer_answer;

typedef struct {
    const peer_answer *answers;
    int count;
    char url[64];
    /* Their heads. */
    char requests[8][1024];
    int listener, gate[2];
    pthread_t thread;
} peer;

/* The value of a head's header, or NULL; `name` in lower case, as the library sends it. */
static inline const char *peer_header(const char *head, const char *name) {
    char line[64];
    snprintf(line, sizeof line, "\r\n%s: ", name);
    const char *found = strstr(head, line);
    return found == NULL ? NULL : found + strlen(line);
}

/* Whether a head has the header with this value. */
static inline bool peer_heard(const char *head, const char *name, const char *value) {
    const char *found = peer_header(head, name);
    return found != NULL && strncmp(found, value, strlen(value)) == 0 &&
           strncmp(found + strlen(value), "\r\n", 2) == 0;
}

/* Notes a request's head, and reads its body. */
static inline void peer_hear(int connection, char *head, size_t room) {
    char request[4096] = "";
    size_t length = 0, end = 0;
    while (end == 0 || length < end) {
        CHECK(length < sizeof request - 1);
        const ssize_t count = read(connection, request + length, sizeof request - 1 - length);
        CHECK(count > 0);
        length += (size_t)count;
        request[length] = '\0';
        const char *body = strstr(request, "\r\n\r\n");
        if (body == NULL) continue;
        const char *body_length = peer_header(request, "content-length");
        end = (size_t)(body + 4 - request) +
              (body_length == NULL ? 0 : strtoul(body_length, NULL, 10));
    }
    strstr(request, "\r\n\r\n")[2] = '\0';
    snprintf(head, room, "%s", request);
}

/* Adds one of a producer's numbers to an answer, if it was in the request. */
static inline void peer_echo(const char *head, const char *name, char *headers, size_t room) {
    const char *number = peer_header(head, name);
    const size_t length = strlen(headers);
    if (number != NULL)
        snprintf(headers + length, room - length, "%s: %lu\r\n", name, strtoul(number, NULL, 10));
}

static inline void *peer_run(void *argument) {
    peer *self = (peer *)argument;
    for (int n = 0; n < self->count; n++) {
        const int connection = accept(self->listener, NULL, NULL);
        CHECK(connection >= 0);
        peer_hear(connection, self->requests[n], sizeof self->requests[n]);
        char told, answer[1024], echo[128] = "";
        CHECK(read(self->gate[0], &told, 1) == 1);
        const peer_answer *given = &self->answers[n];
        peer_echo(self->requests[n], "producer-epoch", echo, sizeof echo);
        peer_echo(self->requests[n], "producer-seq", echo, sizeof echo);
        const int length = snprintf(
            answer, sizeof answer,
            "HTTP/1.1 %s\r\nConnection: close\r\nContent-Length: %zu\r\n%s%s\r\n%s",
            given->status == NULL ? "200 OK" : given->status, strlen(given->body), echo,
            given->headers, given->body);
        CHECK(write(connection, answer, (size_t)length) == length);
        close(connection);
    }
    return NULL;
}

static inline void peer_start(peer *self, const peer_answer *answers, int count) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    memset(self, 0, sizeof *self);
    memset(&address, 0, sizeof address);
    CHECK(count <= (int)(sizeof self->requests / sizeof self->requests[0]));
    self->answers = answers;
    self->count = count;
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    self->listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(self->listener >= 0 && pipe(self->gate) == 0);
    CHECK(bind(self->listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(listen(self->listener, 8) == 0);
    CHECK(getsockname(self->listener, (struct sockaddr *)&address, &length) == 0);
    snprintf(self->url, sizeof self->url, "http://127.0.0.1:%d/v1/stream/x",
             ntohs(address.sin_port));
    CHECK(pthread_create(&self->thread, NULL, peer_run, self) == 0);
}

/* Lets it give that many answers more. */
static inline void peer_allow(peer *self, int answers) {
    for (int n = 0; n < answers; n++) CHECK(write(self->gate[1], "", 1) == 1);
}

/* Waits until it has given all its answers. */
static inline void peer_end(peer *self) {
    CHECK(pthread_join(self->thread, NULL) == 0);
    close(self->listener);
    close(self->gate[0]);
    close(self->gate[1]);
}

#endif
