/* "Publish a durable stream": what the upstream document of that name shows, in C. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "http.h"

/* --- Define the schema: collections by name, each with its type and primary key. */
static durstream_schema *shipment_stream_schema(void) {
    durstream_error *error = NULL;
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "shipments", "shipment", "id", NULL, &error), error);
    return schema;
}

/* --- Create the producer: one per stream path while it remains open. */
static durstream_state *create_durable_stream(const char *stream_path,
                                              const durstream_schema *schema) {
    durstream_error *error = NULL;
    durstream_state *producer = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "stream_path", stream_path, &error), error);
    OK(durstream_options_set(options, "producer_id", "shipping-service", &error), error);
    OK(durstream_state_open(options, schema, &producer, &error), error);
    durstream_options_free(options);
    return producer;
}

/* --- Upsert and delete state. */
static void write_shipment(durstream_state *producer) {
    durstream_error *error = NULL;
    static const char shipment[] = "{\"id\":\"ship_123\",\"orderId\":\"ord_123\","
                                   "\"status\":\"in_transit\","
                                   "\"updatedAt\":\"2026-01-01T00:00:00.000Z\"}";
    OK(durstream_state_upsert(producer, "shipments", (const uint8_t *)shipment,
                              sizeof shipment - 1, 0, NULL, &error),
       error);
    OK(durstream_state_delete(producer, "shipments", "ship_123", 0, NULL, &error), error);
}

/* --- Flush on shutdown: the abort signal is durstream_state_begin_shutdown. */
static void shut_down(durstream_state *producer) {
    durstream_error *error = NULL;
    OK(durstream_state_begin_shutdown(producer, &error), error);
    OK(durstream_state_flush(producer, 30000, NULL, &error), error);
    OK(durstream_state_close(producer, false, 30000, NULL, &error), error);
}

/* --- Failure mode "missing primary key": the producer skips the upsert for that entity. */
static void a_missing_key_is_skipped(durstream_state *producer) {
    durstream_error *error = NULL;
    static const char nameless[] = "{\"orderId\":\"ord_124\"}";
    CHECK(durstream_state_upsert(producer, "shipments", (const uint8_t *)nameless,
                                 sizeof nameless - 1, 0, NULL, &error) == DURSTREAM_VALIDATION);
    CHECK(is(durstream_error_reason(error), "invalid-key"));
    durstream_error_free(error);
}

/* --- Failure mode "unknown collection key": there is no compiler to catch it here. */
static void an_unknown_collection_is_refused(durstream_state *producer) {
    durstream_error *error = NULL;
    CHECK(durstream_state_delete(producer, "parcels", "ship_123", 0, NULL, &error) ==
          DURSTREAM_VALIDATION);
    CHECK(is(durstream_error_reason(error), "invalid-entity"));
    durstream_error_free(error);
}

/* --- Failure mode "runtime unavailable": flush gives the connection error. */
static void an_unreachable_server_is_told(const durstream_schema *schema) {
    durstream_error *error = NULL;
    durstream_state *producer = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", "http://127.0.0.1:1/v1/stream/shipments", &error),
       error);
    OK(durstream_options_set(options, "producer_id", "shipping-service", &error), error);
    OK(durstream_options_set(options, "delivery_timeout_ms", "2000", &error), error);
    OK(durstream_state_open(options, schema, &producer, &error), error);
    write_shipment(producer);
    CHECK(durstream_state_flush(producer, 30000, NULL, &error) == DURSTREAM_DELIVERY);
    CHECK(durstream_error_code(durstream_error_cause(error)) == DURSTREAM_TRANSPORT);
    durstream_error_free(error);
    durstream_state_free(producer);
    durstream_options_free(options);
}

/* --- Failure mode "duplicate stream path": the open producer is used again. */
static void a_second_open_shares_the_first(const char *path, const durstream_schema *schema,
                                           durstream_state *first) {
    durstream_error *error = NULL;
    durstream_state *second = create_durable_stream(path, schema);
    uint64_t id = 0;
    OK(durstream_state_delete(second, "shipments", "ship_999", 0, &id, &error), error);
    CHECK(id == 3);
    OK(durstream_state_wait(first, id, 30000, NULL, &error), error);
    durstream_state_free(second);
}

int main(void) {
    durstream_error *error = NULL;
    durstream_set_log(NULL, NULL);
    const char *path = fresh_path("shipments");
    durstream_schema *schema = shipment_stream_schema();
    durstream_state *producer = create_durable_stream(path, schema);
    write_shipment(producer);
    a_missing_key_is_skipped(producer);
    an_unknown_collection_is_refused(producer);
    a_second_open_shares_the_first(path, schema, producer);
    shut_down(producer);
    durstream_state_free(producer);

    char *body = read_stream(path);
    CHECK(occurrences(body, "\"type\":\"shipment\"") == 3);
    CHECK(occurrences(body, "{\"operation\":\"upsert\"}") == 1);
    CHECK(occurrences(body, "{\"operation\":\"delete\"}") == 2);
    free(body);

    an_unreachable_server_is_told(schema);
    durstream_schema_free(schema);
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
