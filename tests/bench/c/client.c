/* The C contestant: the producer as `durstream.h` shows it. */
#define _POSIX_C_SOURCE 200809L
#include <durstream.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The calls whose cost is measured: few enough that the buffer does not fill. */
#define SAMPLED_CALLS 100000u
#define TIMEOUT_MS 60000

typedef struct {
    const char *url, *kind, *mode, *messages_file;
    size_t events;
    /* The file's lines, written in turn over and over. */
    char **messages;
    size_t *lengths, message_count;
} job;

static void fail(const char *why) {
    fprintf(stderr, "client.c: %s\n", why);
    exit(1);
}

static void check(durstream_code code, durstream_error *error) {
    if (code != DURSTREAM_OK) fail(durstream_error_message(error));
}

static void read_messages(job *to) {
    FILE *file = fopen(to->messages_file, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    if (file == NULL) fail("the messages cannot be read");
    while ((length = getline(&line, &room, file)) > 0) {
        if (line[length - 1] == '\n') length--;
        size_t count = to->message_count + 1;
        to->messages = realloc(to->messages, count * sizeof *to->messages);
        to->lengths = realloc(to->lengths, count * sizeof *to->lengths);
        char *copy = malloc((size_t)length);
        if (to->messages == NULL || to->lengths == NULL || copy == NULL) fail("out of memory");
        memcpy(copy, line, (size_t)length);
        to->messages[count - 1] = copy;
        to->lengths[count - 1] = (size_t)length;
        to->message_count = count;
    }
    free(line);
    fclose(file);
    if (to->message_count == 0) fail("there are no messages");
}

/* From arguments of the form name=value. */
static job read_job(int argc, char **argv) {
    job given = {.mode = "stream"};
    for (int at = 1; at < argc; at++) {
        const char *value = strchr(argv[at], '=');
        if (value == NULL) fail("an argument is not of the form name=value");
        size_t length = (size_t)(value++ - argv[at]);
#define IS(name) (length == strlen(name) && memcmp(argv[at], name, length) == 0)
        if (IS("url")) given.url = value;
        if (IS("kind")) given.kind = value;
        if (IS("mode")) given.mode = value;
        if (IS("messages")) given.messages_file = value;
        if (IS("events")) given.events = strtoul(value, NULL, 10);
#undef IS
    }
    if (given.url == NULL || given.kind == NULL || given.messages_file == NULL) {
        fail("url=, kind=, events= and messages= are needed");
    }
    read_messages(&given);
    return given;
}

static double seconds_of(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static durstream_producer *open_producer(const job *job) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_producer *producer = NULL;
    durstream_options *options = durstream_options_new();
    const char *type =
        strcmp(job->kind, "bytes") == 0 ? "application/octet-stream" : "application/json";

    check(durstream_options_set(options, "url", job->url, &error), error);
    check(durstream_options_set(options, "content_type", type, &error), error);
    check(durstream_stream_create(options, NULL, 0, &stream, &error), error);
    check(durstream_producer_open(stream, "bench", NULL, &producer, &error), error);
    durstream_stream_free(stream);
    durstream_options_free(options);
    return producer;
}

static void append(const durstream_producer *producer, const job *job, size_t from, size_t to) {
    durstream_error *error = NULL;
    size_t at = from % job->message_count;
    for (size_t n = from; n < to; n++) {
        check(durstream_producer_append(producer, (const uint8_t *)job->messages[at],
                                        job->lengths[at], 0, NULL, &error),
              error);
        if (++at == job->message_count) at = 0;
    }
}

static void stream_all(const durstream_producer *producer, const job *job) {
    durstream_error *error = NULL;
    durstream_stats stats = {.size = sizeof stats};
    size_t calls = job->events < SAMPLED_CALLS ? job->events : SAMPLED_CALLS;

    double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    double started = seconds_of(CLOCK_MONOTONIC);
    append(producer, job, 0, calls);
    double accepting = seconds_of(CLOCK_MONOTONIC) - started;
    append(producer, job, calls, job->events);
    check(durstream_producer_flush(producer, TIMEOUT_MS, NULL, &error), error);
    double took = seconds_of(CLOCK_MONOTONIC) - started;
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;

    check(durstream_producer_stats(producer, &stats, &error), error);
    printf("{\"seconds\":%.9f,\"cpu_seconds\":%.9f,\"accept_seconds\":%.9f,\"accept_calls\":%zu,"
           "\"requests\":%" PRIu64 ",\"repeats\":%" PRIu64 "}\n",
           took, cpu, accepting, calls, stats.requests, stats.retries);
}

static void idle(const durstream_producer *producer, const job *job) {
    printf("{\"waits_us\":[");
    for (size_t n = 0; n < job->events; n++) {
        durstream_error *error = NULL;
        durstream_outcome *outcome = NULL;
        size_t at = n % job->message_count;
        uint64_t id = 0;

        double started = seconds_of(CLOCK_MONOTONIC);
        check(durstream_producer_append(producer, (const uint8_t *)job->messages[at],
                                        job->lengths[at], 0, &id, &error),
              error);
        check(durstream_producer_wait(producer, id, TIMEOUT_MS, &outcome, &error), error);
        printf("%s%.0f", n == 0 ? "" : ",", (seconds_of(CLOCK_MONOTONIC) - started) * 1e6);
        if (durstream_outcome_status(outcome) != DURSTREAM_STATUS_DELIVERED) fail("not delivered");
        durstream_outcome_free(outcome);
    }
    printf("]}\n");
}

int main(int argc, char **argv) {
    job job = read_job(argc, argv);
    durstream_producer *producer = open_producer(&job);
    if (strcmp(job.mode, "idle") == 0) idle(producer, &job);
    else stream_all(producer, &job);
    fflush(stdout);
    while (getchar() != EOF) { /* until the result was looked at */ }
    durstream_producer_free(producer);
    durstream_shutdown(1000, NULL);
    return 0;
}
