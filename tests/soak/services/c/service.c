/* A service of the soak, in C: six producers at once, two of which stay and four of which come and
 * go. `tests/soak/README.md` says what each service does. */
#include <durstream.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>
#include <time.h>

enum {
    SLOTS = 6,
    STAYING = 2,   /* the first slots have one stream and one producer all the time */
    PRODUCERS = 2, /* of a stream of the others, one behind the other */
    TICK_MS = 100,
    STAYING_WRITES = 2, /* in a tick */
    WRITES = 5,
    TICKS_PER_FLUSH = 10,
    MOST_LETTERS = 97,
};

static const char *const LETTERS[] = {"\xe2\x86\x92", "\xc3\xa9", "\\\"", "x"};

/* One of the two. */
typedef struct {
    durstream_state *state;
    durstream_producer *messages;
} writer;

static double end;

static double now(void) {
    struct timespec time;
    timespec_get(&time, TIME_UTC);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static const char *setting(const char *name) {
    const char *value = getenv(name);
    if (value == NULL) {
        fprintf(stderr, "%s is not set\n", name);
        exit(2);
    }
    return value;
}

/* This program cannot go on without what it asks for. */
static void check(durstream_code code, durstream_error *const *error) {
    if (code == DURSTREAM_OK) return;
    fprintf(stderr, "%s\n", durstream_error_message(*error));
    exit(1);
}

/* A token that expires: its file always has the newest. */
static void give_token(durstream_header_answer *answer, void *user_data) {
    (void)user_data;
    char value[128] = "Bearer ";
    FILE *file = fopen(setting("SOAK_TOKEN"), "r");
    if (file == NULL) {
        durstream_header_answer_fail(answer, "there is no token");
        return;
    }
    const size_t length = strlen(value);
    value[length + fread(value + length, 1, sizeof value - length - 1, file)] = '\0';
    fclose(file);
    durstream_header_answer_give(answer, value);
}

static writer open_writer(const char *name, int slot) {
    writer opened = {NULL, NULL};
    durstream_error *error = NULL;
    char path[64], id[16];
    snprintf(path, sizeof path, "/soak/%s", name);
    snprintf(id, sizeof id, "soak-%d", slot);
    durstream_options *place = durstream_options_new();
    check(durstream_options_set(place, "stream_path", path, &error), &error);
    check(durstream_options_set(place, "request_timeout_ms", "2000", &error), &error);
    check(durstream_options_set_header_fn(place, "Authorization", give_token, NULL, NULL, &error),
          &error);
    if (slot % 2 == 0) {
        durstream_schema *schema = durstream_schema_new();
        check(durstream_schema_add(schema, "parcels", "parcel", "id", NULL, &error), &error);
        check(durstream_options_set(place, "producer_id", id, &error), &error);
        check(durstream_state_open(place, schema, &opened.state, &error), &error);
        durstream_schema_free(schema);
    } else {
        durstream_stream *stream = NULL;
        check(durstream_options_set(place, "content_type", "application/json", &error), &error);
        /* Of the creation: one fault may hit it nine times. */
        check(durstream_options_set(place, "max_retries", "40", &error), &error);
        check(durstream_stream_create(place, NULL, 0, &stream, &error), &error);
        durstream_options *writing = durstream_options_new();
        check(durstream_options_set(writing, "on_uncertain", "resend", &error), &error);
        check(durstream_producer_open(stream, id, writing, &opened.messages, &error), &error);
        durstream_options_free(writing);
        durstream_stream_free(stream);
    }
    durstream_options_free(place);
    return opened;
}

static void write_one(const writer *self, const char *name, uint64_t number) {
    char key[64], value[128 + 3 * MOST_LETTERS];
    snprintf(key, sizeof key, "%s-%" PRIu64, name, number);
    int length = snprintf(value, sizeof value, "{\"id\":\"%s\",\"text\":\"", key);
    for (uint64_t n = 0; n < number % MOST_LETTERS; n++) {
        length += snprintf(value + length, sizeof value - (size_t)length, "%s",
                           LETTERS[(number + n) % 4]);
    }
    length += snprintf(value + length, sizeof value - (size_t)length, "\"}");

    durstream_error *error = NULL;
    const uint8_t *bytes = (const uint8_t *)value;
    if (self->messages != NULL) {
        check(durstream_producer_append(self->messages, bytes, (size_t)length, 0, NULL, &error),
              &error);
    } else if (number % 5 == 4) {
        check(durstream_state_delete(self->state, "parcels", key, 0, NULL, &error), &error);
    } else {
        check(durstream_state_upsert(self->state, "parcels", bytes, (size_t)length, 0, NULL,
                                     &error),
              &error);
    }
}

static void flush(const writer *self) {
    durstream_error *error = NULL;
    check(self->messages != NULL ? durstream_producer_flush(self->messages, -1, NULL, &error)
                                 : durstream_state_flush(self->state, -1, NULL, &error),
          &error);
}

/* Lets it go, and ends its stream where that is asked for. */
static durstream_stats end_writer(writer *self, bool ends_stream) {
    durstream_error *error = NULL;
    durstream_stats stats = {.size = sizeof stats};
    if (self->state != NULL) {
        check(durstream_state_close(self->state, ends_stream, -1, NULL, &error), &error);
        check(durstream_state_stats(self->state, &stats, &error), &error);
    } else {
        check(ends_stream ? durstream_producer_close(self->messages, NULL, 0, -1, NULL, &error)
                          : durstream_producer_detach(self->messages, -1, NULL, &error),
              &error);
        check(durstream_producer_stats(self->messages, &stats, &error), &error);
    }
    durstream_state_free(self->state);
    durstream_producer_free(self->messages);
    return stats;
}

static void write_stream(int slot, int stream) {
    char name[32];
    snprintf(name, sizeof name, "%s%dx%d", setting("SOAK_NAME"), slot, stream);
    const bool stays = slot < STAYING;
    uint64_t written = 0;
    durstream_stats sum = {.size = sizeof sum};
    const int producers = stays ? 1 : PRODUCERS;
    for (int number = 0; number < producers; number++) {
        double until = now() + 1 + (5 * stream + 3 * slot + number) % 5;
        if (stays || until > end) until = end;
        writer self = open_writer(name, slot);
        for (int ticks = 1; now() < until; ticks++) {
            for (int n = 0; n < (stays ? STAYING_WRITES : WRITES); n++) {
                write_one(&self, name, written++);
            }
            if (!stays && ticks % TICKS_PER_FLUSH == 0) flush(&self);
            thrd_sleep(&(struct timespec){.tv_nsec = TICK_MS * 1000000L}, NULL);
        }
        const durstream_stats stats =
            end_writer(&self, number + 1 == producers && stream % 2 == 1);
        sum.delivered += stats.delivered;
        sum.uncertain += stats.uncertain;
        sum.retries += stats.retries;
        sum.sessions += stats.sessions;
    }
    printf("%s %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
           slot % 2 == 0 ? "state" : "json", name, written, sum.delivered, sum.uncertain,
           sum.retries, sum.sessions);
    fflush(stdout);
}

/* A stream behind the other, until the end. */
static int fill(void *slot) {
    for (int stream = 0; now() < end; stream++) write_stream(*(int *)slot, stream);
    return 0;
}

int main(void) {
    int slots[SLOTS];
    thrd_t threads[SLOTS];
    end = now() + strtod(setting("SOAK_SECONDS"), NULL);
    for (int slot = 0; slot < SLOTS; slot++) {
        slots[slot] = slot;
        if (thrd_create(&threads[slot], fill, &slots[slot]) != thrd_success) return 1;
    }
    for (int slot = 0; slot < SLOTS; slot++) thrd_join(threads[slot], NULL);
    return 0;
}
