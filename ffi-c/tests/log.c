/* The log: nobody waits for it, what is not taken is counted, and what was refused says nothing. */
#define _GNU_SOURCE
#include "check.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

enum { CHILD_SECONDS = 60, MANY = 400 };

static durstream_options *named(const char *name, const char *value) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, name, value, &error), error);
    return options;
}

static durstream_stream *nowhere(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = named("url", "http://127.0.0.1:1/nowhere");
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_options_free(options);
    return stream;
}

/* Has a line to log: a write that is given up, of a producer without an error callback. */
static void log_a_line(durstream_stream *stream, int n) {
    durstream_error *error = NULL;
    char id[32];
    snprintf(id, sizeof id, "line-%d", n);
    durstream_producer *producer = open_producer(stream, id, NULL);
    OK(append(producer, "x", &error), error);
    OK(durstream_producer_stop(producer, &error), error);
    FAILS(DURSTREAM_DELIVERY, durstream_producer_flush(producer, 30000, NULL, &error), error);
    durstream_producer_free(producer);
}

static void deliver(durstream_producer *producer) {
    durstream_error *error = NULL;
    OK(append(producer, "a", &error), error);
    OK(durstream_producer_flush(producer, 30000, NULL, &error), error);
}

static void fill(int pipe_end) {
    char text[4096];
    memset(text, 'x', sizeof text);
    CHECK(fcntl(pipe_end, F_SETFL, O_NONBLOCK) == 0);
    while (write(pipe_end, text, sizeof text) > 0) {}
    while (write(pipe_end, text, 1) > 0) {}
    CHECK(fcntl(pipe_end, F_SETFL, 0) == 0);
}

static int wait_for(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What children have open when they end. */
static durstream_stream *stream, *elsewhere;
static durstream_producer *healthy;

/* A service whose standard error is a pipe that nobody reads: it delivers, and it ends. */
static void a_standard_error_nobody_reads(int by_exit) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(CHILD_SECONDS);
        int ends[2];
        durstream_error *error = NULL;
        CHECK(pipe(ends) == 0);
        fill(ends[1]);
        stream = create(fresh_path("unread"), "text/plain");
        healthy = open_producer(stream, "healthy", NULL);
        deliver(healthy);
        CHECK(dup2(ends[1], 2) == 2);
        elsewhere = nowhere();
        for (int n = 0; n < 3; n++) log_a_line(elsewhere, n);
        deliver(healthy);
        if (by_exit) exit(0);
        if (durstream_shutdown(1000, &error) != DURSTREAM_OK) _exit(3);
        _exit(0);
    }
    CHECK(wait_for(child) == 0);
}

static void tell(int pipe_end) { CHECK(write(pipe_end, "g", 1) == 1); }

static void hear(int pipe_end) {
    char go;
    CHECK(read(pipe_end, &go, 1) == 1);
}

/* Once somebody reads again, it is said how much was dropped. */
static void what_was_dropped_is_counted(void) {
    int log[2], full[2], resume[2];
    CHECK(pipe(log) == 0 && pipe(full) == 0 && pipe(resume) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(CHILD_SECONDS);
        fill(log[1]);
        CHECK(dup2(log[1], 2) == 2);
        elsewhere = nowhere();
        for (int n = 0; n < MANY; n++) log_a_line(elsewhere, n);
        tell(full[1]);
        hear(resume[0]);
        log_a_line(elsewhere, MANY);
        exit(0);
    }
    close(log[1]);
    hear(full[0]);
    /* Room for all that waits, or the line behind it would be dropped as well. */
    const size_t room = 1 << 22;
    char *text = calloc(1, room);
    size_t size = 0;
    ssize_t got;
    CHECK(text != NULL);
    while (strstr(text + strspn(text, "x"), "durstream: producer line-100:") == NULL) {
        got = read(log[0], text + size, room - size - 1);
        CHECK(got > 0);
        size += (size_t)got;
    }
    tell(resume[1]);
    while ((got = read(log[0], text + size, room - size - 1)) > 0) size += (size_t)got;
    CHECK(wait_for(child) == 0);
    if (strstr(text, "lines of this log were dropped: they could not be written in time [lines-dropped]\n") == NULL) {
        fprintf(stderr, "%s\n", text + strspn(text, "x"));
        CHECK(!"it is said what was dropped");
    }
    free(text);
    const int open_ends[] = {log[0], full[0], full[1], resume[0], resume[1]};
    for (size_t n = 0; n < sizeof open_ends / sizeof *open_ends; n++) close(open_ends[n]);
}

static atomic_int lines, pending_lines, may_go_on, refusals;

static void blocks(durstream_log_level level, const char *text, void *user_data) {
    (void)level, (void)user_data;
    CHECK(text[0] != '\0');
    lines++;
    while (!may_go_on) pause_ms(1);
}

/* A log of the host's that blocks holds up no write, and no shutdown. */
static void a_log_that_blocks(void) {
    durstream_error *error = NULL;
    durstream_set_log(blocks, NULL);
    stream = create(fresh_path("blocked-log"), "text/plain");
    healthy = open_producer(stream, "healthy", NULL);
    elsewhere = nowhere();
    log_a_line(elsewhere, 0);
    WAIT_UNTIL(lines >= 1);
    log_a_line(elsewhere, 1);
    deliver(healthy);
    CHECK(lines == 1);
    OK(durstream_shutdown(1000, &error), error);
    may_go_on = 1;
    WAIT_UNTIL(lines >= 2); /* that nothing can be reached there is a line, too */
    durstream_producer_free(healthy);
    durstream_stream_free(elsewhere);
    durstream_stream_free(stream);
}

static void counts(durstream_log_level level, const char *text, void *user_data) {
    (void)level, (void)user_data;
    if (strstr(text, "still pending") != NULL) pending_lines++;
}

static void flushes_all(const durstream_failure *failure, void *user_data) {
    durstream_error *error = NULL;
    (void)failure, (void)user_data;
    FAILS(DURSTREAM_NOT_SUPPORTED, durstream_flush_all(20, &error), error);
    refusals++;
}

/* A wait that is refused inside a callback does not go on and say later that it was in vain. */
static void a_refused_flush_says_nothing(void) {
    durstream_error *error = NULL;
    durstream_set_log(counts, NULL);
    elsewhere = nowhere();
    durstream_producer *pending = open_producer(elsewhere, "pending", NULL);
    OK(append(pending, "x", &error), error);
    durstream_options *options = named("delivery_timeout_ms", "10");
    durstream_options_on_error(options, flushes_all, NULL, NULL, NULL);
    durstream_producer *expires = open_producer(elsewhere, "expires", options);
    OK(append(expires, "x", &error), error);
    WAIT_UNTIL(refusals == 1);
    /* What was refused would have run out by the end of this one, which is no callback's. */
    FAILS(DURSTREAM_TIMEOUT, durstream_flush_all(200, &error), error);
    WAIT_UNTIL(pending_lines > 0);
    CHECK(pending_lines == 1);
    OK(durstream_producer_stop(pending, &error), error);
    durstream_producer_free(expires);
    durstream_producer_free(pending);
    durstream_options_free(options);
    durstream_stream_free(elsewhere);
}

static atomic_int steps, requests, strange, refused_waits;
static durstream_producer *log_producer;

static void keeps_fields(const durstream_log_line *line, void *user_data) {
    const char *text = durstream_log_line_text(line), *id = durstream_log_line_producer_id(line);
    const durstream_log_level level = durstream_log_line_level(line);
    CHECK(user_data == &steps && text != NULL && durstream_log_line_target(line) != NULL);
    if (id == NULL || strcmp(id, "levels") != 0) return;
    if (level == DURSTREAM_LOG_DEBUG && strcmp(text, "producer levels: connecting -> ready") == 0) steps++;
    if (level == DURSTREAM_LOG_TRACE && strstr(text, "sends batch 0: 1 write") != NULL) requests++;
    if (level < DURSTREAM_LOG_DEBUG || strcmp(durstream_log_line_target(line), "producer") != 0 ||
        durstream_log_line_epoch(line) == 0 || durstream_log_line_attempt(line) != 0 ||
        strstr(durstream_log_line_stream(line), "/levels") == NULL)
        strange++;
}

static void deliver_and_end(const char *path) {
    durstream_error *error = NULL;
    stream = create(path, "text/plain");
    healthy = open_producer(stream, "levels", NULL);
    deliver(healthy);
    OK(durstream_producer_detach(healthy, 30000, NULL, &error), error);
    durstream_producer_free(healthy);
    durstream_stream_free(stream);
    OK(durstream_shutdown(5000, &error), error); /* the log is written */
}

/* Lines come by level, with what they are about. */
static void levels_and_fields(void) {
    durstream_error *error = NULL;
    durstream_set_log_lines(keeps_fields, &steps);
    deliver_and_end(fresh_path("levels"));
    CHECK(steps == 0 && requests == 0 && strange == 0);
    OK(durstream_set_log_level(DURSTREAM_LOG_DEBUG, &error), error);
    deliver_and_end(fresh_path("levels"));
    CHECK(steps == 1 && requests == 0 && strange == 0);
    OK(durstream_set_log_level(DURSTREAM_LOG_TRACE, &error), error);
    deliver_and_end(fresh_path("levels"));
    CHECK(steps == 2 && requests == 1 && strange == 0);
    durstream_set_log_lines(NULL, NULL);
    OK(durstream_set_log_level(DURSTREAM_LOG_INFO, &error), error);
}

static void publishes(durstream_log_level level, const char *text, void *user_data) {
    durstream_error *error = NULL;
    (void)level, (void)user_data;
    OK(append(log_producer, text, &error), error);
    FAILS(DURSTREAM_NOT_SUPPORTED, durstream_producer_flush(log_producer, 30000, NULL, &error), error);
    refused_waits++;
}

/* A log that is itself published: nothing waits for itself, and the lines are there. */
static void a_log_may_write(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("published-log");
    durstream_stream *log_stream = create(path, "text/plain");
    log_producer = open_producer(log_stream, "log", NULL);
    stream = create(fresh_path("levels"), "text/plain");
    durstream_set_log(publishes, NULL);
    OK(durstream_set_log_level(DURSTREAM_LOG_DEBUG, &error), error);
    healthy = open_producer(stream, "levels", NULL);
    deliver(healthy);
    WAIT_UNTIL(refused_waits >= 2);
    OK(durstream_set_log_level(0, &error), error);
    OK(durstream_producer_flush(log_producer, 30000, NULL, &error), error);
    CHECK(durstream_producer_pending_count(log_producer) == 0);
    durstream_producer_free(healthy);
    durstream_producer_free(log_producer);
    durstream_stream_free(stream);
    durstream_stream_free(log_stream);
    OK(durstream_shutdown(5000, &error), error);
    durstream_set_log(NULL, NULL);
    OK(durstream_set_log_level(DURSTREAM_LOG_INFO, &error), error);
}

int main(void) {
    server();
    a_standard_error_nobody_reads(0);
    a_standard_error_nobody_reads(1);
    what_was_dropped_is_counted();
    a_log_that_blocks();
    a_refused_flush_says_nothing();
    levels_and_fields();
    a_log_may_write();
    CHECK(durstream_shutdown(5000, NULL) == DURSTREAM_OK);
    return 0;
}
