/* Around the producers: shutdown and reopening, fork, callbacks, letting go early. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "http.h"

#include <stdatomic.h>
#include <sys/wait.h>

static const char *const JSON = "application/json";

static void append_number(durstream_producer *producer, int n) {
    durstream_error *error = NULL;
    char message[32];
    snprintf(message, sizeof message, "{\"n\":%d}", n);
    OK(append(producer, message, &error), error);
}

static void handles_outlive_shutdown(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("shutdown");
    durstream_stream *stream = create(path, JSON);
    durstream_producer *producer = open_producer(stream, "before", NULL);
    append_number(producer, 0);
    OK(durstream_shutdown(30000, &error), error);
    OK(durstream_shutdown(0, &error), error);

    FAILS(DURSTREAM_PRODUCER_CLOSED, append(producer, "{}", &error), error);
    OK(durstream_producer_wait(producer, 1, 0, NULL, &error), error);
    /* The write that was turned away is reported, once. */
    FAILS(DURSTREAM_DELIVERY, durstream_producer_detach(producer, 1000, NULL, &error), error);
    OK(durstream_producer_detach(producer, 1000, NULL, &error), error);
    OK(durstream_producer_stop(producer, &error), error);
    CHECK(durstream_producer_state(producer) == DURSTREAM_LIFECYCLE_STOPPED);
    durstream_producer_free(producer);

    /* A later open starts afresh, on the handle of a stream from before too. */
    producer = open_producer(stream, "before", NULL);
    append_number(producer, 1);
    OK(durstream_producer_detach(producer, 30000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    check_numbers(path, 2);
}

static void freeing_delivers_what_was_accepted(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("free");
    durstream_stream *stream = create(path, JSON);
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "linger_ms", "60000", &error), error);
    durstream_producer *producer = open_producer(stream, "leaver", options);
    for (int n = 0; n < 100; n++) append_number(producer, n);
    durstream_producer_free(producer);
    durstream_options_free(options);
    durstream_stream_free(stream);
    OK(durstream_flush_all(30000, &error), error);
    CHECK(durstream_pending_count() == 0);
    check_numbers(path, 100);
}

static int wait_for(pid_t child) {
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* What the child does with what it inherited, and with what it opens itself. */
static void in_child(durstream_stream *stream, durstream_producer *producer,
                     durstream_state *state, durstream_reader *reader, const char *path) {
    durstream_error *error = NULL;
    durstream_chunk *chunk = NULL;
    durstream_stats stats = {.size = sizeof stats};
    FAILS(DURSTREAM_FORKED, append(producer, "{}", &error), error);
    FAILS(DURSTREAM_FORKED, durstream_producer_wait(producer, 1, -1, NULL, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_producer_flush(producer, -1, NULL, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_producer_wait_ready(producer, -1, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_producer_restart(producer, -1, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_producer_close(producer, NULL, 0, -1, NULL, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_producer_detach(producer, -1, NULL, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_producer_stop(producer, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_producer_begin_shutdown(producer, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_producer_stats(producer, &stats, &error), error);
    CHECK(durstream_producer_state(producer) == DURSTREAM_LIFECYCLE_NONE);
    FAILS(DURSTREAM_FORKED, durstream_state_delete(state, "a", "1", 0, NULL, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_state_flush(state, -1, NULL, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_state_wait_ready(state, -1, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_state_close(state, true, -1, NULL, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_state_close(state, false, -1, NULL, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_state_stop(state, &error), error);
    FAILS(DURSTREAM_FORKED, durstream_reader_next(reader, -1, &chunk, &error), error);
    CHECK(durstream_reader_offset(reader) == NULL && !durstream_reader_up_to_date(reader));
    durstream_reader_free(reader);
    durstream_producer_free(producer);
    durstream_state_free(state);
    durstream_stream_free(stream);

    stream = create(path, JSON);
    producer = open_producer(stream, "child", NULL);
    append_number(producer, 0);
    OK(durstream_producer_detach(producer, 30000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    OK(durstream_shutdown(5000, &error), error);
}

static void children_write_as_themselves(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("parent"), *child_path = fresh_path("child");
    durstream_stream *stream = create(path, JSON);
    durstream_producer *producer = open_producer(stream, "parent", NULL);
    append_number(producer, 0);
    durstream_options *options = options_for(fresh_path("parent-state"), NULL);
    OK(durstream_options_set(options, "producer_id", "parent", &error), error);
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "a", "a", "id", NULL, &error), error);
    durstream_state *state = NULL;
    OK(durstream_state_open(options, schema, &state, &error), error);
    durstream_reader *reader = NULL;
    OK(durstream_stream_read(stream, "0", &reader, &error), error);

    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        in_child(stream, producer, state, reader, child_path);
        /* The child keeps its copy of what is the parent's; leak checkers need not look at it. */
        execlp("true", "true", (char *)NULL);
        _exit(127);
    }
    CHECK(wait_for(child) == 0);
    append_number(producer, 1);
    OK(durstream_producer_detach(producer, 30000, NULL, &error), error);
    durstream_reader_free(reader);
    durstream_producer_free(producer);
    durstream_state_free(state);
    durstream_schema_free(schema);
    durstream_options_free(options);
    durstream_stream_free(stream);
    check_numbers(path, 2);
    check_numbers(child_path, 1);
}

typedef struct {
    durstream_producer *patient; /* has a write that is pending all along */
    atomic_int called, destroyed, wrong;
} reentrant;

/* Inside a callback nothing may wait; everything else goes on. */
static void try_everything(const durstream_failure *failure, void *user_data) {
    reentrant *self = user_data;
    durstream_error *error = NULL;
    (void)failure;
    const durstream_code codes[] = {
        durstream_producer_flush(self->patient, -1, NULL, NULL),
        durstream_producer_restart(self->patient, -1, NULL),
        durstream_producer_detach(self->patient, -1, NULL, NULL),
        durstream_shutdown(-1, &error),
    };
    for (size_t n = 0; n < sizeof codes / sizeof codes[0]; n++)
        self->wrong += codes[n] != DURSTREAM_NOT_SUPPORTED;
    self->wrong += !is(durstream_error_reason(error), "would-deadlock");
    durstream_error_free(error);
    durstream_stats stats = {.size = sizeof stats};
    self->wrong += durstream_producer_stats(self->patient, &stats, NULL) != DURSTREAM_OK;
    self->wrong += stats.pending != 1;
    self->called++;
}

static void count_destroy(void *user_data) { ((reentrant *)user_data)->destroyed++; }

static void callbacks_do_not_wait(void) {
    durstream_error *error = NULL;
    reentrant self = {NULL, 0, 0, 0};
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", "http://127.0.0.1:1/x", &error), error);
    durstream_stream *stream = NULL;
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_options_free(options);
    self.patient = open_producer(stream, "patient", NULL);
    OK(append(self.patient, "x", &error), error);

    options = durstream_options_new();
    OK(durstream_options_on_error(options, try_everything, &self, count_destroy, &error), error);
    OK(durstream_options_set(options, "delivery_timeout_ms", "100", &error), error);
    durstream_producer *hasty = open_producer(stream, "hasty", options);
    durstream_options_free(options);
    CHECK(self.destroyed == 0);
    OK(append(hasty, "x", &error), error);
    FAILS(DURSTREAM_DELIVERY, durstream_producer_flush(hasty, 30000, NULL, &error), error);
    durstream_producer_free(hasty);
    WAIT_UNTIL(self.called > 0);
    OK(durstream_producer_stop(self.patient, &error), error);
    durstream_producer_free(self.patient);
    durstream_stream_free(stream);
    OK(durstream_shutdown(5000, &error), error);
    CHECK(self.called == 1 && self.wrong == 0 && self.destroyed == 1);
}

static void count_line(durstream_log_level level, const char *text, void *user_data) {
    CHECK(level == DURSTREAM_LOG_WARNING && text != NULL && strlen(text) > 0);
    ++*(int *)user_data;
}

/* What is given up is said once, to the log. */
static void shutdown_is_bounded(void) {
    durstream_error *error = NULL;
    int lines = 0;
    durstream_set_log(count_line, &lines);
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", "http://127.0.0.1:1/x", &error), error);
    durstream_stream *stream = NULL;
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_options *patient = durstream_options_new();
    OK(durstream_options_set(patient, "retry_initial_delay_ms", "60000", &error), error);
    OK(durstream_options_set(patient, "retry_max_delay_ms", "60000", &error), error);
    durstream_producer *producer = open_producer(stream, "loner", patient);
    durstream_options_free(patient);
    OK(append(producer, "x", &error), error);
    /* Between two attempts, so that nothing is under way. */
    WAIT_UNTIL(durstream_producer_state(producer) == DURSTREAM_LIFECYCLE_BACKOFF);
    FAILS(DURSTREAM_TIMEOUT, durstream_shutdown(200, &error), error);
    CHECK(lines > 0);
    durstream_outcome *outcome = NULL;
    OK(durstream_producer_wait(producer, 1, 0, &outcome, &error), error);
    CHECK(durstream_outcome_status(outcome) == DURSTREAM_STATUS_CANCELLED);
    CHECK(durstream_outcome_reason(outcome) == DURSTREAM_REASON_PRODUCER_STOPPED);
    durstream_outcome_free(outcome);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    durstream_options_free(options);
    durstream_set_log(NULL, NULL);
}

int main(void) {
    durstream_error *error = NULL;
    handles_outlive_shutdown();
    freeing_delivers_what_was_accepted();
    children_write_as_themselves();
    callbacks_do_not_wait();
    shutdown_is_bounded();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
