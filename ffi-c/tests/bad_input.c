/* Whatever comes in: a typed error, never a crash. Needs no server. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <durstream_test.h>

static const char *const BROKEN = "\xff\xfe";

/* Ends the program unless the error is about the argument or option, and its text names it. */
#define NAMES(name, code, error)                                                                  \
    do {                                                                                          \
        CHECK((code) == DURSTREAM_INVALID_ARGUMENT);                                              \
        CHECK(is(durstream_error_option(error), name));                                           \
        CHECK(is_named(durstream_error_message(error), name));                                    \
        durstream_error_free(error);                                                              \
        (error) = NULL;                                                                           \
    } while (0)

/* Ends the program unless the error's text is this. */
#define SAYS(text, code, error)                                                                   \
    do {                                                                                          \
        CHECK((code) == DURSTREAM_INVALID_ARGUMENT);                                              \
        CHECK(is(durstream_error_message(error), text));                                          \
        durstream_error_free(error);                                                              \
        (error) = NULL;                                                                           \
    } while (0)

/* Whether a text has the name; of `headers` and `params` it may have one, and of a schema the part. */
static bool is_named(const char *text, const char *name) {
    char one[64];
    snprintf(one, sizeof one, "%s", name);
    if (is(name, "headers") || is(name, "params")) one[strlen(name) - 1] = '\0';
    return strstr(text, one) != NULL ||
           (is(name, "schema") && strstr(text, "collection") != NULL);
}

/* What is wrong is said in the caller's words, and not as its opposite. */
static void texts_are_right(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = durstream_options_new();
    SAYS("`options` is NULL", durstream_options_set(NULL, "url", "x", &error), error);
    SAYS("`linger_ms` takes a whole number from 0 to 600000, not `soon`",
         durstream_options_set(options, "linger_ms", "soon", &error), error);
    SAYS("there is no option `lingerMs`; did you mean `linger_ms`?",
         durstream_options_set(options, "lingerMs", "1", &error), error);
    SAYS("there is no option `delivery_timeout`; did you mean `delivery_timeout_ms`?",
         durstream_options_set(options, "delivery_timeout", "1", &error), error);
    OK(durstream_options_set(options, "endpoints", "http://127.0.0.1:1", &error), error);
    OK(durstream_options_set(options, "stream_path", "/a/../b", &error), error);
    SAYS("`stream_path` has to be a plain path, without `?`, `#`, `\\`, `.` or `..`, escaped or not",
         durstream_stream_connect(options, &stream, &error), error);
    OK(durstream_options_set(options, "stream_path", "/a", &error), error);
    OK(durstream_options_set(options, "fork_from", "b", &error), error);
    SAYS("`fork_from` has to be the path of the source's URL, which begins with `/`",
         durstream_stream_connect(options, &stream, &error), error);
    OK(durstream_options_set(options, "fork_from", "/b", &error), error);
    OK(durstream_options_set(options, "linger_ms", "1", &error), error);
    SAYS("`linger_ms` is an option of a producer or a state producer, not of a stream",
         durstream_stream_connect(options, &stream, &error), error);
    durstream_options_free(options);
    durstream_schema *schema = durstream_schema_new();
    SAYS("`name` is empty", durstream_schema_add(schema, "", "a", "id", NULL, &error), error);
    durstream_schema_free(schema);
}

static void nothing(durstream_source *source, void *user_data) {
    (void)source;
    (void)user_data;
}

static void answer(durstream_header_answer *to, void *user_data) {
    (void)user_data;
    durstream_header_answer_give(to, "x");
}

static void null_is_an_error_everywhere(void) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    durstream_schema *schema = durstream_schema_new();
    NAMES("options", durstream_options_set(NULL, "url", "x", &error), error);
    NAMES("name", durstream_options_set(options, NULL, "x", &error), error);
    NAMES("value", durstream_options_set(options, "url", NULL, &error), error);
    NAMES("options", durstream_options_set_header(NULL, "a", "b", &error), error);
    NAMES("name", durstream_options_set_header(options, NULL, "b", &error), error);
    NAMES("value", durstream_options_set_header(options, "a", NULL, &error), error);
    NAMES("options", durstream_options_set_param(NULL, "a", "b", &error), error);
    NAMES("name", durstream_options_set_param(options, NULL, "b", &error), error);
    NAMES("value", durstream_options_set_param(options, "a", NULL, &error), error);
    NAMES("options", durstream_options_set_header_fn(NULL, "a", answer, NULL, NULL, &error), error);
    NAMES("name", durstream_options_set_header_fn(options, NULL, answer, NULL, NULL, &error), error);
    NAMES("callback", durstream_options_set_header_fn(options, "a", NULL, NULL, NULL, &error),
          error);
    durstream_header_answer_give(NULL, "x");
    durstream_header_answer_fail(NULL, "x");
    NAMES("options", durstream_options_on_error(NULL, NULL, NULL, NULL, &error), error);
    NAMES("options", durstream_options_on_delivery(NULL, NULL, NULL, NULL, &error), error);
    NAMES("options", durstream_options_on_state(NULL, NULL, NULL, NULL, &error), error);
    CHECK(durstream_transition_from(NULL) == DURSTREAM_LIFECYCLE_NONE);
    CHECK(durstream_transition_to(NULL) == DURSTREAM_LIFECYCLE_NONE);
    CHECK(durstream_transition_error(NULL) == NULL);
    NAMES("options", durstream_stream_create(NULL, NULL, 0, NULL, &error), error);
    NAMES("stream", durstream_stream_create(options, NULL, 0, NULL, &error), error);
    NAMES("options", durstream_stream_connect(NULL, NULL, &error), error);
    NAMES("stream", durstream_stream_connect(options, NULL, &error), error);
    NAMES("stream", durstream_stream_head(NULL, 0, NULL, &error), error);
    NAMES("stream", durstream_stream_append(NULL, NULL, 0, 0, NULL, &error), error);
    NAMES("stream", durstream_stream_append_seq(NULL, NULL, 0, "1", 0, NULL, &error), error);
    NAMES("stream", durstream_stream_append_stream(NULL, nothing, NULL, NULL, &error), error);
    durstream_source_give(NULL, NULL, 0);
    durstream_source_fail(NULL, "x");
    NAMES("stream", durstream_stream_read(NULL, NULL, NULL, &error), error);
    NAMES("stream", durstream_stream_read_live(NULL, NULL, "off", NULL, &error), error);
    NAMES("stream", durstream_stream_close(NULL, NULL, 0, 0, NULL, &error), error);
    NAMES("stream", durstream_stream_delete(NULL, 0, &error), error);
    NAMES("reader", durstream_reader_next(NULL, 0, NULL, &error), error);
    NAMES("chunk", durstream_chunk_item_count(NULL, NULL, &error), error);
    NAMES("stream", durstream_producer_open(NULL, "id", NULL, NULL, &error), error);
    NAMES("producer", durstream_producer_append(NULL, NULL, 0, 0, NULL, &error), error);
    NAMES("producer", durstream_producer_try_append(NULL, NULL, 0, 0, NULL, &error), error);
    NAMES("producer", durstream_producer_wait(NULL, 1, 0, NULL, &error), error);
    NAMES("producer", durstream_producer_flush(NULL, 0, NULL, &error), error);
    NAMES("producer", durstream_producer_wait_ready(NULL, 0, &error), error);
    NAMES("producer", durstream_producer_restart(NULL, 0, &error), error);
    NAMES("producer", durstream_producer_close(NULL, NULL, 0, 0, NULL, &error), error);
    NAMES("producer", durstream_producer_detach(NULL, 0, NULL, &error), error);
    NAMES("producer", durstream_producer_begin_shutdown(NULL, &error), error);
    NAMES("producer", durstream_producer_stop(NULL, &error), error);
    NAMES("producer", durstream_producer_discard_outbox(NULL, 0, NULL, &error), error);
    NAMES("producer", durstream_producer_stats(NULL, NULL, &error), error);
    CHECK(durstream_producer_stats_prometheus(NULL, 0) == NULL);
    CHECK(durstream_state_stats_prometheus(NULL, 0) == NULL);
    NAMES("schema", durstream_schema_add(NULL, "a", "a", "a", NULL, &error), error);
    NAMES("name", durstream_schema_add(schema, NULL, "a", "a", NULL, &error), error);
    NAMES("entity_type", durstream_schema_add(schema, "a", NULL, "a", NULL, &error), error);
    NAMES("primary_key", durstream_schema_add(schema, "a", "a", NULL, NULL, &error), error);
    NAMES("options", durstream_state_open(NULL, schema, NULL, &error), error);
    NAMES("schema", durstream_state_open(options, NULL, NULL, &error), error);
    NAMES("state", durstream_state_open(options, schema, NULL, &error), error);
    NAMES("state", durstream_state_upsert(NULL, "a", NULL, 0, 0, NULL, &error), error);
    NAMES("state", durstream_state_try_upsert(NULL, "a", NULL, 0, 0, NULL, &error), error);
    NAMES("state", durstream_state_delete(NULL, "a", "b", 0, NULL, &error), error);
    NAMES("state", durstream_state_try_delete(NULL, "a", "b", 0, NULL, &error), error);
    NAMES("state", durstream_state_change(NULL, 1, "a", NULL, 0, NULL, NULL, &error), error);
    NAMES("state", durstream_state_try_change(NULL, 1, "a", NULL, 0, NULL, NULL, &error), error);
    NAMES("state", durstream_state_control(NULL, 1, NULL, 0, NULL, &error), error);
    NAMES("state", durstream_state_try_control(NULL, 1, NULL, 0, NULL, &error), error);
    NAMES("producer", durstream_producer_append_group(NULL, NULL, NULL, 0, 0, NULL, &error), error);
    NAMES("producer", durstream_producer_try_append_group(NULL, NULL, NULL, 0, 0, NULL, &error),
          error);
    NAMES("state", durstream_state_begin(NULL, NULL, NULL, &error), error);
    NAMES("transaction", durstream_transaction_change(NULL, 1, "a", NULL, 0, NULL, &error), error);
    NAMES("transaction", durstream_transaction_commit(NULL, NULL, &error), error);
    NAMES("transaction", durstream_transaction_try_commit(NULL, NULL, &error), error);
    CHECK(durstream_transaction_txid(NULL) == NULL);
    durstream_transaction_free(NULL);
    NAMES("state", durstream_state_wait(NULL, 1, 0, NULL, &error), error);
    NAMES("state", durstream_state_flush(NULL, 0, NULL, &error), error);
    NAMES("state", durstream_state_wait_ready(NULL, 0, &error), error);
    NAMES("state", durstream_state_close(NULL, true, 0, NULL, &error), error);
    NAMES("state", durstream_state_begin_shutdown(NULL, &error), error);
    NAMES("state", durstream_state_stop(NULL, &error), error);
    NAMES("state", durstream_state_restart(NULL, 0, &error), error);
    NAMES("state", durstream_state_discard_outbox(NULL, 0, NULL, &error), error);
    NAMES("state", durstream_state_stats(NULL, NULL, &error), error);
    /* Nobody has to look at the error. */
    CHECK(durstream_options_set(NULL, NULL, NULL, NULL) == DURSTREAM_INVALID_ARGUMENT);
    durstream_options_free(options);
    durstream_schema_free(schema);
}

static void recorders_and_inspect_take_null(void) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    NAMES("options", durstream_state_inspect(NULL, NULL, NULL, &error), error);
    NAMES("schema", durstream_state_inspect(options, NULL, NULL, &error), error);
    durstream_options_free(options);
    durstream_test_recorder_free(NULL);
    CHECK(durstream_test_recorder_url(NULL) == NULL);
    NAMES("recorder", durstream_test_recorder_events(NULL, "/a", NULL, &error), error);
    NAMES("recorder", durstream_test_recorder_clear(NULL, &error), error);
    NAMES("recorder", durstream_test_recorder_hold(NULL, &error), error);
    NAMES("recorder", durstream_test_recorder_release(NULL, &error), error);
    NAMES("recorder", durstream_test_recorder_reject(NULL, "", 1, &error), error);
    NAMES("recorder", durstream_test_recorder_fence(NULL, &error), error);
    NAMES("recorder", durstream_test_recorder_fail(NULL, 1, &error), error);
    NAMES("recorder", durstream_test_recorder_deliver(NULL, &error), error);
    durstream_test_recorder *recorder = durstream_test_recorder_new();
    NAMES("path", durstream_test_recorder_events(recorder, NULL, NULL, &error), error);
    NAMES("chunk", durstream_test_recorder_events(recorder, "/a", NULL, &error), error);
    NAMES("containing", durstream_test_recorder_reject(recorder, NULL, 1, &error), error);
    NAMES("reason", durstream_test_recorder_reject(recorder, "", 4711, &error), error);
    NAMES("reason",
          durstream_test_recorder_reject(recorder, "", DURSTREAM_REASON_FENCED, &error), error);
    durstream_test_recorder_free(recorder);
}

static void getters_and_frees_take_null(void) {
    durstream_error *error = NULL;
    durstream_options_free(NULL);
    durstream_error_free(NULL);
    CHECK(!durstream_metadata_exists(NULL));
    durstream_stream_free(NULL);
    durstream_metadata_free(NULL);
    durstream_reader_free(NULL);
    durstream_chunk_free(NULL);
    durstream_producer_free(NULL);
    durstream_outcome_free(NULL);
    durstream_schema_free(NULL);
    durstream_state_free(NULL);
    durstream_string_free(NULL);
    CHECK(durstream_error_code(NULL) == DURSTREAM_OK && durstream_error_message(NULL) == NULL);
    CHECK(durstream_error_json(NULL) == NULL && durstream_error_reason(NULL) == NULL);
    CHECK(durstream_error_option(NULL) == NULL && durstream_error_url(NULL) == NULL);
    CHECK(durstream_error_status(NULL) == 0 && !durstream_error_retryable(NULL));
    CHECK(!durstream_error_definite(NULL) && durstream_error_current_epoch(NULL) == 0);
    CHECK(durstream_error_earliest_offset(NULL) == NULL);
    CHECK(durstream_error_final_offset(NULL) == NULL && durstream_error_cause(NULL) == NULL);
    CHECK(durstream_error_delivered(NULL) == 0 && durstream_error_undelivered(NULL) == 0);
    CHECK(durstream_error_kept(NULL) == 0);
    CHECK(durstream_error_expected_seq(NULL) == 0 && durstream_error_received_seq(NULL) == 0);
    CHECK(durstream_error_collection(NULL) == NULL && durstream_error_key(NULL) == NULL);
    CHECK(durstream_error_issue_count(NULL) == 0 && durstream_error_issue_path(NULL, 0) == NULL);
    CHECK(durstream_error_issue_message(NULL, 0) == NULL);
    CHECK(durstream_stream_url(NULL) == NULL && durstream_producer_url(NULL) == NULL);
    CHECK(durstream_metadata_content_type(NULL) == NULL && durstream_metadata_offset(NULL) == NULL);
    CHECK(durstream_metadata_expires_at(NULL) == NULL && !durstream_metadata_stream_closed(NULL));
    CHECK(!durstream_metadata_ttl_seconds(NULL, NULL) && durstream_reader_offset(NULL) == NULL);
    CHECK(!durstream_reader_up_to_date(NULL) && !durstream_reader_stream_closed(NULL));
    CHECK(durstream_chunk_data(NULL, NULL) == NULL && durstream_chunk_offset(NULL) == NULL);
    CHECK(!durstream_chunk_up_to_date(NULL) && !durstream_chunk_stream_closed(NULL));
    CHECK(durstream_chunk_item(NULL, 0, NULL) == NULL);
    CHECK(durstream_producer_id(NULL) == NULL && durstream_producer_epoch(NULL) == 0);
    CHECK(durstream_producer_next_seq(NULL) == 0 && durstream_producer_pending_count(NULL) == 0);
    CHECK(durstream_producer_state(NULL) == DURSTREAM_LIFECYCLE_NONE);
    CHECK(durstream_producer_in_flight_count(NULL) == 0);
    CHECK(durstream_producer_last_offset(NULL) == NULL);
    CHECK(durstream_producer_last_error(NULL) == NULL);
    CHECK(durstream_outcome_status(NULL) == DURSTREAM_STATUS_FORGOTTEN);
    CHECK(durstream_outcome_reason(NULL) == DURSTREAM_REASON_NONE);
    CHECK(!durstream_outcome_duplicate(NULL) && !durstream_outcome_maybe_duplicate(NULL));
    CHECK(durstream_outcome_attempts(NULL) == 0 && durstream_outcome_offset(NULL) == NULL);
    CHECK(durstream_outcome_error(NULL) == NULL && durstream_failure_id(NULL) == 0);
    CHECK(durstream_failure_payload(NULL, NULL) == NULL && durstream_failure_tag(NULL) == 0);
    CHECK(durstream_log_line_level(NULL) == DURSTREAM_LOG_WARNING);
    CHECK(durstream_log_line_target(NULL) == NULL && durstream_log_line_text(NULL) == NULL);
    CHECK(durstream_log_line_stream(NULL) == NULL && durstream_log_line_producer_id(NULL) == NULL);
    CHECK(durstream_log_line_epoch(NULL) == 0 && durstream_log_line_attempt(NULL) == 0);
    NAMES("level", durstream_set_log_level(6, &error), error);
    NAMES("level", durstream_set_log_level(-1, &error), error);
    CHECK(durstream_delivery_first_id(NULL) == 0 && durstream_delivery_count(NULL) == 0);
    CHECK(durstream_delivery_tags(NULL) == NULL && durstream_delivery_outcome(NULL) == NULL);
    CHECK(durstream_failure_outcome(NULL) == NULL && durstream_failure_error(NULL) == NULL);
    CHECK(durstream_state_id(NULL) == NULL && durstream_state_url(NULL) == NULL);
    CHECK(durstream_state_state(NULL) == DURSTREAM_LIFECYCLE_NONE);
    CHECK(durstream_state_epoch(NULL) == 0 && durstream_state_pending_count(NULL) == 0);
    CHECK(durstream_state_next_seq(NULL) == 0 && durstream_state_in_flight_count(NULL) == 0);
    CHECK(durstream_state_last_offset(NULL) == NULL && durstream_state_last_error(NULL) == NULL);
}

static void names_of_any_number(void) {
    CHECK(is(durstream_code_name(0), "OK"));
    CHECK(is(durstream_code_name(DURSTREAM_STALE_EPOCH), "STALE_EPOCH"));
    CHECK(is(durstream_code_name(-1), "UNKNOWN") && is(durstream_code_name(99), "UNKNOWN"));
    CHECK(is(durstream_reason_name(DURSTREAM_REASON_INVALID_KEY), "invalid-key"));
    CHECK(is(durstream_reason_name(0), "none") && is(durstream_reason_name(INT32_MIN), "unknown"));
    CHECK(is(durstream_status_name(DURSTREAM_STATUS_DELIVERY_UNKNOWN), "delivery-unknown"));
    CHECK(is(durstream_status_name(77), "unknown"));
    CHECK(is(durstream_lifecycle_name(DURSTREAM_LIFECYCLE_FENCED), "fenced"));
    CHECK(is(durstream_lifecycle_name(-7), "unknown"));
}

static void options_are_checked(void) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    NAMES("linger_ms", durstream_options_set(options, "linger_ms", "soon", &error), error);
    NAMES("linger_ms", durstream_options_set(options, "linger_ms", "-1", &error), error);
    NAMES("max_in_flight", durstream_options_set(options, "max_in_flight", "65", &error), error);
    NAMES("lingerMs", durstream_options_set(options, "lingerMs", "1", &error), error);
    NAMES("name", durstream_options_set(options, BROKEN, "1", &error), error);
    NAMES("value", durstream_options_set(options, "url", BROKEN, &error), error);
    NAMES("headers", durstream_options_set_header(options, "Producer-Id", "x", &error), error);
    NAMES("headers", durstream_options_set_header(options, "x", "a\r\nb: c", &error), error);
    NAMES("params", durstream_options_set_param(options, "offset", "0", &error), error);
    NAMES("params", durstream_options_set_param(options, "", "0", &error), error);
    NAMES("value", durstream_options_set_param(options, "x", BROKEN, &error), error);

    durstream_stream *stream = NULL;
    NAMES("url", durstream_stream_connect(options, &stream, &error), error);
    OK(durstream_options_set(options, "url", "ftp://example.com/x", &error), error);
    NAMES("url", durstream_stream_connect(options, &stream, &error), error);
    OK(durstream_options_set(options, "url", "http://127.0.0.1:1/x", &error), error);
    OK(durstream_options_set(options, "linger_ms", "1", &error), error);
    NAMES("linger_ms", durstream_stream_connect(options, &stream, &error), error);
    CHECK(stream == NULL);
    durstream_options_free(options);
}

static void see_nothing(const durstream_failure *failure, void *user_data) {
    (void)failure;
    (void)user_data;
}

static void see_no_state(const durstream_transition *transition, void *user_data) {
    (void)transition;
    (void)user_data;
}

static void hear_nothing(const durstream_delivery *delivery, void *user_data) {
    (void)delivery;
    (void)user_data;
}

static void count_one(void *user_data) { ++*(int *)user_data; }

static void streams_have_no_callback(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    int destroyed = 0;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", "http://127.0.0.1:1/x", &error), error);
    OK(durstream_options_on_error(options, see_nothing, &destroyed, count_one, &error), error);
    NAMES("on_error", durstream_stream_connect(options, &stream, &error), error);
    OK(durstream_options_on_error(options, see_nothing, &destroyed, count_one, &error), error);
    CHECK(destroyed == 1);
    OK(durstream_options_on_error(options, NULL, NULL, NULL, &error), error);
    CHECK(destroyed == 2);
    OK(durstream_options_on_delivery(options, hear_nothing, &destroyed, count_one, &error), error);
    NAMES("on_delivery", durstream_stream_connect(options, &stream, &error), error);
    OK(durstream_options_on_delivery(options, NULL, NULL, NULL, &error), error);
    CHECK(destroyed == 3);
    OK(durstream_options_on_state(options, see_no_state, &destroyed, count_one, &error), error);
    NAMES("on_state", durstream_stream_connect(options, &stream, &error), error);
    OK(durstream_options_on_state(options, NULL, NULL, NULL, &error), error);
    CHECK(destroyed == 4);
    OK(durstream_options_on_delivery(options, hear_nothing, &destroyed, count_one, &error), error);
    durstream_options_free(options);
    CHECK(destroyed == 5);
}

static durstream_stream *nowhere(const char *content_type) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", "http://user:s3cret@127.0.0.1:1/x?token=s3cret",
                             &error),
       error);
    OK(durstream_options_set(options, "content_type", content_type, &error), error);
    OK(durstream_stream_connect(options, &stream, &error), error);
    CHECK(is(durstream_stream_url(stream), "http://127.0.0.1:1/x"));
    durstream_options_free(options);
    return stream;
}

static void writes_are_checked(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = nowhere("application/json");
    durstream_producer *producer = NULL;
    const uint8_t byte = '1';
    NAMES("producer_id", durstream_producer_open(stream, NULL, NULL, &producer, &error), error);
    NAMES("producer_id", durstream_producer_open(stream, "", NULL, &producer, &error), error);
    NAMES("producer_id", durstream_producer_open(stream, "a b", NULL, &producer, &error), error);
    NAMES("producer_id", durstream_producer_open(stream, BROKEN, NULL, &producer, &error), error);
    NAMES("producer", durstream_producer_open(stream, "id", NULL, NULL, &error), error);
    CHECK(producer == NULL);
    producer = open_producer(stream, "id", NULL);
    NAMES("message", durstream_producer_append(producer, NULL, 1, 0, NULL, &error), error);
    NAMES("message", durstream_producer_append(producer, &byte, SIZE_MAX, 0, NULL, &error), error);
    NAMES("message",
          durstream_producer_try_append(producer, &byte, SIZE_MAX / 2 + 1, 0, NULL, &error), error);
    NAMES("message", durstream_stream_append(stream, NULL, 1, 0, NULL, &error), error);
    NAMES("message", durstream_producer_close(producer, NULL, 1, 0, NULL, &error), error);
    FAILS(DURSTREAM_VALIDATION, durstream_producer_append(producer, NULL, 0, 0, NULL, &error),
          error);
    FAILS(DURSTREAM_VALIDATION,
          durstream_producer_append(producer, (const uint8_t *)BROKEN, 2, 0, NULL, &error), error);
    FAILS(DURSTREAM_VALIDATION, durstream_stream_append(stream, NULL, 0, 0, NULL, &error), error);
    FAILS(DURSTREAM_VALIDATION, durstream_producer_close(producer, &byte, 0, 0, NULL, &error),
          error);
    durstream_stats unset = {.size = 0}, absurd = {.size = SIZE_MAX};
    NAMES("stats", durstream_producer_stats(producer, NULL, &error), error);
    NAMES("stats", durstream_producer_stats(producer, &unset, &error), error);
    NAMES("stats", durstream_producer_stats(producer, &absurd, &error), error);
    durstream_flush_report small = {.size = 3};
    NAMES("report", durstream_producer_flush(producer, 0, &small, &error), error);
    OK(durstream_producer_flush(producer, 0, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
}

static void sources_are_checked(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = nowhere("text/plain");
    durstream_flush_report unsized = {.size = 1};
    NAMES("callback", durstream_stream_append_stream(stream, NULL, NULL, NULL, &error), error);
    NAMES("report", durstream_stream_append_stream(stream, nothing, NULL, &unsized, &error), error);
    OK(durstream_stream_append_stream(stream, nothing, NULL, NULL, &error), error);
    durstream_stream_free(stream);
}

static void reads_are_checked(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = nowhere("text/plain");
    durstream_reader *reader = NULL;
    NAMES("metadata", durstream_stream_head(stream, 0, NULL, &error), error);
    NAMES("reader", durstream_stream_read(stream, NULL, NULL, &error), error);
    NAMES("offset", durstream_stream_read(stream, "", &reader, &error), error);
    NAMES("offset", durstream_stream_read_live(stream, "", "off", &reader, &error), error);
    NAMES("live", durstream_stream_read_live(stream, NULL, NULL, &reader, &error), error);
    NAMES("live", durstream_stream_read_live(stream, NULL, "maybe", &reader, &error), error);
    FAILS(DURSTREAM_NOT_SUPPORTED,
          durstream_stream_read_live(stream, NULL, "sse", &reader, &error), error);
    NAMES("offset", durstream_stream_read(stream, "a\r\nb", &reader, &error), error);
    NAMES("offset", durstream_stream_read(stream, BROKEN, &reader, &error), error);
    CHECK(reader == NULL);
    OK(durstream_stream_read_live(stream, "5", "off", &reader, &error), error);
    NAMES("chunk", durstream_reader_next(reader, 0, NULL, &error), error);
    char *offset = durstream_reader_offset(reader);
    CHECK(is(offset, "5") && !durstream_reader_up_to_date(reader));
    durstream_string_free(offset);
    durstream_reader_free(reader);
    const uint8_t *message = (const uint8_t *)"a";
    NAMES("seq", durstream_stream_append_seq(stream, message, 1, NULL, 0, NULL, &error), error);
    NAMES("seq", durstream_stream_append_seq(stream, message, 1, "a b", 0, NULL, &error), error);
    durstream_stream_free(stream);
}

static void schemas_are_checked(void) {
    durstream_error *error = NULL;
    durstream_schema *schema = durstream_schema_new();
    NAMES("name", durstream_schema_add(schema, "", "a", "id", NULL, &error), error);
    NAMES("entity_type", durstream_schema_add(schema, "a", "", "id", NULL, &error), error);
    NAMES("primary_key", durstream_schema_add(schema, "a", "a", "", NULL, &error), error);
    NAMES("name", durstream_schema_add(schema, BROKEN, "a", "id", NULL, &error), error);
    NAMES("json_schema", durstream_schema_add(schema, "a", "a", "id", "{", &error), error);
    NAMES("schema", durstream_schema_add(schema, "a", "a", "id", "{\"type\":1}", &error), error);
    durstream_state *state = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", "http://127.0.0.1:1/x", &error), error);
    NAMES("schema", durstream_state_open(options, schema, &state, &error), error);
    OK(durstream_schema_add(schema, "a", "a", "id", NULL, &error), error);
    NAMES("schema", durstream_schema_add(schema, "a", "b", "id", NULL, &error), error);
    NAMES("producer_id", durstream_state_open(options, schema, &state, &error), error);
    CHECK(state == NULL);
    OK(durstream_options_set(options, "producer_id", "id", &error), error);
    OK(durstream_state_open(options, schema, &state, &error), error);
    NAMES("collection", durstream_state_upsert(state, NULL, NULL, 0, 0, NULL, &error), error);
    NAMES("collection", durstream_state_upsert(state, BROKEN, NULL, 0, 0, NULL, &error), error);
    NAMES("value", durstream_state_upsert(state, "a", NULL, 5, 0, NULL, &error), error);
    NAMES("key", durstream_state_delete(state, "a", NULL, 0, NULL, &error), error);
    NAMES("key", durstream_state_delete(state, "a", BROKEN, 0, NULL, &error), error);
    FAILS(DURSTREAM_VALIDATION, durstream_state_upsert(state, "a", NULL, 0, 0, NULL, &error),
          error);
    const char *headers[] = {"a", NULL};
    durstream_event event;
    memset(&event, 0, sizeof event);
    event.size = sizeof event;
    event.txid = BROKEN;
    NAMES("txid", durstream_state_change(state, 1, "a", NULL, 0, &event, NULL, &error), error);
    event.txid = NULL;
    event.timestamp = BROKEN;
    NAMES("timestamp", durstream_state_change(state, 1, "a", NULL, 0, &event, NULL, &error), error);
    event.timestamp = NULL;
    event.headers = headers;
    event.header_count = 1;
    NAMES("headers", durstream_state_change(state, 1, "a", NULL, 0, &event, NULL, &error), error);
    event.header_count = SIZE_MAX;
    NAMES("headers", durstream_state_change(state, 1, "a", NULL, 0, &event, NULL, &error), error);
    event.header_count = 0;
    event.old_value_length = 5;
    NAMES("old_value", durstream_state_change(state, 1, "a", NULL, 0, &event, NULL, &error), error);
    NAMES("operation", durstream_state_change(state, 9, "a", NULL, 0, NULL, NULL, &error), error);
    durstream_state_free(state);
    durstream_options_free(options);
    durstream_schema_free(schema);
}

static void a_full_buffer_says_so(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = nowhere("text/plain");
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "max_buffer_items", "2", &error), error);
    OK(durstream_options_set(options, "max_block_ms", "50", &error), error);
    OK(durstream_options_set(options, "max_write_bytes", "10", &error), error);
    durstream_producer *producer = open_producer(stream, "full", options);
    OK(append(producer, "a", &error), error);
    OK(append(producer, "b", &error), error);
    const double before = seconds();
    CHECK(durstream_producer_try_append(producer, (const uint8_t *)"c", 1, 0, NULL, &error) ==
          DURSTREAM_BUFFER_FULL);
    CHECK(is(durstream_error_reason(error), "buffer-count-exceeded"));
    CHECK(durstream_error_retryable(error) && durstream_error_definite(error));
    durstream_error_free(error);
    error = NULL;
    FAILS(DURSTREAM_BUFFER_FULL, append(producer, "c", &error), error);
    CHECK(seconds() - before >= 0.05);
    FAILS(DURSTREAM_TOO_LARGE, append(producer, "more than ten bytes", &error), error);
    FAILS(DURSTREAM_TIMEOUT, durstream_producer_wait(producer, 1, 0, NULL, &error), error);
    FAILS(DURSTREAM_TIMEOUT, durstream_producer_flush(producer, 20, NULL, &error), error);
    FAILS(DURSTREAM_TIMEOUT, durstream_flush_all(20, &error), error);
    OK(durstream_producer_stop(producer, &error), error);
    OK(durstream_producer_wait(producer, 2, 30000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_options_free(options);
    durstream_stream_free(stream);
}

int main(void) {
    durstream_error *error = NULL;
    unsetenv("DURABLE_STREAMS_URL");
    unsetenv("services__streams__http__0");
    CHECK(strlen(durstream_version()) >= 5);
    null_is_an_error_everywhere();
    texts_are_right();
    recorders_and_inspect_take_null();
    getters_and_frees_take_null();
    names_of_any_number();
    options_are_checked();
    streams_have_no_callback();
    writes_are_checked();
    sources_are_checked();
    reads_are_checked();
    schemas_are_checked();
    a_full_buffer_says_so();
    OK(durstream_shutdown(1000, &error), error);
    return 0;
}
