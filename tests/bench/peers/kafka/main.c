/* librdkafka's idempotent producer with its mock broker, which runs in this process and keeps little: the
 * field's yardstick for a producer's own work. Defaults, but for what is set below. */
#define _POSIX_C_SOURCE 200809L
#include <librdkafka/rdkafka.h>

#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The calls whose cost is measured: few enough that the queue does not fill. */
#define SAMPLED_CALLS 100000u
#define TIMEOUT_MS 60000
/* Above this rate all of a millisecond comes at its start. */
#define SINGLE_RATE 1000u

static const char *messages_file, *mode = "stream";
static size_t events, rate;
static char **messages;
static size_t *lengths, message_count;
static double started;
static uint64_t *begun_us, *done_us;
static size_t delivered, failed;

static void fail(const char *why) {
    fprintf(stderr, "kafka: %s\n", why);
    exit(1);
}

static double seconds_of(clockid_t clock) {
    struct timespec time;
    clock_gettime(clock, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static uint64_t now_us(void) {
    return (uint64_t)((seconds_of(CLOCK_MONOTONIC) - started) * 1e6);
}

static void read_messages(void) {
    FILE *file = fopen(messages_file, "r");
    char *line = NULL;
    size_t room = 0;
    ssize_t length;

    if (file == NULL) fail("the messages cannot be read");
    while ((length = getline(&line, &room, file)) > 0) {
        if (line[length - 1] == '\n') length--;
        messages = realloc(messages, (message_count + 1) * sizeof *messages);
        lengths = realloc(lengths, (message_count + 1) * sizeof *lengths);
        char *copy = malloc((size_t)length);
        if (messages == NULL || lengths == NULL || copy == NULL) fail("out of memory");
        memcpy(copy, line, (size_t)length);
        messages[message_count] = copy;
        lengths[message_count++] = (size_t)length;
    }
    free(line);
    fclose(file);
    if (message_count == 0) fail("there are no messages");
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *user_data) {
    (void)client, (void)user_data;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) failed++;
    else delivered++;
    if (done_us != NULL) done_us[(size_t)message->_private] = now_us();
}

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char why[256];
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) fail(why);
}

static rd_kafka_t *open_client(void) {
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    set(conf, "test.mock.num.brokers", "1");
    set(conf, "enable.idempotence", "true"); /* exactly once, as ours */
    set(conf, "linger.ms", "0");             /* as ours: its own default waits 5 ms */
    set(conf, "queue.buffering.max.messages", "2000000");
    set(conf, "queue.buffering.max.kbytes", "2097151");
    set(conf, "log_level", "3"); /* it tells every user that the broker is a mock */
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_t *client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (client == NULL) fail(why);
    return client;
}

static rd_kafka_topic_t *topic;

static void produce(rd_kafka_t *client, size_t event) {
    size_t at = event % message_count;
    /* One partition: one order, as a stream has. */
    while (rd_kafka_produce(topic, 0, RD_KAFKA_MSG_F_COPY, messages[at], lengths[at], NULL, 0,
                            (void *)event) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) fail("a message was refused");
        rd_kafka_poll(client, 1);
    }
}

static void flush(rd_kafka_t *client, size_t count) {
    if (rd_kafka_flush(client, TIMEOUT_MS) != RD_KAFKA_RESP_ERR_NO_ERROR) fail("not flushed");
    if (failed > 0 || delivered != count) fail("not everything was delivered");
}

static void stream_all(rd_kafka_t *client, size_t before) {
    size_t calls = events < SAMPLED_CALLS ? events : SAMPLED_CALLS;
    double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), begun = seconds_of(CLOCK_MONOTONIC);
    for (size_t n = 0; n < calls; n++) produce(client, n);
    double accepting = seconds_of(CLOCK_MONOTONIC) - begun;
    for (size_t n = calls; n < events; n++) {
        produce(client, n);
        if (n % 1000 == 0) rd_kafka_poll(client, 0);
    }
    flush(client, before + events);
    double took = seconds_of(CLOCK_MONOTONIC) - begun;
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    printf("{\"seconds\":%.9f,\"cpu_seconds\":%.9f,\"accept_seconds\":%.9f,\"accept_calls\":%zu,"
           "\"requests\":0,\"repeats\":0}\n",
           took, cpu, accepting, calls);
}

static void idle(rd_kafka_t *client, size_t before) {
    printf("{\"waits_us\":[");
    for (size_t n = 0; n < events; n++) {
        double begun = seconds_of(CLOCK_MONOTONIC);
        produce(client, n);
        while (delivered + failed == before + n) rd_kafka_poll(client, 1000);
        printf("%s%.0f", n == 0 ? "" : ",", (seconds_of(CLOCK_MONOTONIC) - begun) * 1e6);
    }
    if (failed > 0) fail("not everything was delivered");
    printf("]}\n");
}

static volatile bool is_over;

/* Delivery reports come to the thread that polls. */
static void *poll_all(void *client) {
    while (!is_over) rd_kafka_poll(client, 10);
    return NULL;
}

static uint64_t due_us(size_t event) {
    return rate <= SINGLE_RATE ? event * 1000000 / rate : event * 1000 / rate * 1000;
}

static void print_list(const char *name, const uint64_t *values) {
    printf(",\"%s\":[", name);
    for (size_t n = 0; n < events; n++) printf("%s%" PRIu64, n == 0 ? "" : ",", values[n]);
    printf("]");
}

static void paced(rd_kafka_t *client, size_t before) {
    pthread_t poller;
    begun_us = malloc(events * sizeof *begun_us);
    done_us = malloc(events * sizeof *done_us);
    if (begun_us == NULL || done_us == NULL) fail("out of memory");
    uint64_t epoch = (uint64_t)(seconds_of(CLOCK_REALTIME) * 1e6);
    started = seconds_of(CLOCK_MONOTONIC);
    if (pthread_create(&poller, NULL, poll_all, client) != 0) fail("no thread");
    for (size_t event = 0; event < events;) {
        uint64_t due = due_us(event), now = now_us();
        bool slept = due > now;
        if (slept) {
            struct timespec time = {.tv_sec = (time_t)((due - now) / 1000000),
                                    .tv_nsec = (long)((due - now) % 1000000 * 1000)};
            nanosleep(&time, NULL);
        }
        now = now_us();
        size_t first = event;
        while (event < events && (due = due_us(event)) <= now) {
            begun_us[event++] = slept ? now : due;
        }
        for (size_t n = first; n < event; n++) produce(client, n);
    }
    flush(client, before + events);
    is_over = true;
    pthread_join(poller, NULL);
    printf("{\"epoch_us\":%" PRIu64, epoch);
    print_list("begun_us", begun_us);
    print_list("done_us", done_us);
    printf("}\n");
}

int main(int argc, char **argv) {
    for (int at = 1; at < argc; at++) {
        char *value = strchr(argv[at], '=');
        if (value == NULL) fail("an argument is not of the form name=value");
        *value++ = '\0';
        if (strcmp(argv[at], "mode") == 0) mode = value;
        if (strcmp(argv[at], "messages") == 0) messages_file = value;
        if (strcmp(argv[at], "events") == 0) events = strtoul(value, NULL, 10);
        if (strcmp(argv[at], "rate") == 0) rate = strtoul(value, NULL, 10);
    }
    read_messages();
    rd_kafka_t *client = open_client();
    topic = rd_kafka_topic_new(client, "bench", NULL);
    /* The first finds the broker and gets an identity, which takes a while: a stream of ours is
     * created before the clock starts, too. */
    produce(client, 0);
    flush(client, 1);
    if (strcmp(mode, "paced") == 0) paced(client, 1);
    else if (strcmp(mode, "idle") == 0) idle(client, 1);
    else stream_all(client, 1);
    fflush(stdout);
    while (getchar() != EOF) { /* until the result was looked at */ }
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(client);
    return 0;
}
