/* No server at all: everything ends within its limits, with an error that names the URL. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* Far beyond the limits of the writes: running out of this one is a failure. */
#define LIMIT_MS 60000

static char url[64];

/* An address that nobody listens on. */
static void choose_address(void) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int listener = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(listener >= 0 && bind(listener, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
    snprintf(url, sizeof url, "http://127.0.0.1:%d/v1/stream/x", ntohs(address.sin_port));
    close(listener);
}

static durstream_options *options_here(void) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", url, &error), error);
    return options;
}

/* One attempt that is refused, then a long pause: nothing is under way when the time is up. */
static void expire_between_attempts(durstream_options *options) {
    durstream_error *error = NULL;
    OK(durstream_options_set(options, "delivery_timeout_ms", "3000", &error), error);
    OK(durstream_options_set(options, "retry_initial_delay_ms", "600000", &error), error);
    OK(durstream_options_set(options, "retry_max_delay_ms", "600000", &error), error);
}

static void check_error(const durstream_error *error) {
    CHECK(durstream_error_code(error) == DURSTREAM_DELIVERY);
    CHECK(strstr(durstream_error_message(error), url) != NULL);
    const durstream_error *cause = durstream_error_cause(error);
    CHECK(durstream_error_code(cause) == DURSTREAM_TRANSPORT);
    CHECK(is(durstream_error_url(cause), url));
    CHECK(durstream_error_undelivered(error) == 1);
}

static void flush_fails_in_time(void) {
    durstream_error *error = NULL;
    durstream_options *options = options_here();
    durstream_stream *stream = NULL;
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_options_free(options);

    options = durstream_options_new();
    expire_between_attempts(options);
    durstream_producer *producer = open_producer(stream, "nobody", options);
    OK(append(producer, "x", &error), error);
    CHECK(durstream_producer_flush(producer, LIMIT_MS, NULL, &error) == DURSTREAM_DELIVERY);
    check_error(error);
    durstream_error_free(error);
    error = NULL;
    durstream_outcome *outcome = NULL;
    OK(durstream_producer_wait(producer, 1, 0, &outcome, &error), error);
    CHECK(durstream_outcome_status(outcome) == DURSTREAM_STATUS_CANCELLED);
    CHECK(durstream_outcome_reason(outcome) == DURSTREAM_REASON_EXPIRED);
    CHECK(durstream_error_definite(durstream_outcome_error(outcome)));
    durstream_outcome_free(outcome);
    CHECK(durstream_producer_state(producer) == DURSTREAM_LIFECYCLE_BACKOFF);
    error = durstream_producer_last_error(producer);
    CHECK(durstream_error_code(error) == DURSTREAM_TRANSPORT);
    durstream_error_free(error);
    durstream_producer_free(producer);
    durstream_options_free(options);
    durstream_stream_free(stream);
}

static void check_overdue(durstream_error **error) {
    CHECK(durstream_error_code(*error) == DURSTREAM_TIMEOUT);
    CHECK(durstream_error_code(durstream_error_cause(*error)) == DURSTREAM_TRANSPORT);
    CHECK(strstr(durstream_error_message(*error), "The last failure: append failed") != NULL);
    durstream_error_free(*error);
    *error = NULL;
}

/* A wait whose time runs out tells the failure that the producer is in. */
static void waits_name_the_failure(void) {
    durstream_error *error = NULL;
    durstream_options *options = options_here();
    durstream_stream *stream = NULL;
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_options_free(options);
    options = durstream_options_new();
    OK(durstream_options_set(options, "max_buffer_items", "1", &error), error);
    durstream_producer *producer = open_producer(stream, "nobody", options);
    OK(append(producer, "x", &error), error);
    WAIT_UNTIL((error = durstream_producer_last_error(producer)) != NULL);
    durstream_error_free(error);
    error = NULL;
    durstream_producer_flush(producer, 20, NULL, &error);
    check_overdue(&error);
    durstream_producer_wait(producer, 1, 20, NULL, &error);
    check_overdue(&error);
    FAILS(DURSTREAM_BUFFER_FULL,
          durstream_producer_try_append(producer, (const uint8_t *)"y", 1, 0, NULL, &error), error);
    durstream_producer_wait_ready(producer, 20, &error);
    check_overdue(&error);
    durstream_producer_close(producer, NULL, 0, 20, NULL, &error);
    check_overdue(&error);
    OK(durstream_producer_stop(producer, &error), error);
    durstream_producer_free(producer);
    durstream_options_free(options);
    durstream_stream_free(stream);
}

static void entity_state_too(void) {
    durstream_error *error = NULL;
    durstream_options *options = options_here();
    OK(durstream_options_set(options, "producer_id", "nobody", &error), error);
    expire_between_attempts(options);
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "a", "a", "id", NULL, &error), error);
    durstream_state *state = NULL;
    OK(durstream_state_open(options, schema, &state, &error), error);
    OK(durstream_state_upsert(state, "a", (const uint8_t *)"{\"id\":\"1\"}", 10, 0, NULL, &error),
       error);
    CHECK(durstream_state_close(state, false, LIMIT_MS, NULL, &error) == DURSTREAM_DELIVERY);
    check_error(error);
    durstream_error_free(error);
    durstream_state_free(state);
    durstream_schema_free(schema);
    durstream_options_free(options);
}

static void create_gives_up(void) {
    durstream_error *error = NULL;
    durstream_options *options = options_here();
    OK(durstream_options_set(options, "max_retries", "2", &error), error);
    durstream_stream *stream = NULL;
    CHECK(durstream_stream_create(options, NULL, 0, &stream, &error) == DURSTREAM_TRANSPORT);
    CHECK(strstr(durstream_error_message(error), url) != NULL && stream == NULL);
    durstream_error_free(error);
    durstream_options_free(options);
}

int main(void) {
    durstream_error *error = NULL;
    durstream_set_log(NULL, NULL);
    choose_address();
    create_gives_up(); /* first, for what starts with the first request to take no time later */
    flush_fails_in_time();
    waits_name_the_failure();
    entity_state_too();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
