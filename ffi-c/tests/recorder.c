/* A recorder in a server's place: what it shows, and what it does to writes. Needs no server. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <durstream_test.h>
#include <sys/wait.h>

static durstream_options *options_at(const char *url, const char *path) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "endpoints", url, &error), error);
    OK(durstream_options_set(options, "stream_path", path, &error), error);
    OK(durstream_options_set(options, "producer_id", "c-recorder", &error), error);
    OK(durstream_options_set(options, "retry_initial_delay_ms", "1", &error), error);
    return options;
}

static durstream_schema *orders(void) {
    durstream_error *error = NULL;
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "orders", "order", "id",
                            "{\"properties\":{\"id\":{\"type\":\"integer\"}}}", &error),
       error);
    return schema;
}

static durstream_code open_at(const char *url, durstream_state **state, durstream_error **error) {
    durstream_schema *schema = orders();
    durstream_options *options = options_at(url, "/orders");
    const durstream_code code = durstream_state_open(options, schema, state, error);
    durstream_options_free(options);
    durstream_schema_free(schema);
    return code;
}

static durstream_state *open_state(const durstream_test_recorder *recorder) {
    durstream_error *error = NULL;
    durstream_state *state = NULL;
    OK(open_at(durstream_test_recorder_url(recorder), &state, &error), error);
    return state;
}

static uint64_t upsert(durstream_state *state, const char *value) {
    durstream_error *error = NULL;
    uint64_t id = 0;
    OK(durstream_state_upsert(state, "orders", (const uint8_t *)value, strlen(value), 0, &id,
                              &error),
       error);
    return id;
}

static durstream_reason reason_of(durstream_state *state, uint64_t id) {
    durstream_error *error = NULL;
    durstream_outcome *outcome = NULL;
    OK(durstream_state_wait(state, id, 30000, &outcome, &error), error);
    const durstream_reason reason = durstream_outcome_reason(outcome);
    durstream_outcome_free(outcome);
    return reason;
}

/* Checks that the stream's messages have these keys, each of one letter. */
static void check_keys(const durstream_test_recorder *recorder, const char *keys) {
    durstream_error *error = NULL;
    durstream_chunk *chunk = NULL;
    OK(durstream_test_recorder_events(recorder, "/orders", &chunk, &error), error);
    size_t count = 0;
    OK(durstream_chunk_item_count(chunk, &count, &error), error);
    CHECK(count == strlen(keys));
    for (size_t n = 0; n < count; n++) {
        char event[32];
        size_t length = 0;
        const int begin = snprintf(event, sizeof event, "{\"type\":\"order\",\"key\":\"%c\"", keys[n]);
        const uint8_t *item = durstream_chunk_item(chunk, n, &length);
        CHECK(length > (size_t)begin && memcmp(item, event, (size_t)begin) == 0);
    }
    durstream_chunk_free(chunk);
}

static void writes_are_shown_held_rejected_and_repeated(void) {
    durstream_error *error = NULL;
    durstream_test_recorder *recorder = durstream_test_recorder_new();
    check_keys(recorder, "");
    OK(durstream_test_recorder_fail(recorder, 2, &error), error);
    durstream_state *state = open_state(recorder);
    CHECK(reason_of(state, upsert(state, "{\"id\":1}")) == DURSTREAM_REASON_NONE);
    check_keys(recorder, "1");
    OK(durstream_test_recorder_clear(recorder, &error), error);

    OK(durstream_test_recorder_hold(recorder, &error), error);
    const uint64_t held = upsert(state, "{\"id\":2}");
    FAILS(DURSTREAM_TIMEOUT, durstream_state_wait(state, held, 20, NULL, &error), error);
    check_keys(recorder, "");
    OK(durstream_test_recorder_release(recorder, &error), error);
    CHECK(reason_of(state, held) == DURSTREAM_REASON_NONE);
    check_keys(recorder, "2");
    FAILS(DURSTREAM_INVALID_ARGUMENT, durstream_test_recorder_release(recorder, &error), error);

    OK(durstream_test_recorder_reject(recorder, "\"id\":3", DURSTREAM_REASON_REFUSED, &error),
       error);
    const uint64_t refused = upsert(state, "{\"id\":3}"), taken = upsert(state, "{\"id\":4}");
    CHECK(reason_of(state, refused) == DURSTREAM_REASON_REFUSED);
    CHECK(reason_of(state, taken) == DURSTREAM_REASON_NONE);
    check_keys(recorder, "24");
    FAILS(DURSTREAM_DELIVERY, durstream_state_flush(state, 30000, NULL, &error), error);

    OK(durstream_test_recorder_fence(recorder, &error), error);
    CHECK(reason_of(state, upsert(state, "{\"id\":5}")) == DURSTREAM_REASON_FENCED);
    OK(durstream_test_recorder_deliver(recorder, &error), error);
    durstream_state_free(state);
    durstream_test_recorder_free(recorder);
}

static void a_recorder_that_is_gone_is_not_found(void) {
    durstream_error *error = NULL;
    durstream_test_recorder *recorder = durstream_test_recorder_new();
    durstream_test_recorder *other = durstream_test_recorder_new();
    char url[128];
    snprintf(url, sizeof url, "%s", durstream_test_recorder_url(recorder));
    CHECK(!is(durstream_test_recorder_url(other), url));
    durstream_state *state = open_state(recorder);
    OK(durstream_test_recorder_hold(recorder, &error), error);
    const uint64_t held = upsert(state, "{\"id\":1}");
    durstream_test_recorder_free(recorder);
    CHECK(reason_of(state, held) == DURSTREAM_REASON_NONE);
    durstream_state *late = NULL;
    CHECK(open_at(url, &late, &error) == DURSTREAM_INVALID_ARGUMENT && late == NULL);
    CHECK(strstr(durstream_error_message(error), "there is no recorder at http://") != NULL);
    durstream_error_free(error);
    durstream_state_free(state);
    durstream_test_recorder_free(other);
}

static void a_child_has_no_recorder_of_its_parents(void) {
    durstream_test_recorder *recorder = durstream_test_recorder_new();
    durstream_state *state = open_state(recorder);
    CHECK(reason_of(state, upsert(state, "{\"id\":1}")) == DURSTREAM_REASON_NONE);
    int told[2];
    CHECK(pipe(told) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        durstream_chunk *chunk = NULL;
        const char codes[2] = {
            (char)durstream_test_recorder_hold(recorder, NULL),
            (char)durstream_test_recorder_events(recorder, "/orders", &chunk, NULL),
        };
        const bool is_said = write(told[1], codes, 2) == 2;
        durstream_test_recorder_free(recorder);
        _exit(is_said ? 0 : 1);
    }
    char codes[2] = {0, 0};
    CHECK(read(told[0], codes, 2) == 2);
    CHECK(codes[0] == DURSTREAM_FORKED && codes[1] == DURSTREAM_FORKED);
    CHECK(waitpid(child, NULL, 0) == child);
    check_keys(recorder, "1");
    durstream_state_free(state);
    durstream_test_recorder_free(recorder);
}

static void inspect_tells_what_would_be_opened(void) {
    durstream_error *error = NULL;
    durstream_schema *schema = orders();
    durstream_options *options = options_at("http://user:s3cret@127.0.0.1:9/base", "/orders");
    OK(durstream_options_set_header(options, "authorization", "s3cret", &error), error);
    char *json = NULL;
    OK(durstream_state_inspect(options, schema, &json, &error), error);
    CHECK(strstr(json, "s3cret") == NULL);
    CHECK(strstr(json, "\"url\":\"http://127.0.0.1:9/base/orders\"") != NULL);
    CHECK(strstr(json, "\"retry_initial_delay_ms\":{\"from\":\"given\",\"value\":1}") != NULL);
    CHECK(strstr(json, "\"code\":\"numeric-primary-key\"") != NULL);
    durstream_string_free(json);
    OK(durstream_options_set(options, "url", "http://127.0.0.1:9/orders", &error), error);
    json = NULL;
    FAILS(DURSTREAM_INVALID_ARGUMENT, durstream_state_inspect(options, schema, &json, &error),
          error);
    CHECK(json == NULL);
    durstream_options_free(options);
    durstream_schema_free(schema);
}

int main(void) {
    durstream_error *error = NULL;
    writes_are_shown_held_rejected_and_repeated();
    a_recorder_that_is_gone_is_not_found();
    a_child_has_no_recorder_of_its_parents();
    inspect_tells_what_would_be_opened();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
