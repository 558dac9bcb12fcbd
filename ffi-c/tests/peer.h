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
    /* Header lines, each with its `\r\n`. */
    const char *headers, *body;
} peer_answer;

typedef struct {
    const peer_answer *answers;
    int count;
    char url[64];
    char requests[8][512];
    int listener, gate[2];
    pthread_t thread;
} peer;

/* Notes the first line of a request, and reads its head. */
static inline void peer_hear(int connection, char *line, size_t room) {
    char head[4096] = "";
    size_t length = 0;
    while (strstr(head, "\r\n\r\n") == NULL) {
        CHECK(length < sizeof head - 1);
        const ssize_t count = read(connection, head + length, sizeof head - 1 - length);
        CHECK(count > 0);
        length += (size_t)count;
        head[length] = '\0';
    }
    *strstr(head, "\r\n") = '\0';
    snprintf(line, room, "%s", head);
}

static inline void *peer_run(void *argument) {
    peer *self = (peer *)argument;
    for (int n = 0; n < self->count; n++) {
        const int connection = accept(self->listener, NULL, NULL);
        CHECK(connection >= 0);
        peer_hear(connection, self->requests[n], sizeof self->requests[n]);
        char told, answer[1024];
        CHECK(read(self->gate[0], &told, 1) == 1);
        const int length = snprintf(
            answer, sizeof answer,
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %zu\r\n%s\r\n%s",
            strlen(self->answers[n].body), self->answers[n].headers, self->answers[n].body);
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
