/* A writer that is killed, in C: `tests/faults/README.md` says what it is told and what it says. */
#include <durstream.h>

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TICK_MS = 1,
    CALLS = 5, /* in a tick */
    GROUP_EACH = 10, /* every such write begins a group of so many */
    GROUP_AT = 7,
    GROUP = 3,
    MOST_LETTERS = 97,
    MOST_BYTES = 128 + 3 * MOST_LETTERS,
};

static const char *const LETTERS[] = {"\xe2\x86\x92", "\xc3\xa9", "\\\"", "x"};
static const char *const ID = "kept";

/* One of the two. */
static durstream_state *state;
static durstream_producer *messages;
static const char *writer;

/* A line, at once and whole. */
static void say(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    fflush(stdout);
}

/* This program cannot go on without what it asks for. */
static void check(durstream_code code, durstream_error *const *error) {
    if (code == DURSTREAM_OK) return;
    fprintf(stderr, "%s\n", durstream_error_message(*error));
    exit(1);
}

static void open_producer(const char *kind, const char *path, const char *outbox) {
    durstream_error *error = NULL;
    durstream_options *place = durstream_options_new();
    check(durstream_options_set(place, "stream_path", path, &error), &error);
    if (strcmp(kind, "state") == 0) {
        durstream_schema *schema = durstream_schema_new();
        check(durstream_schema_add(schema, "parcels", "parcel", "id", NULL, &error), &error);
        check(durstream_options_set(place, "producer_id", ID, &error), &error);
        check(durstream_options_set(place, "outbox_dir", outbox, &error), &error);
        check(durstream_state_open(place, schema, &state, &error), &error);
        durstream_schema_free(schema);
    } else {
        durstream_stream *stream = NULL;
        check(durstream_options_set(place, "content_type", "application/json", &error), &error);
        check(durstream_stream_connect(place, &stream, &error), &error);
        durstream_options *writing = durstream_options_new();
        check(durstream_options_set(writing, "outbox_dir", outbox, &error), &error);
        check(durstream_producer_open(stream, ID, writing, &messages, &error), &error);
        durstream_options_free(writing);
        durstream_stream_free(stream);
    }
    durstream_options_free(place);
}

static durstream_stats stats(void) {
    durstream_error *error = NULL;
    durstream_stats stats = {.size = sizeof stats};
    check(state != NULL ? durstream_state_stats(state, &stats, &error)
                        : durstream_producer_stats(messages, &stats, &error),
          &error);
    return stats;
}

typedef struct {
    char key[64], json[MOST_BYTES];
    size_t length;
} value;

static value value_of(uint64_t number) {
    value made;
    char *json = made.json;
    snprintf(made.key, sizeof made.key, "%s-%" PRIu64, writer, number);
    int length = snprintf(json, sizeof made.json, "{\"id\":\"%s\",\"text\":\"", made.key);
    for (uint64_t n = 0; n < number % MOST_LETTERS; n++) {
        length += snprintf(json + length, sizeof made.json - (size_t)length, "%s",
                           LETTERS[(number + n) % 4]);
    }
    length += snprintf(json + length, sizeof made.json - (size_t)length, "\"}");
    made.length = (size_t)length;
    return made;
}

static void write_group(uint64_t number) {
    durstream_error *error = NULL;
    durstream_transaction *changes = NULL;
    value values[GROUP];
    const uint8_t *starts[GROUP];
    size_t lengths[GROUP];
    if (state != NULL) check(durstream_state_begin(state, NULL, &changes, &error), &error);
    for (uint64_t n = 0; n < GROUP; n++) {
        values[n] = value_of(number + n);
        starts[n] = (const uint8_t *)values[n].json;
        lengths[n] = values[n].length;
        if (state == NULL) continue;
        durstream_event event = {.size = sizeof event, .key = values[n].key};
        check((number + n) % 5 == 4
                  ? durstream_transaction_change(changes, DURSTREAM_OPERATION_DELETE, "parcels",
                                                 NULL, 0, &event, &error)
                  : durstream_transaction_change(changes, DURSTREAM_OPERATION_UPSERT, "parcels",
                                                 starts[n], lengths[n], NULL, &error),
              &error);
    }
    check(state != NULL ? durstream_transaction_commit(changes, NULL, &error)
                        : durstream_producer_append_group(messages, starts, lengths, GROUP, 0,
                                                          NULL, &error),
          &error);
    durstream_transaction_free(changes);
}

/* Makes one call; how many writes that were. */
static uint64_t write_next(uint64_t number) {
    if (number % GROUP_EACH == GROUP_AT) {
        write_group(number);
        return GROUP;
    }
    durstream_error *error = NULL;
    const value one = value_of(number);
    const uint8_t *bytes = (const uint8_t *)one.json;
    check(messages != NULL
              ? durstream_producer_append(messages, bytes, one.length, 0, NULL, &error)
          : number % 5 == 4
              ? durstream_state_delete(state, "parcels", one.key, 0, NULL, &error)
              : durstream_state_upsert(state, "parcels", bytes, one.length, 0, NULL, &error),
          &error);
    return 1;
}

int main(int count, char **words) {
    if (count != 7) {
        fputs("KIND STREAM_PATH OUTBOX WRITER FIRST END\n", stderr);
        return 2;
    }
    writer = words[4];
    uint64_t number = strtoull(words[5], NULL, 10), flagged = 0;
    const uint64_t end = strtoull(words[6], NULL, 10);
    open_producer(words[1], words[2], words[3]);
    say("open %" PRIu64, stats().recovered);
    for (uint64_t calls = 1; number < end; calls++) {
        number += write_next(number);
        say("%" PRIu64, number - 1);
        if (calls % CALLS == 0) {
            nanosleep(&(struct timespec){.tv_nsec = TICK_MS * 1000000L}, NULL);
        }
        const uint64_t now = stats().uncertain;
        if (now != flagged) say("flagged %" PRIu64, flagged = now);
    }
    durstream_error *error = NULL;
    check(state != NULL ? durstream_state_close(state, false, -1, NULL, &error)
                        : durstream_producer_detach(messages, -1, NULL, &error),
          &error);
    const durstream_stats last = stats();
    say("end %" PRIu64 " %" PRIu64 " %" PRIu64, last.accepted, last.delivered, last.uncertain);
    durstream_state_free(state);
    durstream_producer_free(messages);
    return 0;
}
