/* The "common mistakes" of upstream's document on writing, made on purpose: each is harmless here,
 * or a clear error. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "http.h"
#include "peer.h"

#include <sys/wait.h>

static void append_n(durstream_producer *producer, int n) {
    char text[32];
    durstream_error *error = NULL;
    snprintf(text, sizeof text, "{\"n\":%d}", n);
    OK(append(producer, text, &error), error);
}

static void append_plainly(const durstream_stream *stream, int n) {
    char text[32];
    durstream_error *error = NULL;
    const int length = snprintf(text, sizeof text, "{\"n\":%d}", n);
    OK(durstream_stream_append(stream, (const uint8_t *)text, (size_t)length, 30000, NULL, &error),
       error);
}

/* What a child says on standard error, in the end; it is to end well. */
static char *run_child(void (*body)(const char *), const char *where) {
    static char said[1 << 16];
    int out[2];
    CHECK(pipe(out) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        dup2(out[1], STDERR_FILENO);
        close(out[0]);
        close(out[1]);
        body(where);
        exit(0);
    }
    close(out[1]);
    size_t length = 0;
    for (;;) {
        const ssize_t count = read(out[0], said + length, sizeof said - 1 - length);
        CHECK(count >= 0);
        if (count == 0) break;
        length += (size_t)count;
        CHECK(length < sizeof said - 1);
    }
    said[length] = '\0';
    close(out[0]);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fputs(said, stderr);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return said;
}

/* Handles that nobody frees. */
static durstream_stream *left_stream;
static durstream_producer *left_producer;

/* Writes and returns: no flush, no free, no shutdown. */
static void write_and_forget(const char *path) {
    left_stream = create(path, "application/json");
    left_producer = open_producer(left_stream, "forgetful", NULL);
    for (int n = 0; n < 1000; n++) append_n(left_producer, n);
}

/* The same, with everything freed. */
static void write_and_free(const char *path) {
    durstream_stream *stream = create(path, "application/json");
    durstream_producer *producer = open_producer(stream, "forgetful", NULL);
    for (int n = 0; n < 1000; n++) append_n(producer, n);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
}

/* To somebody who never answers. */
static void write_in_vain(const char *url) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", url, &error), error);
    OK(durstream_options_set(options, "content_type", "text/plain", &error), error);
    OK(durstream_stream_connect(options, &left_stream, &error), error);
    durstream_options_free(options);
    left_producer = open_producer(left_stream, "forgetful", NULL);
    for (int n = 0; n < 7; n++) append_n(left_producer, n);
    durstream_set_exit_timeout(100);
}

/* "Not calling flush() before shutdown". Children, before this process has threads. */
static void forgotten_flushes_lose_nothing(void) {
    void (*const bodies[])(const char *) = {write_and_forget, write_and_free};
    for (int n = 0; n < 2; n++) {
        const char *path = fresh_path("forgetful");
        CHECK(strstr(run_child(bodies[n], path), "durstream: ") == NULL);
        check_numbers(path, 1000);
    }
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int silent = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(bind(silent, (struct sockaddr *)&address, sizeof address) == 0 && listen(silent, 8) == 0);
    CHECK(getsockname(silent, (struct sockaddr *)&address, &length) == 0);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/x", ntohs(address.sin_port));
    const char *said = run_child(write_in_vain, url);
    CHECK(strstr(said, "7 writes were still pending after 100 ms") != NULL);
    close(silent);
}

/* "Using raw append() for sustained writes": it is repeated under an identity. */
static void append_in_a_loop_doubles_nothing(void) {
    const char *path = fresh_path("loop");
    durstream_stream *stream = create(path, "application/json");
    for (int n = 0; n < 100; n++) append_plainly(stream, n);
    durstream_stream_free(stream);
    check_numbers(path, 100);

    const peer_answer answers[] = {
        {"Retry-After: 0\r\n", "", "503 Service Unavailable"},
        {"", "", "502 Bad Gateway"},
        {"Stream-Next-Offset: 1\r\n", "", NULL},
    };
    peer peer;
    durstream_error *error = NULL;
    durstream_outcome *outcome = NULL;
    durstream_options *options = durstream_options_new();
    peer_start(&peer, answers, 3);
    peer_allow(&peer, 3);
    OK(durstream_options_set(options, "url", peer.url, &error), error);
    OK(durstream_options_set(options, "content_type", "text/plain", &error), error);
    OK(durstream_options_set(options, "retry_initial_delay_ms", "1", &error), error);
    OK(durstream_stream_connect(options, &stream, &error), error);
    OK(durstream_stream_append(stream, (const uint8_t *)"x", 1, 30000, &outcome, &error), error);
    CHECK(durstream_outcome_status(outcome) == DURSTREAM_STATUS_DELIVERED);
    durstream_outcome_free(outcome);
    durstream_options_free(options);
    durstream_stream_free(stream);
    peer_end(&peer);
    /* The same tuple each time: the server would know a repeat. */
    static const char *const NAMES[] = {"producer-id", "producer-epoch", "producer-seq"};
    for (int n = 0; n < 3; n++) {
        const char *first = peer_header(peer.requests[0], NAMES[n]);
        CHECK(first != NULL);
        char value[128];
        snprintf(value, sizeof value, "%.*s", (int)strcspn(first, "\r"), first);
        CHECK(peer_heard(peer.requests[1], NAMES[n], value));
        CHECK(peer_heard(peer.requests[2], NAMES[n], value));
    }
}

/* "Awaiting each producer.append() call": slower, and nothing else. */
static void waiting_for_each_write_is_only_slower(void) {
    const char *path = fresh_path("awaiting");
    durstream_error *error = NULL;
    durstream_stream *stream = create(path, "application/json");
    durstream_producer *producer = open_producer(stream, "p", NULL);
    for (int n = 0; n < 50; n++) {
        append_n(producer, n);
        OK(durstream_producer_wait(producer, (uint64_t)n + 1, 30000, NULL, &error), error);
    }
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    check_numbers(path, 50);
}

/* "Passing objects to append instead of strings": C has but texts, and what is no JSON is refused
 * at the call and spoils nothing. */
static void what_is_no_json_is_refused(void) {
    static const char *const TEXTS[] = {"[object Object]", "event=user.created", "{'a':1}", ""};
    const char *path = fresh_path("objects");
    durstream_error *error = NULL;
    durstream_stream *stream = create(path, "application/json");
    durstream_producer *producer = open_producer(stream, "p", NULL);
    for (int n = 0; n < 4; n++) {
        const durstream_code code = append(producer, TEXTS[n], &error);
        CHECK(is(durstream_error_reason(error), "invalid-value"));
        FAILS(DURSTREAM_VALIDATION, code, error);
        const uint8_t *text = (const uint8_t *)TEXTS[n];
        FAILS(DURSTREAM_VALIDATION,
              durstream_stream_append(stream, text, strlen(TEXTS[n]), 30000, NULL, &error), error);
        append_n(producer, n);
    }
    OK(durstream_producer_detach(producer, 30000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    check_numbers(path, 4);
}

/* "Not handling StaleEpochError": the loop cannot go on unnoticed, even without a callback. */
static void fenced_writers_are_told(void) {
    durstream_error *error = NULL;
    durstream_outcome *outcome = NULL;
    const char *path = fresh_path("fenced");
    durstream_stream *stream = create(path, "application/json");
    durstream_producer *worker = open_producer(stream, "worker", NULL);
    durstream_producer *other = open_producer(stream, "worker", NULL);
    append_n(worker, 0);
    OK(durstream_producer_flush(worker, 30000, NULL, &error), error);
    append_n(other, 1);
    OK(durstream_producer_flush(other, 30000, NULL, &error), error);
    append_n(worker, 99); /* it cannot know yet */
    OK(durstream_producer_wait(worker, 2, 30000, &outcome, &error), error);
    CHECK(durstream_outcome_status(outcome) == DURSTREAM_STATUS_CANCELLED);
    CHECK(durstream_outcome_reason(outcome) == DURSTREAM_REASON_FENCED);
    durstream_outcome_free(outcome);
    const durstream_code late = append(worker, "{}", &error);
    CHECK(durstream_error_current_epoch(error) == durstream_producer_epoch(other));
    FAILS(DURSTREAM_STALE_EPOCH, late, error);
    CHECK(durstream_producer_flush(worker, 30000, NULL, &error) == DURSTREAM_DELIVERY);
    CHECK(durstream_error_undelivered(error) == 2 && durstream_error_delivered(error) == 0);
    CHECK(durstream_error_code(durstream_error_cause(error)) == DURSTREAM_STALE_EPOCH);
    durstream_error_free(error);
    error = NULL;
    /* The way back is to ask for it. */
    OK(durstream_producer_restart(worker, 30000, &error), error);
    append_n(worker, 2);
    OK(durstream_producer_flush(worker, 30000, NULL, &error), error);
    durstream_producer_free(worker);
    durstream_producer_free(other);
    durstream_stream_free(stream);
    check_numbers(path, 3);
}

static durstream_producer *with_epoch(durstream_stream *stream, const char *epoch) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "epoch", epoch, &error), error);
    durstream_producer *producer = open_producer(stream, "p", options);
    durstream_options_free(options);
    return producer;
}

/* "Manually managing epoch numbers": one too low is an error that names the server's, and one that
 * was used says what was not written. */
static void epochs_by_hand_are_told(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("epochs");
    durstream_stream *stream = create(path, "application/json");
    for (uint64_t run = 0; run < 2; run++) {
        durstream_flush_report report = {.size = sizeof report};
        durstream_producer *producer = with_epoch(stream, "7");
        append_n(producer, (int)run);
        OK(durstream_producer_flush(producer, 30000, &report, &error), error);
        CHECK(report.delivered == 1 && report.duplicates == run);
        durstream_producer_free(producer);
    }
    durstream_producer *low = with_epoch(stream, "2");
    append_n(low, 99);
    CHECK(durstream_producer_flush(low, 30000, NULL, &error) == DURSTREAM_DELIVERY);
    CHECK(durstream_error_undelivered(error) == 1 && durstream_error_delivered(error) == 0);
    const durstream_error *cause = durstream_error_cause(error);
    CHECK(durstream_error_code(cause) == DURSTREAM_STALE_EPOCH);
    CHECK(durstream_error_current_epoch(cause) == 7);
    durstream_error_free(error);
    durstream_producer_free(low);
    durstream_producer *left_to_it = open_producer(stream, "p", NULL);
    append_n(left_to_it, 1);
    error = NULL;
    OK(durstream_producer_detach(left_to_it, 30000, NULL, &error), error);
    durstream_producer_free(left_to_it);
    durstream_stream_free(stream);
    check_numbers(path, 2);
}

int main(void) {
    durstream_error *error = NULL;
    forgotten_flushes_lose_nothing();
    append_in_a_loop_doubles_nothing();
    waiting_for_each_write_is_only_slower();
    what_is_no_json_is_refused();
    fenced_writers_are_told();
    epochs_by_hand_are_told();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
