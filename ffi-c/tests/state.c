/* Entity state: upserts and deletes, what is refused, the registry, the end of the stream. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "http.h"

static const char *const SHIPMENT =
    "{\"type\":\"object\",\"required\":[\"id\"],"
    "\"properties\":{\"status\":{\"enum\":[\"created\",\"delivered\"]}}}";

static durstream_schema *shipments(void) {
    durstream_error *error = NULL;
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "shipments", "shipment", "id", SHIPMENT, &error), error);
    OK(durstream_schema_add(schema, "orders", "order", "number", NULL, &error), error);
    return schema;
}

static durstream_options *options_of(const char *path) {
    durstream_error *error = NULL;
    durstream_options *options = options_for(path, NULL);
    OK(durstream_options_set(options, "producer_id", "c-state", &error), error);
    return options;
}

static durstream_code upsert(durstream_state *state, const char *collection, const char *value,
                             uint64_t *id, durstream_error **error) {
    return durstream_state_upsert(state, collection, (const uint8_t *)value, strlen(value), 0, id,
                                  error);
}

static void refused(durstream_state *state, const char *collection, const char *value,
                    const char *reason) {
    durstream_error *error = NULL;
    uint64_t id = 4711;
    CHECK(upsert(state, collection, value, &id, &error) == DURSTREAM_VALIDATION);
    CHECK(is(durstream_error_reason(error), reason) && durstream_error_url(error) != NULL);
    CHECK(id == 4711);
    durstream_error_free(error);
}

static void an_error_says_what_is_wrong(durstream_state *state) {
    durstream_error *error = NULL;
    const char *wrong = "{\"id\":\"s2\",\"status\":\"lost\"}";
    CHECK(upsert(state, "shipments", wrong, NULL, &error) == DURSTREAM_VALIDATION);
    CHECK(is(durstream_error_collection(error), "shipments"));
    CHECK(is(durstream_error_key(error), "s2") && durstream_error_issue_count(error) == 1);
    CHECK(is(durstream_error_issue_path(error, 0), "/status"));
    CHECK(strstr(durstream_error_issue_message(error, 0), "lost") != NULL);
    CHECK(durstream_error_issue_path(error, 1) == NULL);
    CHECK(durstream_error_issue_message(error, 1) == NULL);
    CHECK(durstream_error_expected_seq(error) == 0 && durstream_error_received_seq(error) == 0);
    durstream_error_free(error);
    error = NULL;
    CHECK(upsert(state, "orders", "{}", NULL, &error) == DURSTREAM_VALIDATION);
    CHECK(is(durstream_error_collection(error), "orders") && durstream_error_key(error) == NULL);
    durstream_error_free(error);
}

static void changes_become_events(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("state");
    durstream_schema *schema = shipments();
    durstream_options *options = options_of(path);
    durstream_state *state = NULL;
    OK(durstream_state_open(options, schema, &state, &error), error);
    CHECK(strstr(durstream_state_url(state), path) != NULL);
    CHECK(is(durstream_state_id(state), "c-state"));

    uint64_t id = 0;
    OK(upsert(state, "shipments", "{\"id\":\"s1\",\"status\":\"created\"}", &id, &error), error);
    CHECK(id == 1);
    OK(durstream_state_try_upsert(state, "orders", (const uint8_t *)"{\"number\":7}", 12, 0, &id,
                                  &error),
       error);
    CHECK(id == 2);
    refused(state, "shipments", "{\"status\":\"created\"}", "invalid-key");
    refused(state, "shipments", "{\"id\":\"s2\",\"status\":\"lost\"}", "invalid-value");
    refused(state, "shipments", "[1]", "invalid-value");
    refused(state, "shipments", "{\"id\":", "invalid-value");
    refused(state, "nothing", "{\"id\":\"s2\"}", "invalid-entity");
    an_error_says_what_is_wrong(state);
    FAILS(DURSTREAM_VALIDATION, durstream_state_delete(state, "shipments", "", 0, NULL, &error),
          error);
    OK(durstream_state_delete(state, "shipments", "s1", 0, &id, &error), error);
    OK(durstream_state_try_delete(state, "orders", "7", 0, &id, &error), error);
    CHECK(id == 4);

    durstream_outcome *outcome = NULL;
    OK(durstream_state_wait(state, id, 30000, &outcome, &error), error);
    CHECK(durstream_outcome_status(outcome) == DURSTREAM_STATUS_DELIVERED);
    durstream_outcome_free(outcome);
    durstream_flush_report report = {.size = sizeof report};
    OK(durstream_state_flush(state, 30000, &report, &error), error);
    CHECK(report.delivered == 4);
    durstream_stats stats = {.size = sizeof stats};
    OK(durstream_state_stats(state, &stats, &error), error);
    CHECK(stats.accepted == 4 && stats.delivered == 4 && stats.refused_invalid == 8);
    CHECK(durstream_state_state(state) == DURSTREAM_LIFECYCLE_READY);
    CHECK(durstream_state_epoch(state) > 0 && durstream_state_pending_count(state) == 0);
    CHECK(durstream_state_next_seq(state) > 0 && durstream_state_in_flight_count(state) == 0);

    char *body = read_stream(path);
    CHECK(is(body, "[{\"type\":\"shipment\",\"key\":\"s1\","
                   "\"value\":{\"id\":\"s1\",\"status\":\"created\"},"
                   "\"headers\":{\"operation\":\"upsert\"}},"
                   "{\"type\":\"order\",\"key\":\"7\",\"value\":{\"number\":7},"
                   "\"headers\":{\"operation\":\"upsert\"}},"
                   "{\"type\":\"shipment\",\"key\":\"s1\",\"headers\":{\"operation\":\"delete\"}},"
                   "{\"type\":\"order\",\"key\":\"7\",\"headers\":{\"operation\":\"delete\"}}]"));
    free(body);
    durstream_state_free(state);
    durstream_options_free(options);
    durstream_schema_free(schema);
}

static void a_stream_has_one_producer(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("one");
    durstream_schema *schema = shipments();
    durstream_options *options = options_of(path);
    durstream_state *first = NULL, *second = NULL, *third = NULL;
    OK(durstream_state_open(options, schema, &first, &error), error);
    OK(durstream_state_open(options, schema, &second, &error), error);
    uint64_t id = 0;
    OK(upsert(first, "shipments", "{\"id\":\"a\"}", &id, &error), error);
    OK(upsert(second, "shipments", "{\"id\":\"b\"}", &id, &error), error);
    CHECK(id == 2);

    OK(durstream_options_set(options, "linger_ms", "5", &error), error);
    FAILS(DURSTREAM_INVALID_ARGUMENT, durstream_state_open(options, schema, &third, &error),
          error);
    CHECK(third == NULL);

    /* Letting one go leaves the other; close is for all. */
    durstream_state_free(first);
    OK(upsert(second, "shipments", "{\"id\":\"c\"}", NULL, &error), error);
    OK(durstream_state_close(second, false, 30000, NULL, &error), error);
    CHECK(upsert(second, "shipments", "{\"id\":\"d\"}", NULL, &error) ==
          DURSTREAM_PRODUCER_CLOSED);
    CHECK(durstream_error_reason(error) != NULL);
    durstream_error_free(error);
    error = NULL;

    /* A later open makes a new one, under the same id; nothing of either is lost. */
    OK(durstream_state_open(options, schema, &third, &error), error);
    OK(upsert(third, "shipments", "{\"id\":\"d\"}", &id, &error), error);
    CHECK(id == 1);
    char *offset = NULL;
    OK(durstream_state_close(third, true, 30000, &offset, &error), error);
    durstream_string_free(offset);
    durstream_state_free(second);
    durstream_state_free(third);

    char *body = read_stream(path);
    CHECK(occurrences(body, "\"key\"") == 4);
    CHECK(strstr(body, "\"d\"") > strstr(body, "\"c\""));
    free(body);
    durstream_options_free(options);
    durstream_schema_free(schema);
}

static void strict_refuses_in_the_same_way(void) {
    durstream_error *error = NULL;
    durstream_schema *schema = shipments();
    durstream_options *options = options_of(fresh_path("strict"));
    OK(durstream_options_set(options, "strict", "true", &error), error);
    durstream_state *state = NULL;
    OK(durstream_state_open(options, schema, &state, &error), error);
    refused(state, "shipments", "{}", "invalid-key");
    durstream_state_free(state);
    durstream_options_free(options);
    durstream_schema_free(schema);
}

static void everything(void) {
    changes_become_events();
    a_stream_has_one_producer();
    strict_refuses_in_the_same_way();
}

int main(void) {
    durstream_error *error = NULL;
    everything();
    begin_recording();
    everything();
    end_recording();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
