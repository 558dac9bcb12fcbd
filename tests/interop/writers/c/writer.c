/* Writes the plan of `rule.mjs` through the C library.
 * Arguments: the stream's path, the plan, how many events, the seed. */
#include <durstream.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_PER_COLLECTION 64
#define NOBODY UINT32_MAX

static const char *const NOTES[] = {
    "",
    "plain",
    "quote \\\" and \\\\ backslash",
    "line\\nbreak\\ttab",
    "\xc3\xbcmlaut \xe2\x82\xac",
    "\xf0\x9f\x9a\xa2 \xf0\x9d\x84\x9e",
    "\\u0000\\u001f",
    "</script>\\u2028",
};
static const char *const FLAGS[] = {"true", "false", "null"};

/* A writer, and the number of the event that wrote each key last. */
typedef struct {
    durstream_state *producer;
    const char *plan;
    uint32_t count, seed, last[2][KEYS_PER_COLLECTION];
} writer;

static void check(durstream_code code, durstream_error *const *error) {
    if (code == DURSTREAM_OK) return;
    fprintf(stderr, "writer.c: %s\n", durstream_error_message(*error));
    exit(1);
}

static int is_plan(const writer *self, const char *plan) { return strcmp(self->plan, plan) == 0; }

static uint32_t mixed(uint32_t seed, uint32_t n) {
    uint32_t x = seed + n * 0x9e3779b1u;
    x = (x ^ x >> 16) * 0x85ebca6bu;
    x = (x ^ x >> 13) * 0xc2b2ae35u;
    return x ^ x >> 16;
}

/* A key, and as it stands within JSON. */
typedef struct {
    char text[32], quoted[32];
} entity_key;

static entity_key key_of(uint32_t bits) {
    entity_key made;
    uint32_t number = (bits >> 1) % KEYS_PER_COLLECTION;
    if (bits & 1) {
        snprintf(made.text, sizeof made.text, "Zo\xc3\xab \"%" PRIu32 "\"", number);
        snprintf(made.quoted, sizeof made.quoted, "Zo\xc3\xab \\\"%" PRIu32 "\\\"", number);
    } else {
        snprintf(made.text, sizeof made.text, "order-%" PRIu32, number);
        memcpy(made.quoted, made.text, sizeof made.text);
    }
    return made;
}

static size_t entity_of(uint32_t seed, uint32_t n, const entity_key *key, char *text, size_t room) {
    uint32_t bits = mixed(seed, n);
    char id[64] = "";
    if (!(bits >> 14 & 1)) snprintf(id, sizeof id, "\"id\":\"%s\",", key->quoted);
    int length = snprintf(text, room,
                          "{%s\"n\":%" PRIu32 ",\"amount\":%.3f,\"note\":\"%s\",\"flag\":%s,"
                          "\"tags\":[\"a\",%" PRIu32 "],\"nested\":{\"deep\":[null,%" PRIu32 "]}}",
                          id, n, ((double)(bits % 4001) - 2000) / 8, NOTES[bits >> 15 & 7],
                          FLAGS[(bits >> 18) % 3], n, n);
    return (size_t)length;
}

static void write_one(writer *self, uint32_t n) {
    const uint32_t bits = mixed(self->seed, n);
    const entity_key key = key_of(bits);
    uint32_t *last = &self->last[bits & 1][(bits >> 1) % KEYS_PER_COLLECTION];
    const uint32_t before = *last, action = bits >> 7 & 7;
    const int is_delete = action < 2 && before != NOBODY;
    const int is_update = action >= 5 && before != NOBODY;
    const char *const headers[] = {"from", "billing"};
    char value[512], old_value[512], txid[32], timestamp[64];
    size_t length = 0;
    durstream_event event;
    memset(&event, 0, sizeof event);
    event.size = sizeof event;

    if (is_plan(self, "txids") || bits >> 11 & 1) {
        snprintf(txid, sizeof txid, "tx-%" PRIu32 "-%" PRIu32, self->seed, n);
        event.txid = txid;
    }
    if (bits >> 12 & 1) {
        snprintf(timestamp, sizeof timestamp,
                 "2026-03-01T12:%02" PRIu32 ":%02" PRIu32 ".%03" PRIu32 "Z", n / 60 % 60, n % 60,
                 n % 1000);
        event.timestamp = timestamp;
    }
    if (!is_plan(self, "strict") && bits >> 13 & 1) {
        event.headers = headers;
        event.header_count = 1;
    }
    if (bits >> 10 & 1 && (is_delete || is_update)) {
        event.old_value_length =
            entity_of(self->seed, before, &key, old_value, sizeof old_value);
        event.old_value = (const uint8_t *)old_value;
    }
    int32_t operation = DURSTREAM_OPERATION_UPSERT;
    if (is_delete) {
        operation = DURSTREAM_OPERATION_DELETE;
        if (action == 1)
            length = (size_t)snprintf(value, sizeof value, "{\"id\":\"%s\"}", key.quoted);
        else event.key = key.text;
        *last = NOBODY;
    } else {
        if (action >= 5)
            operation = is_update ? DURSTREAM_OPERATION_UPDATE : DURSTREAM_OPERATION_INSERT;
        length = entity_of(self->seed, n, &key, value, sizeof value);
        if (bits >> 14 & 1) event.key = key.text;
        *last = n;
    }
    durstream_error *error = NULL;
    check(durstream_state_change(self->producer, operation, bits & 1 ? "users" : "orders",
                                 (const uint8_t *)value, length, &event, NULL, &error),
          &error);
}

static void control(writer *self, durstream_control message, const char *offset) {
    durstream_error *error = NULL;
    check(durstream_state_control(self->producer, message, offset, 0, NULL, &error), &error);
}

static void write_group(writer *self, uint32_t n) {
    const uint32_t bits = mixed(self->seed, n);
    char txid[32], value[64];
    durstream_error *error = NULL;
    durstream_transaction *changes = NULL;
    snprintf(txid, sizeof txid, "tx-%" PRIu32 "-%" PRIu32, self->seed, n);
    check(durstream_state_begin(self->producer, txid, &changes, &error), &error);
    for (uint32_t index = 0; index < 1 + bits % 20; index++) {
        int length = snprintf(value, sizeof value, "{\"id\":\"g%" PRIu32 "-%" PRIu32 "\",\"n\":%" PRIu32 "}",
                              n, index, n);
        check(durstream_transaction_change(changes, DURSTREAM_OPERATION_UPSERT, "orders",
                                           (const uint8_t *)value, (size_t)length, NULL, &error),
              &error);
    }
    if (bits >> 7 & 3) check(durstream_transaction_commit(changes, NULL, &error), &error);
    durstream_transaction_free(changes);
    int length = snprintf(value, sizeof value, "{\"id\":\"s%" PRIu32 "\",\"n\":%" PRIu32 "}", n, n);
    check(durstream_state_upsert(self->producer, "orders", (const uint8_t *)value, (size_t)length,
                                 0, NULL, &error),
          &error);
}

static void flush(writer *self) {
    durstream_error *error = NULL;
    check(durstream_state_flush(self->producer, -1, NULL, &error), &error);
}

static void open_writer(writer *self, const char *path) {
    durstream_error *error = NULL;
    durstream_schema *schema = durstream_schema_new();
    durstream_options *options = durstream_options_new();
    check(durstream_schema_add(schema, "orders", "order", "id", NULL, &error), &error);
    check(durstream_schema_add(schema, "users", "user", "id", NULL, &error), &error);
    check(durstream_options_set(options, "stream_path", path, &error), &error);
    check(durstream_options_set(options, "producer_id", "interop-c", &error), &error);
    if (is_plan(self, "strict")) {
        check(durstream_options_set(options, "operations", "strict", &error), &error);
        check(durstream_options_set(options, "timestamps", "true", &error), &error);
    }
    check(durstream_state_open(options, schema, &self->producer, &error), &error);
    durstream_options_free(options);
    durstream_schema_free(schema);
    memset(self->last, 0xff, sizeof self->last);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "writer.c: PATH PLAN COUNT SEED\n");
        return 2;
    }
    writer self = {NULL, argv[2], (uint32_t)strtoul(argv[3], NULL, 10),
                   (uint32_t)strtoul(argv[4], NULL, 10), {{0}}};
    durstream_error *error = NULL;
    open_writer(&self, argv[1]);
    for (uint32_t n = 0; n < self.count; n++) {
        if (is_plan(&self, "groups")) {
            write_group(&self, n);
            continue;
        }
        if (!is_plan(&self, "txids")) {
            if (n == 0) control(&self, DURSTREAM_CONTROL_SNAPSHOT_START, NULL);
            if (n == self.count / 4) control(&self, DURSTREAM_CONTROL_SNAPSHOT_END, "1_2");
            if (n == self.count / 2) {
                memset(self.last, 0xff, sizeof self.last);
                control(&self, DURSTREAM_CONTROL_RESET, NULL);
            }
        }
        write_one(&self, n);
        if (is_plan(&self, "txids")) {
            flush(&self);
            printf("%" PRIu32 "\n", n);
            fflush(stdout);
        }
    }
    flush(&self);
    check(durstream_state_close(self.producer, false, -1, NULL, &error), &error);
    durstream_state_free(self.producer);
    check(durstream_shutdown(1000, &error), &error);
    return 0;
}
