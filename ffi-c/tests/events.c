/* What a change of an entity says beside its value, and control messages. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "http.h"

static durstream_state *open_state(const char *path, const char *option, const char *value) {
    durstream_error *error = NULL;
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "orders", "order", "id", NULL, &error), error);
    durstream_options *options = options_for(path, NULL);
    OK(durstream_options_set(options, "producer_id", "c-events", &error), error);
    if (option != NULL) OK(durstream_options_set(options, option, value, &error), error);
    durstream_state *state = NULL;
    OK(durstream_state_open(options, schema, &state, &error), error);
    durstream_options_free(options);
    durstream_schema_free(schema);
    return state;
}

static durstream_event an_event(void) {
    durstream_event event;
    memset(&event, 0, sizeof event);
    event.size = sizeof event;
    return event;
}

static durstream_code change(durstream_state *state, int32_t operation, const char *value,
                             const durstream_event *event, durstream_error **error) {
    return durstream_state_change(state, operation, "orders", (const uint8_t *)value,
                                  value == NULL ? 0 : strlen(value), event, NULL, error);
}

static void an_event_says_what_it_was_told(void) {
    const char *path = fresh_path("events");
    durstream_state *state = open_state(path, NULL, NULL);
    durstream_error *error = NULL;
    const char *headers[] = {"from", "billing"};
    const char *old_value = "{\"id\":\"1\"}";
    durstream_event event = an_event();
    event.txid = "tx-1";
    event.timestamp = "2026-02-28T10:00:00Z";
    event.headers = headers;
    event.header_count = 1;
    event.old_value = (const uint8_t *)old_value;
    event.old_value_length = strlen(old_value);
    OK(change(state, DURSTREAM_OPERATION_UPDATE, "{\"id\":\"1\",\"n\":2}", &event, &error), error);
    durstream_event keyed = an_event();
    keyed.key = "k";
    OK(change(state, DURSTREAM_OPERATION_INSERT, "{}", &keyed, &error), error);
    OK(change(state, DURSTREAM_OPERATION_DELETE, NULL, &keyed, &error), error);
    OK(change(state, DURSTREAM_OPERATION_DELETE, "{\"id\":1}", NULL, &error), error);
    uint64_t id = 0;
    OK(durstream_state_try_change(state, DURSTREAM_OPERATION_UPSERT, "orders",
                                  (const uint8_t *)"{\"id\":\"2\"}", 10, NULL, &id, &error),
       error);
    CHECK(id == 5);
    OK(durstream_state_control(state, DURSTREAM_CONTROL_SNAPSHOT_END, "1_2", 0, &id, &error), error);
    CHECK(id == 6);
    OK(durstream_state_try_control(state, DURSTREAM_CONTROL_RESET, NULL, 0, &id, &error), error);
    OK(durstream_state_flush(state, 30000, NULL, &error), error);
    const char *const expected =
        "[{\"type\":\"order\",\"key\":\"1\",\"value\":{\"id\":\"1\",\"n\":2},"
        "\"old_value\":{\"id\":\"1\"},\"headers\":{\"operation\":\"update\",\"txid\":\"tx-1\","
        "\"timestamp\":\"2026-02-28T10:00:00Z\",\"from\":\"billing\"}},"
        "{\"type\":\"order\",\"key\":\"k\",\"value\":{},\"headers\":{\"operation\":\"insert\"}},"
        "{\"type\":\"order\",\"key\":\"k\",\"headers\":{\"operation\":\"delete\"}},"
        "{\"type\":\"order\",\"key\":\"1\",\"headers\":{\"operation\":\"delete\"}},"
        "{\"type\":\"order\",\"key\":\"2\",\"value\":{\"id\":\"2\"},"
        "\"headers\":{\"operation\":\"upsert\"}},"
        "{\"headers\":{\"control\":\"snapshot-end\",\"offset\":\"1_2\"}},"
        "{\"headers\":{\"control\":\"reset\"}}]";
    char *body = read_stream(path);
    CHECK(is(body, expected));
    free(body);
    durstream_state_free(state);
}

static _Atomic int warnings;

static void count_warning(durstream_log_level level, const char *line, void *user_data) {
    (void)user_data;
    if (level == DURSTREAM_LOG_WARNING && strstr(line, "traceparent") != NULL) warnings++;
}

/* The context of a trace is a header where the option is set, and one that is none breaks no write. */
static void an_event_carries_the_context_that_it_was_told(void) {
    const char *path = fresh_path("traced");
    durstream_error *error = NULL;
    durstream_state *state = open_state(path, "trace", "true");
    durstream_event event = an_event();
    event.traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    event.tracestate = "a=1";
    OK(change(state, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"1\"}", &event, &error), error);
    event.traceparent = "nonsense";
    OK(change(state, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"2\"}", &event, &error), error);
    OK(change(state, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"3\"}", &event, &error), error);
    OK(durstream_state_flush(state, 30000, NULL, &error), error);
    char *body = read_stream(path);
    CHECK(is(body, "[{\"type\":\"order\",\"key\":\"1\",\"value\":{\"id\":\"1\"},\"headers\":{"
                   "\"operation\":\"upsert\",\"traceparent\":\"00-0af7651916cd43dd8448eb211c80319c-"
                   "b7ad6b7169203331-01\",\"tracestate\":\"a=1\"}},"
                   "{\"type\":\"order\",\"key\":\"2\",\"value\":{\"id\":\"2\"},\"headers\":{"
                   "\"operation\":\"upsert\"}},"
                   "{\"type\":\"order\",\"key\":\"3\",\"value\":{\"id\":\"3\"},\"headers\":{"
                   "\"operation\":\"upsert\"}}]"));
    free(body);
    durstream_state_free(state);
}

static void refused(durstream_state *state, const durstream_event *event, durstream_code code,
                    const char *reason, const char *text) {
    durstream_error *error = NULL;
    CHECK(change(state, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"1\"}", event, &error) == code);
    CHECK(reason == NULL || is(durstream_error_reason(error), reason));
    CHECK(strstr(durstream_error_message(error), text) != NULL);
    durstream_error_free(error);
}

static void what_an_event_cannot_say_is_refused(void) {
    durstream_state *state = open_state(fresh_path("refused"), "operations", "strict");
    durstream_event event = an_event();
    event.txid = "";
    refused(state, &event, DURSTREAM_VALIDATION, "invalid-headers", "empty `txid`");
    event = an_event();
    event.timestamp = "today";
    refused(state, &event, DURSTREAM_VALIDATION, "invalid-headers", "RFC 3339");
    event = an_event();
    const char *headers[] = {"from", "x"};
    event.headers = headers;
    event.header_count = 1;
    refused(state, &event, DURSTREAM_VALIDATION, "invalid-headers", "strict operations");
    event = an_event();
    event.key = "2";
    refused(state, &event, DURSTREAM_VALIDATION, "invalid-key", "not the entity's own");
    event = an_event();
    event.header_count = 1; /* of NULL */
    refused(state, &event, DURSTREAM_INVALID_ARGUMENT, NULL, "`headers`");
    event.size = 3;
    refused(state, &event, DURSTREAM_INVALID_ARGUMENT, NULL, "sizeof");

    /* A program built for a later library has more fields, which it may use or not. */
    struct {
        durstream_event known;
        const char *later;
    } longer;
    memset(&longer, 0, sizeof longer);
    longer.known.size = sizeof longer;
    durstream_error *error = NULL;
    OK(change(state, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"1\"}", &longer.known, &error), error);
    longer.later = "x";
    refused(state, &longer.known, DURSTREAM_INVALID_ARGUMENT, NULL, "newer");

    FAILS(DURSTREAM_INVALID_ARGUMENT, change(state, 5, "{\"id\":\"1\"}", NULL, &error), error);
    FAILS(DURSTREAM_INVALID_ARGUMENT, durstream_state_control(state, 0, NULL, 0, NULL, &error),
          error);
    FAILS(DURSTREAM_INVALID_ARGUMENT,
          durstream_state_control(state, DURSTREAM_CONTROL_RESET, "", 0, NULL, &error), error);
    FAILS(DURSTREAM_INVALID_ARGUMENT,
          change(NULL, DURSTREAM_OPERATION_UPSERT, "{}", NULL, &error), error);
    durstream_state_free(state);
}

static void everything(void) {
    an_event_says_what_it_was_told();
    an_event_carries_the_context_that_it_was_told();
    what_an_event_cannot_say_is_refused();
}

int main(void) {
    durstream_error *error = NULL;
    durstream_set_log(count_warning, NULL);
    everything();
    begin_recording();
    everything();
    end_recording();
    OK(durstream_shutdown(5000, &error), error);
    CHECK(warnings == 2); /* one of each producer */
    return 0;
}
