/* Plain appends: from a source, without an identity, and how long they are repeated. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "http.h"
#include "peer.h"

static durstream_code append_now(const durstream_stream *stream, const char *text,
                                 durstream_error **error) {
    return durstream_stream_append(stream, (const uint8_t *)text, strlen(text), 30000, NULL, error);
}

/* Numbers from 0; what it does at `odd`, if anything. */
typedef struct {
    int next, end, odd;
    enum { NOTHING_ODD, FAIL, TWICE, BROKEN_JSON, NULL_BYTES } kind;
} numbers;

static void give_number(durstream_source *source, void *user_data) {
    numbers *self = user_data;
    char text[32];
    if (self->next == self->end) return;
    const int n = self->next++;
    const size_t length = (size_t)snprintf(text, sizeof text, "{\"n\":%d}", n);
    const bool odd = n == self->odd && self->kind != NOTHING_ODD;
    if (odd && self->kind == FAIL) durstream_source_fail(source, "the disk is gone");
    else if (odd && self->kind == NULL_BYTES) durstream_source_give(source, NULL, 5);
    else if (odd && self->kind == BROKEN_JSON)
        durstream_source_give(source, (const uint8_t *)"{", 1);
    else durstream_source_give(source, (const uint8_t *)text, length);
    if (odd && self->kind == TWICE) durstream_source_give(source, (const uint8_t *)text, length);
}

static void a_source_arrives_whole(void) {
    durstream_error *error = NULL;
    durstream_flush_report report = {.size = sizeof report};
    numbers source = {.end = 5000};
    const char *path = fresh_path("source");
    durstream_stream *stream = create(path, "application/json");
    OK(durstream_stream_append_stream(stream, give_number, &source, &report, &error), error);
    CHECK(report.delivered == 5000 && report.duplicates == 0 && report.uncertain == 0);
    source.end = 5001;
    OK(durstream_stream_append_stream(stream, give_number, &source, NULL, &error), error);
    durstream_stream_free(stream);
    check_numbers(path, 5001);
}

/* A handle that was connected without a type asks the server for it. */
static void a_type_nobody_gave_is_asked_for(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("untyped");
    durstream_stream_free(create(path, "application/json"));
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "stream_path", path, &error), error);
    durstream_stream *stream = NULL;
    OK(durstream_stream_connect(options, &stream, &error), error);
    OK(append_now(stream, "{\"n\":0}", &error), error);
    durstream_producer *producer = open_producer(stream, "untyped", NULL);
    OK(durstream_producer_append(producer, (const uint8_t *)"{\"n\":1}", 7, 0, NULL, &error), error);
    OK(durstream_producer_flush(producer, 30000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    durstream_options_free(options);
    check_numbers(path, 2);
}

static void a_source_that_fails_leaves_what_came_before(void) {
    const struct {
        int kind;
        const char *says;
        durstream_code cause;
        uint64_t undelivered;
    } failures[] = {
        {FAIL, "the disk is gone", DURSTREAM_INVALID_ARGUMENT, 0},
        {TWICE, "two messages", DURSTREAM_INVALID_ARGUMENT, 0},
        {NULL_BYTES, "NULL", DURSTREAM_INVALID_ARGUMENT, 0},
        {BROKEN_JSON, "not one JSON value", DURSTREAM_VALIDATION, 1},
    };
    for (size_t n = 0; n < sizeof failures / sizeof failures[0]; n++) {
        durstream_error *error = NULL;
        durstream_flush_report report = {.size = sizeof report, .delivered = 99};
        numbers source = {.end = 9, .odd = 4, .kind = failures[n].kind};
        const char *path = fresh_path("source-failed");
        durstream_stream *stream = create(path, "application/json");
        CHECK(durstream_stream_append_stream(stream, give_number, &source, &report, &error) ==
              DURSTREAM_DELIVERY);
        CHECK(durstream_error_delivered(error) == 4 && report.delivered == 99);
        CHECK(durstream_error_undelivered(error) == failures[n].undelivered);
        const durstream_error *cause = durstream_error_cause(error);
        CHECK(durstream_error_code(cause) == failures[n].cause && source.next == 5);
        CHECK(strstr(durstream_error_message(cause), failures[n].says) != NULL);
        if (failures[n].cause == DURSTREAM_INVALID_ARGUMENT)
            CHECK(is(durstream_error_option(cause), "source"));
        durstream_error_free(error);
        durstream_stream_free(stream);
        check_numbers(path, 4);
    }
}

static durstream_stream *plain_at(const peer *peer) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", peer->url, &error), error);
    OK(durstream_options_set(options, "content_type", "text/plain", &error), error);
    OK(durstream_options_set(options, "idempotent", "false", &error), error);
    OK(durstream_options_set(options, "retry_initial_delay_ms", "1", &error), error);
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_options_free(options);
    return stream;
}

/* Without an identity, a refusal is repeated; what may be stored is told, and is not definite. */
static void without_an_identity(void) {
    const peer_answer answers[] = {
        {"", "", "429 Too Many Requests"},
        {"Retry-After: 0\r\n", "", "503 Service Unavailable"},
        {"Stream-Next-Offset: 1\r\n", "", NULL},
        {"", "", "503 Service Unavailable"},
        {"", "", "400 Bad Request"},
    };
    peer peer;
    durstream_error *error = NULL;
    peer_start(&peer, answers, 5);
    peer_allow(&peer, 5);
    durstream_stream *stream = plain_at(&peer);
    OK(append_now(stream, "a", &error), error);
    CHECK(append_now(stream, "b", &error) == DURSTREAM_TRANSPORT);
    CHECK(!durstream_error_definite(error) && durstream_error_status(error) == 503);
    durstream_error_free(error);
    CHECK(append_now(stream, "c", &error) == DURSTREAM_PROTOCOL);
    CHECK(durstream_error_definite(error) && durstream_error_status(error) == 400);
    durstream_error_free(error);
    durstream_stream_free(stream);
    peer_end(&peer);
    for (int n = 0; n < 5; n++) CHECK(strstr(peer.requests[n], "\r\nproducer-") == NULL);
}

/* Each of the four, with values it does not take. */
static void retry_options_are_checked_at_once(void) {
    static const struct {
        const char *name, *values[8];
    } wrong[] = {
        {"max_retries", {"-1", "1001", "1.5", "", " 1", "many", "18446744073709551616", NULL}},
        {"retry_initial_delay_ms", {"0", "-1", "86400001", "1.5", "", "1s", "1e3", NULL}},
        {"retry_max_delay_ms", {"0", "-1", "86400001", "1.5", "", "1s", "1e3", NULL}},
        {"retry_multiplier", {"0", "0.99", "-2", "NaN", "inf", "", "2x", NULL}},
    };
    for (size_t n = 0; n < sizeof wrong / sizeof wrong[0]; n++) {
        for (const char *const *value = wrong[n].values; *value != NULL; value++) {
            durstream_error *error = NULL;
            durstream_options *options = durstream_options_new();
            const durstream_code code =
                durstream_options_set(options, wrong[n].name, *value, &error);
            CHECK(is(durstream_error_option(error), wrong[n].name));
            FAILS(DURSTREAM_INVALID_ARGUMENT, code, error);
            durstream_options_free(options);
        }
    }
    /* What only shows together is told by what is made with them. */
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", "http://127.0.0.1:1/x", &error), error);
    OK(durstream_options_set(options, "retry_initial_delay_ms", "100", &error), error);
    OK(durstream_options_set(options, "retry_max_delay_ms", "99", &error), error);
    const durstream_code code = durstream_stream_connect(options, &stream, &error);
    CHECK(is(durstream_error_option(error), "retry_max_delay_ms") && stream == NULL);
    FAILS(DURSTREAM_INVALID_ARGUMENT, code, error);
    durstream_options_free(options);
}

int main(void) {
    durstream_error *error = NULL;
    a_source_arrives_whole();
    a_type_nobody_gave_is_asked_for();
    a_source_that_fails_leaves_what_came_before();
    without_an_identity();
    retry_options_are_checked_at_once();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
