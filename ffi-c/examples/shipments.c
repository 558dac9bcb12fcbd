/* A service that owns shipments and publishes their state: created, in transit, delivered,
 * removed. Run it twice under one producer id: every change of both runs is in the stream, once,
 * in order.
 *
 * Before each call it writes down, in its ledger, the event it is about to publish. */
#include <durstream.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char *const SHIPMENT_SCHEMA =
    "{\"type\":\"object\","
    "\"required\":[\"id\",\"orderId\",\"status\"],"
    "\"properties\":{"
    "\"id\":{\"type\":\"string\"},"
    "\"orderId\":{\"type\":\"string\"},"
    "\"status\":{\"enum\":[\"created\",\"in_transit\",\"delivered\"]}}}";

/* The shipment service: its producer, and the ledger of what it is about to write. */
typedef struct {
    durstream_state *producer;
    FILE *ledger;
} service;

static const char *environment(const char *name) {
    const char *value = getenv(name);
    if (value == NULL) {
        fprintf(stderr, "shipments: the environment variable %s is not set\n", name);
        exit(2);
    }
    return value;
}

/* This program cannot go on without what it asks for. */
static void check(durstream_code code, durstream_error *const *error) {
    if (code == DURSTREAM_OK) return;
    fprintf(stderr, "shipments: %s\n", durstream_error_message(*error));
    exit(1);
}

static service open_service(void) {
    service opened = {NULL, NULL};
    durstream_error *error = NULL;

    durstream_schema *schema = durstream_schema_new();
    check(durstream_schema_add(schema, "shipments", "shipment", "id", SHIPMENT_SCHEMA, &error),
          &error);

    durstream_options *options = durstream_options_new();
    check(durstream_options_set(options, "stream_path", environment("SHIPMENT_STREAM_PATH"),
                                &error),
          &error);
    check(durstream_options_set(options, "producer_id", environment("SHIPMENT_PRODUCER_ID"),
                                &error),
          &error);
    /* With an outbox, what was accepted outlives this process, too. */
    const char *outbox = getenv("SHIPMENT_OUTBOX");
    if (outbox != NULL) check(durstream_options_set(options, "outbox_dir", outbox, &error), &error);
    check(durstream_state_open(options, schema, &opened.producer, &error), &error);

    /* The producer has its own copies. */
    durstream_options_free(options);
    durstream_schema_free(schema);

    opened.ledger = fopen(environment("SHIPMENT_LEDGER"), "a");
    if (opened.ledger == NULL) {
        perror("shipments: the ledger");
        exit(1);
    }
    return opened;
}

static void record(service *self, const char *event) {
    if (fprintf(self->ledger, "%s\n", event) < 0 || fflush(self->ledger) != 0) {
        perror("shipments: the ledger");
        exit(1);
    }
}

static void upsert(service *self, uint64_t n, const char *status) {
    char shipment[256], event[512];
    int length = snprintf(shipment, sizeof shipment,
                          "{\"id\":\"ship_%06" PRIu64 "\",\"orderId\":\"ord_%06" PRIu64 "\","
                          "\"status\":\"%s\",\"updatedAt\":\"2026-01-01T00:00:00.000Z\"}",
                          n, n, status);
    snprintf(event, sizeof event,
             "{\"type\":\"shipment\",\"key\":\"ship_%06" PRIu64 "\",\"value\":%s,"
             "\"headers\":{\"operation\":\"upsert\"}}",
             n, shipment);
    record(self, event);

    durstream_error *error = NULL;
    check(durstream_state_upsert(self->producer, "shipments", (const uint8_t *)shipment,
                                 (size_t)length, 0, NULL, &error),
          &error);
}

static void remove_shipment(service *self, uint64_t n) {
    char key[32], event[128];
    snprintf(key, sizeof key, "ship_%06" PRIu64, n);
    snprintf(event, sizeof event,
             "{\"type\":\"shipment\",\"key\":\"%s\",\"headers\":{\"operation\":\"delete\"}}", key);
    record(self, event);

    durstream_error *error = NULL;
    check(durstream_state_delete(self->producer, "shipments", key, 0, NULL, &error), &error);
}

static double now(void) {
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

int main(void) {
    const uint64_t count = strtoull(environment("SHIPMENT_COUNT"), NULL, 10);
    const int first_run = strcmp(environment("SHIPMENT_RUN"), "1") == 0;
    const double started = now();

    service self = open_service();
    if (first_run) {
        for (uint64_t n = 1; n <= count; n++) upsert(&self, n, "created");
        for (uint64_t n = 1; n <= count; n++) upsert(&self, n, "in_transit");
    } else {
        for (uint64_t n = 1; n <= count; n++) upsert(&self, n, "delivered");
        for (uint64_t n = 2; n <= count; n += 2) remove_shipment(&self, n);
    }

    durstream_error *error = NULL;
    check(durstream_state_flush(self.producer, -1, NULL, &error), &error);
    check(durstream_state_close(self.producer, false, -1, NULL, &error), &error);

    durstream_stats stats = {.size = sizeof stats};
    check(durstream_state_stats(self.producer, &stats, &error), &error);
    printf("{\"accepted\":%" PRIu64 ",\"delivered\":%" PRIu64 ",\"seconds\":%.6f}\n",
           stats.accepted, stats.delivered, now() - started);

    durstream_state_free(self.producer);
    fclose(self.ledger);
    check(durstream_shutdown(1000, &error), &error);
    return 0;
}
