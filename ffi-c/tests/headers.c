/* Headers whose values are functions: how often they are asked, and how they may answer. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "peer.h"

#include <sys/wait.h>

static const char *const TAKEN = "Stream-Next-Offset: x\r\n";

/* A function of the host's: its answers by the number of the call. */
typedef struct host {
    void (*answer)(struct host *self, durstream_header_answer *answer);
    durstream_producer *producer;
    durstream_header_answer *kept;
    durstream_code would_wait;
    int calls, destroyed;
    pthread_mutex_t lock;
    pthread_cond_t changed;
} host;

#define HOST(function)                                                                            \
    {function, NULL, NULL, DURSTREAM_OK, 0, 0, PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER}

static void asked(durstream_header_answer *answer, void *user_data) {
    host *self = user_data;
    self->calls++;
    self->answer(self, answer);
}

static void destroy(void *user_data) { ((host *)user_data)->destroyed++; }

/* A producer at a peer, which asks the host for `X-Token`, one request at a time. */
static void open_asking(host *self, const peer *peer) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = durstream_options_new(), *own = durstream_options_new();
    OK(durstream_options_set(options, "url", peer->url, &error), error);
    OK(durstream_options_set(options, "content_type", "text/plain", &error), error);
    OK(durstream_options_set_header_fn(options, "X-Token", asked, self, destroy, &error), error);
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_options_free(options);
    OK(durstream_options_set(own, "retry_initial_delay_ms", "1", &error), error);
    OK(durstream_options_set(own, "retry_max_delay_ms", "1", &error), error);
    self->producer = open_producer(stream, "asking", own);
    durstream_options_free(own);
    durstream_stream_free(stream);
    CHECK(self->calls == 0 && self->destroyed == 0);
}

static void append_and_flush(durstream_producer *producer, const char *text) {
    durstream_error *error = NULL;
    OK(append(producer, text, &error), error);
    OK(durstream_producer_flush(producer, 30000, NULL, &error), error);
}

/* The producer's end, after which the host is done with, and told so once. */
static void end(host *self, peer *peer, int calls) {
    durstream_error *error = NULL;
    OK(durstream_producer_detach(self->producer, 30000, NULL, &error), error);
    durstream_producer_free(self->producer);
    OK(durstream_shutdown(5000, &error), error);
    peer_end(peer);
    CHECK(self->calls == calls && self->destroyed == 1);
}

static void count(host *self, durstream_header_answer *answer) {
    char value[16];
    snprintf(value, sizeof value, "t-%d", self->calls);
    durstream_header_answer_give(answer, value);
}

static void asked_once_per_request_and_again_when_refused(void) {
    const peer_answer answers[] = {
        {"", "", "503 Service Unavailable"}, {TAKEN, "", NULL}, {TAKEN, "", NULL},
        {"", "", "401 Unauthorized"},        {TAKEN, "", NULL},
    };
    static const char *const expected[] = {"t-1", "t-1", "t-2", "t-3", "t-4"};
    host self = HOST(count);
    peer peer;
    peer_start(&peer, answers, 5);
    peer_allow(&peer, 5);
    open_asking(&self, &peer);
    for (int n = 0; n < 3; n++) append_and_flush(self.producer, "x");
    end(&self, &peer, 4);
    for (int n = 0; n < 5; n++) CHECK(peer_heard(peer.requests[n], "x-token", expected[n]));
}

static void fail_at_first(host *self, durstream_header_answer *answer) {
    switch (self->calls) {
    case 1: durstream_header_answer_fail(answer, NULL); return;
    case 2: durstream_header_answer_give(answer, NULL); return;
    case 3: durstream_header_answer_give(answer, "\xff\xfe"); return;
    case 4: durstream_header_answer_give(answer, "a\r\nb"); return;
    case 5: durstream_header_answer_fail(answer, "the token service is down"); return;
    default: durstream_header_answer_give(answer, "good"); return;
    }
}

static void writes_wait_for_a_value(void) {
    const peer_answer answers[] = {{TAKEN, "", NULL}};
    host self = HOST(fail_at_first);
    peer peer;
    peer_start(&peer, answers, 1);
    peer_allow(&peer, 1);
    open_asking(&self, &peer);
    append_and_flush(self.producer, "x");
    durstream_stats stats = {.size = sizeof stats};
    CHECK(durstream_producer_stats(self.producer, &stats, NULL) == DURSTREAM_OK);
    CHECK(stats.delivered == 1 && stats.uncertain == 0);
    durstream_error *last = durstream_producer_last_error(self.producer);
    CHECK(strstr(durstream_error_message(last), "x-token") != NULL);
    CHECK(strstr(durstream_error_message(last), "the token service is down") != NULL);
    durstream_error_free(last);
    end(&self, &peer, 6);
    CHECK(peer_heard(peer.requests[0], "x-token", "good"));
}

/* Nothing may be waited for in the function. */
static void keep(host *self, durstream_header_answer *answer) {
    self->would_wait = durstream_producer_flush(self->producer, -1, NULL, NULL);
    pthread_mutex_lock(&self->lock);
    self->kept = answer;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

static void answers_may_come_later(void) {
    const peer_answer answers[] = {{TAKEN, "", NULL}};
    durstream_error *error = NULL;
    host self = HOST(keep);
    peer peer;
    peer_start(&peer, answers, 1);
    peer_allow(&peer, 1);
    open_asking(&self, &peer);
    OK(append(self.producer, "x", &error), error);
    pthread_mutex_lock(&self.lock);
    while (self.kept == NULL) pthread_cond_wait(&self.changed, &self.lock);
    pthread_mutex_unlock(&self.lock);
    CHECK(self.would_wait == DURSTREAM_NOT_SUPPORTED);

    /* What a child says is its own affair. */
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        durstream_header_answer_give(self.kept, "the child's");
        execlp("true", "true", (char *)NULL);
        _exit(127);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    durstream_header_answer_give(self.kept, "late");
    end(&self, &peer, 1);
    CHECK(peer_heard(peer.requests[0], "x-token", "late"));
}

/* A producer's own header, text or function, goes before the stream's. */
static void streams_ask_too(void) {
    const peer_answer answers[] = {{TAKEN, "", NULL}, {TAKEN, "", NULL}};
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    host self = HOST(count);
    peer peer;
    peer_start(&peer, answers, 2);
    peer_allow(&peer, 2);
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", peer.url, &error), error);
    OK(durstream_options_set(options, "content_type", "text/plain", &error), error);
    OK(durstream_options_set_header_fn(options, "X-Token", asked, &self, destroy, &error), error);
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_options_free(options);
    OK(durstream_stream_append(stream, (const uint8_t *)"x", 1, 30000, NULL, &error), error);
    options = durstream_options_new();
    OK(durstream_options_set_header(options, "X-Token", "own", &error), error);
    self.producer = open_producer(stream, "asking", options);
    durstream_options_free(options);
    durstream_stream_free(stream);
    append_and_flush(self.producer, "x");
    end(&self, &peer, 1);
    CHECK(peer_heard(peer.requests[0], "x-token", "t-1"));
    CHECK(peer_heard(peer.requests[1], "x-token", "own"));
}

static void what_was_refused_stays_the_callers(void) {
    durstream_error *error = NULL;
    host self = HOST(count);
    durstream_options *options = durstream_options_new();
    static const char *const names[] = {"Producer-Id", "no name", ""};
    for (int n = 0; n < 3; n++) {
        CHECK(durstream_options_set_header_fn(options, names[n], asked, &self, destroy, &error) ==
              DURSTREAM_INVALID_ARGUMENT);
        CHECK(is(durstream_error_option(error), "headers"));
        durstream_error_free(error);
        error = NULL;
    }
    FAILS(DURSTREAM_INVALID_ARGUMENT,
          durstream_options_set_header_fn(options, "X", NULL, &self, destroy, &error), error);
    CHECK(self.destroyed == 0);
    OK(durstream_options_set_header_fn(options, "X", asked, &self, destroy, &error), error);
    durstream_options_free(options);
    CHECK(self.destroyed == 1);
}

int main(void) {
    durstream_set_log(NULL, NULL);
    asked_once_per_request_and_again_when_refused();
    writes_wait_for_a_value();
    answers_may_come_later();
    streams_ask_too();
    what_was_refused_stays_the_callers();
    return 0;
}
