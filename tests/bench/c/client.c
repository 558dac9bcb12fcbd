/* The C contestant: the producer as `durstream.h` shows it. */
#define _POSIX_C_SOURCE 200809L
#include <durstream.h>

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The calls whose cost is measured: few enough that the buffer does not fill. */
#define SAMPLED_CALLS 100000u
#define TIMEOUT_MS 60000

typedef struct {
    const char *url, *kind, *mode, *messages_file, *max_buffer_bytes;
    size_t events, rate, streams;
    /* The file's lines, written in turn over and over. */
    char **messages;
    size_t *lengths, message_count;
} job;

static void fail(const char *why) {
    fprintf(stderr, "client.c: %s\n", why);
    exit(1);
}

static void check(durstream_code code, durstream_error *const *error) {
    if (code != DURSTREAM_OK) fail(durstream_error_message(*error));
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
        if (IS("rate")) given.rate = strtoul(value, NULL, 10);
        if (IS("streams")) given.streams = strtoul(value, NULL, 10);
        if (IS("max_buffer_bytes")) given.max_buffer_bytes = value;
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

/* A producer of a stream that is created, or is there already. */
static durstream_producer *open_producer(const job *job, const char *url, bool create,
                                         durstream_options *own) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_producer *producer = NULL;
    durstream_options *options = durstream_options_new();
    const char *type =
        strcmp(job->kind, "bytes") == 0 ? "application/octet-stream" : "application/json";

    check(durstream_options_set(options, "url", url, &error), &error);
    check(durstream_options_set(options, "content_type", type, &error), &error);
    if (create) check(durstream_stream_create(options, NULL, 0, &stream, &error), &error);
    else check(durstream_stream_connect(options, &stream, &error), &error);
    check(durstream_producer_open(stream, "bench", own, &producer, &error), &error);
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
              &error);
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
    check(durstream_producer_flush(producer, TIMEOUT_MS, NULL, &error), &error);
    double took = seconds_of(CLOCK_MONOTONIC) - started;
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;

    check(durstream_producer_stats(producer, &stats, &error), &error);
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
              &error);
        check(durstream_producer_wait(producer, id, TIMEOUT_MS, &outcome, &error), &error);
        printf("%s%.0f", n == 0 ? "" : ",", (seconds_of(CLOCK_MONOTONIC) - started) * 1e6);
        if (durstream_outcome_status(outcome) != DURSTREAM_STATUS_DELIVERED) fail("not delivered");
        durstream_outcome_free(outcome);
    }
    printf("]}\n");
}

/* When each event was begun and done, for delivery reports on another thread. */
typedef struct {
    double started;
    uint64_t *begun_us, *done_us;
} pace;

static uint64_t now_us(const pace *pace) {
    return (uint64_t)((seconds_of(CLOCK_MONOTONIC) - pace->started) * 1e6);
}

static void on_delivery(const durstream_delivery *delivery, void *user_data) {
    const pace *pace = user_data;
    uint64_t now = now_us(pace), first = durstream_delivery_first_id(delivery) - 1;
    size_t count = durstream_delivery_count(delivery);
    for (size_t n = 0; n < count; n++) pace->done_us[first + n] = now;
}

static uint64_t due_us(size_t event, size_t rate) {
    if (rate <= 1000) return event * 1000000 / rate;
    return event * 1000 / rate * 1000; /* all of a millisecond at its start */
}

static void print_list(const char *name, const uint64_t *values, size_t count) {
    printf(",\"%s\":[", name);
    for (size_t n = 0; n < count; n++) {
        if (values[n] == UINT64_MAX) printf("%snull", n == 0 ? "" : ",");
        else printf("%s%" PRIu64, n == 0 ? "" : ",", values[n]);
    }
    printf("]");
}

static void paced(const job *job) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    pace pace = {.begun_us = malloc(job->events * sizeof(uint64_t)),
                 .done_us = malloc(job->events * sizeof(uint64_t))};
    if (pace.begun_us == NULL || pace.done_us == NULL) fail("out of memory");
    for (size_t n = 0; n < job->events; n++) pace.done_us[n] = UINT64_MAX;

    check(durstream_options_on_delivery(options, on_delivery, &pace, NULL, &error), &error);
    durstream_producer *producer = open_producer(job, job->url, true, options);
    uint64_t epoch = (uint64_t)(seconds_of(CLOCK_REALTIME) * 1e6);
    pace.started = seconds_of(CLOCK_MONOTONIC);
    for (size_t event = 0; event < job->events;) {
        uint64_t due = due_us(event, job->rate), now = now_us(&pace);
        bool slept = due > now;
        if (slept) {
            struct timespec time = {.tv_sec = (time_t)((due - now) / 1000000),
                                    .tv_nsec = (long)((due - now) % 1000000 * 1000)};
            nanosleep(&time, NULL);
        }
        now = now_us(&pace);
        size_t first = event;
        while (event < job->events && (due = due_us(event, job->rate)) <= now) {
            /* A sleep that takes too long is not the client's. */
            pace.begun_us[event++] = slept ? now : due;
        }
        append(producer, job, first, event);
    }
    check(durstream_producer_detach(producer, TIMEOUT_MS, NULL, &error), &error);
    durstream_producer_free(producer);
    durstream_shutdown(TIMEOUT_MS, NULL); /* lets the callback run to its end */
    printf("{\"epoch_us\":%" PRIu64, epoch);
    print_list("begun_us", pace.begun_us, job->events);
    print_list("done_us", pace.done_us, job->events);
    printf("}\n");
}

static unsigned long resident_bytes(void) {
    unsigned long all = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu %lu", &all, &resident) != 2) fail("memory is not told");
    fclose(file);
    return resident * 4096;
}

static void queue(const job *job) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();

    durstream_set_buffer_budget((uint64_t)1 << 40);
    check(durstream_options_set(options, "max_buffer_bytes", job->max_buffer_bytes, &error),
          &error);
    durstream_producer *producer = open_producer(job, job->url, true, options);
    append(producer, job, 0, 1);
    check(durstream_producer_flush(producer, TIMEOUT_MS, NULL, &error), &error);
    printf("ready\n");
    fflush(stdout);
    while (getchar() != '\n') { /* until the server is gone */ }
    unsigned long before = resident_bytes();
    append(producer, job, 0, job->events);
    printf("{\"before_bytes\":%lu,\"after_bytes\":%lu}\n", before, resident_bytes());
}

static void streams(const job *job) {
    durstream_error *error = NULL;
    durstream_producer **producers = malloc(job->streams * sizeof *producers);
    uint64_t requests = 0, repeats = 0;
    char url[1024];

    if (producers == NULL) fail("out of memory");
    double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    double started = seconds_of(CLOCK_MONOTONIC);
    for (size_t n = 0; n < job->streams; n++) {
        snprintf(url, sizeof url, "%s-%zu", job->url, n);
        producers[n] = open_producer(job, url, false, NULL);
    }
    for (size_t event = 0; event < job->events / job->streams; event++) {
        for (size_t n = 0; n < job->streams; n++) append(producers[n], job, event, event + 1);
    }
    for (size_t n = 0; n < job->streams; n++) {
        check(durstream_producer_flush(producers[n], TIMEOUT_MS, NULL, &error), &error);
    }
    double took = seconds_of(CLOCK_MONOTONIC) - started;
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    for (size_t n = 0; n < job->streams; n++) {
        durstream_stats stats = {.size = sizeof stats};
        check(durstream_producer_stats(producers[n], &stats, &error), &error);
        requests += stats.requests;
        repeats += stats.retries;
    }
    printf("{\"seconds\":%.9f,\"cpu_seconds\":%.9f,\"accept_seconds\":0,\"accept_calls\":0,"
           "\"requests\":%" PRIu64 ",\"repeats\":%" PRIu64 "}\n",
           took, cpu, requests, repeats);
}

int main(int argc, char **argv) {
    job job = read_job(argc, argv);
    if (strcmp(job.mode, "paced") == 0) {
        paced(&job);
    } else if (strcmp(job.mode, "queue") == 0) {
        queue(&job);
    } else if (strcmp(job.mode, "streams") == 0) {
        streams(&job);
    } else {
        durstream_producer *producer = open_producer(&job, job.url, true, NULL);
        if (strcmp(job.mode, "idle") == 0) idle(producer, &job);
        else stream_all(producer, &job);
        durstream_producer_free(producer);
    }
    fflush(stdout);
    while (getchar() != EOF) { /* until the result was looked at */ }
    durstream_shutdown(1000, NULL);
    return 0;
}
