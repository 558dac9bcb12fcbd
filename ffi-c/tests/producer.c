/* The exactly-once writer: receipts, flush, restart under the same id, fencing and the way back,
 * close. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "http.h"

#include <sys/wait.h>

static const char *const JSON = "application/json";

static void append_numbers(durstream_producer *producer, int from, int count) {
    durstream_error *error = NULL;
    for (int n = from; n < from + count; n++) {
        char message[32];
        const int length = snprintf(message, sizeof message, "{\"n\":%d}", n);
        uint64_t id = 0;
        OK(durstream_producer_append(producer, (const uint8_t *)message, (size_t)length, 0, &id,
                                     &error),
           error);
        CHECK(id == (uint64_t)(n - from + 1));
    }
}

/* A service that is restarted: this program itself, once per run. */
static int service(const char *path, int run) {
    durstream_error *error = NULL;
    durstream_stream *stream = create(path, JSON);
    durstream_producer *producer = open_producer(stream, "restarted", NULL);
    append_numbers(producer, run * 500, 500);
    durstream_flush_report report = {.size = sizeof report};
    OK(durstream_producer_flush(producer, 30000, &report, &error), error);
    CHECK(report.delivered == 500 && report.duplicates == 0 && report.uncertain == 0);
    OK(durstream_producer_detach(producer, 30000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}

static void run_service(const char *program, const char *path, const char *run) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        execl(program, program, path, run, (char *)NULL);
        _exit(127);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void restarts_lose_nothing(const char *program) {
    const char *path = fresh_path("restart");
    run_service(program, path, "0");
    run_service(program, path, "1");
    check_numbers(path, 1000);
    /* And within a process, after a shutdown. */
    CHECK(service(path, 2) == 0);
    check_numbers(path, 1500);
}

static void receipts_tell_outcomes(void) {
    durstream_error *error = NULL;
    durstream_outcome *outcome = NULL;
    const char *path = fresh_path("receipts");
    durstream_stream *stream = create(path, JSON);
    durstream_producer *producer = open_producer(stream, "receipts", NULL);
    CHECK(strstr(durstream_producer_url(producer), path) != NULL);
    CHECK(is(durstream_producer_id(producer), "receipts"));
    CHECK(durstream_producer_last_offset(producer) == NULL);
    append_numbers(producer, 0, 10);
    OK(durstream_producer_wait(producer, 10, 30000, &outcome, &error), error);
    CHECK(durstream_outcome_status(outcome) == DURSTREAM_STATUS_DELIVERED);
    CHECK(durstream_outcome_reason(outcome) == DURSTREAM_REASON_NONE);
    CHECK(durstream_outcome_error(outcome) == NULL);
    CHECK(!durstream_outcome_duplicate(outcome) && !durstream_outcome_maybe_duplicate(outcome));
    durstream_outcome_free(outcome);
    OK(durstream_producer_wait(producer, 1, 0, NULL, &error), error);
    FAILS(DURSTREAM_INVALID_ARGUMENT, durstream_producer_wait(producer, 11, 0, NULL, &error),
          error);
    FAILS(DURSTREAM_INVALID_ARGUMENT, durstream_producer_wait(producer, 0, 0, NULL, &error), error);

    CHECK(append(producer, "{broken", &error) == DURSTREAM_VALIDATION);
    CHECK(is(durstream_error_reason(error), "invalid-value") && durstream_error_definite(error));
    durstream_error_free(error);
    error = NULL;
    FAILS(DURSTREAM_VALIDATION, append(producer, "", &error), error);

    OK(durstream_producer_flush(producer, 30000, NULL, &error), error);
    durstream_stats stats = {.size = sizeof stats};
    OK(durstream_producer_stats(producer, &stats, &error), error);
    CHECK(stats.accepted == 10 && stats.delivered == 10 && stats.pending == 0);
    CHECK(stats.batches >= 1 && stats.answers_2xx >= stats.batches);
    CHECK(stats.batch_writes.count == stats.batches && stats.batch_writes.sum == 10);
    CHECK(stats.delivery_latency_us.p50 >= 1 &&
          stats.delivery_latency_us.p50 <= stats.delivery_latency_us.max);
    CHECK(stats.undelivered[DURSTREAM_REASON_EXPIRED] == 0);
    char *own = durstream_producer_stats_prometheus(producer, 0);
    CHECK(own != NULL && strstr(own, "# TYPE durstream_delivered_total counter\n") != NULL);
    CHECK(strstr(own, "} 10\n") != NULL && strstr(own, "# EOF") == NULL);
    durstream_string_free(own);
    char *all = durstream_stats_prometheus(1);
    CHECK(all != NULL && strstr(all, "# TYPE durstream_delivered counter\n") != NULL);
    CHECK(strcmp(all + strlen(all) - strlen("# EOF\n"), "# EOF\n") == 0);
    durstream_string_free(all);
    CHECK(stats.refused_invalid == 2 && stats.requests >= 1 && stats.sessions == 1);
    CHECK(durstream_producer_state(producer) == DURSTREAM_LIFECYCLE_READY);
    CHECK(durstream_producer_epoch(producer) > 0 && durstream_producer_next_seq(producer) > 0);
    CHECK(durstream_producer_pending_count(producer) == 0 && durstream_pending_count() == 0);
    char *offset = durstream_producer_last_offset(producer);
    CHECK(offset != NULL);
    durstream_string_free(offset);
    /* A caller built for an older version gets what it knows, and nothing beyond it. */
    struct {
        size_t size;
        uint64_t accepted, guard;
    } old = {2 * sizeof(uint64_t), 0, 7};
    OK(durstream_producer_stats(producer, (durstream_stats *)&old, &error), error);
    CHECK(old.accepted == 10 && old.guard == 7 && old.size == 2 * sizeof(uint64_t));

    durstream_producer_free(producer);
    durstream_stream_free(stream);
    check_numbers(path, 10);
}

static void close_ends_the_stream(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("close");
    durstream_stream *stream = create(path, JSON);
    durstream_producer *producer = open_producer(stream, "closer", NULL);
    append_numbers(producer, 0, 3);
    char *first = NULL, *again = NULL;
    OK(durstream_producer_close(producer, (const uint8_t *)"{\"n\":3}", 7, 30000, &first, &error),
       error);
    OK(durstream_producer_close(producer, NULL, 0, 30000, &again, &error), error);
    CHECK(first != NULL && is(again, first));
    durstream_string_free(first);
    durstream_string_free(again);
    FAILS(DURSTREAM_PRODUCER_CLOSED, append(producer, "{}", &error), error);
    check_numbers(path, 4);

    durstream_producer *late = open_producer(stream, "late", NULL);
    OK(append(late, "{}", &error), error);
    CHECK(durstream_producer_flush(late, 30000, NULL, &error) == DURSTREAM_DELIVERY);
    CHECK(durstream_error_undelivered(error) == 1 && durstream_error_delivered(error) == 0);
    CHECK(durstream_error_code(durstream_error_cause(error)) == DURSTREAM_STREAM_CLOSED);
    durstream_error_free(error);
    durstream_producer_free(late);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
}

typedef struct {
    int count;
    durstream_code code;
    durstream_reason reason;
    char payload[32];
} seen;

static void see(const durstream_failure *failure, void *user_data) {
    seen *to = user_data;
    size_t length = 0;
    const uint8_t *payload = durstream_failure_payload(failure, &length);
    CHECK(durstream_failure_id(failure) > 0 && length < sizeof to->payload);
    memcpy(to->payload, payload, length);
    to->code = durstream_error_code(durstream_failure_error(failure));
    to->reason = durstream_outcome_reason(durstream_failure_outcome(failure));
    to->count++;
}

static void the_newest_of_an_id_wins(void) {
    durstream_error *error = NULL;
    seen fenced = {0, 0, 0, ""};
    durstream_stream *stream = create(fresh_path("fenced"), JSON);
    durstream_options *options = durstream_options_new();
    OK(durstream_options_on_error(options, see, &fenced, NULL, &error), error);
    durstream_producer *old = open_producer(stream, "one-of-us", options);
    OK(append(old, "{\"n\":0}", &error), error);
    OK(durstream_producer_flush(old, 30000, NULL, &error), error);
    durstream_producer *fresh = open_producer(stream, "one-of-us", NULL);
    OK(append(fresh, "{\"n\":1}", &error), error);
    OK(durstream_producer_flush(fresh, 30000, NULL, &error), error);

    OK(append(old, "{\"n\":2}", &error), error);
    CHECK(durstream_producer_flush(old, 30000, NULL, &error) == DURSTREAM_DELIVERY);
    const durstream_error *cause = durstream_error_cause(error);
    CHECK(durstream_error_code(cause) == DURSTREAM_STALE_EPOCH);
    CHECK(durstream_error_current_epoch(cause) == durstream_producer_epoch(fresh));
    CHECK(durstream_error_status(cause) == 403);
    durstream_error_free(error);
    error = NULL;
    CHECK(durstream_producer_state(old) == DURSTREAM_LIFECYCLE_FENCED);
    FAILS(DURSTREAM_STALE_EPOCH, append(old, "{}", &error), error);

    durstream_producer_free(old);
    durstream_producer_free(fresh);
    durstream_stream_free(stream);
    durstream_options_free(options);
    OK(durstream_shutdown(5000, &error), error);
    CHECK(fenced.count == 1 && fenced.code == DURSTREAM_STALE_EPOCH);
    CHECK(fenced.reason == DURSTREAM_REASON_FENCED && is(fenced.payload, "{\"n\":2}"));
}

static void flush_fails(durstream_producer *producer) {
    durstream_error *error = NULL;
    FAILS(DURSTREAM_DELIVERY, durstream_producer_flush(producer, 30000, NULL, &error), error);
}

static void flush(durstream_producer *producer) {
    durstream_error *error = NULL;
    OK(durstream_producer_flush(producer, 30000, NULL, &error), error);
}

static void restart_is_the_way_back(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("way-back");
    durstream_stream *stream = create(path, JSON);
    durstream_producer *old = open_producer(stream, "one-of-us", NULL);
    OK(append(old, "{\"n\":0}", &error), error);
    flush(old);
    durstream_producer *fresh = open_producer(stream, "one-of-us", NULL);
    OK(append(fresh, "{\"n\":1}", &error), error);
    flush(fresh);
    OK(append(old, "{\"n\":\"lost\"}", &error), error);
    flush_fails(old);
    FAILS(DURSTREAM_STALE_EPOCH, durstream_producer_wait_ready(old, 30000, &error), error);

    OK(durstream_producer_restart(old, 30000, &error), error);
    OK(durstream_producer_wait_ready(old, 30000, &error), error);
    OK(append(old, "{\"n\":2}", &error), error);
    flush(old);
    CHECK(durstream_producer_epoch(old) > durstream_producer_epoch(fresh));
    OK(append(fresh, "{\"n\":\"lost\"}", &error), error);
    flush_fails(fresh);

    /* Of one's own accord, after what was accepted. */
    const uint64_t epoch = durstream_producer_epoch(old);
    OK(append(old, "{\"n\":3}", &error), error);
    OK(durstream_producer_restart(old, 30000, &error), error);
    CHECK(durstream_producer_pending_count(old) == 0);
    OK(append(old, "{\"n\":4}", &error), error);
    flush(old);
    CHECK(durstream_producer_epoch(old) > epoch);
    OK(durstream_producer_detach(old, 30000, NULL, &error), error);
    FAILS(DURSTREAM_PRODUCER_CLOSED, durstream_producer_restart(old, 30000, &error), error);
    durstream_producer_free(old);
    durstream_producer_free(fresh);
    durstream_stream_free(stream);
    check_numbers(path, 5);
}

static void streams_append_and_close(void) {
    durstream_error *error = NULL;
    durstream_outcome *outcome = NULL;
    const char *path = fresh_path("stream");
    durstream_options *options = options_for(path, "text/plain");
    durstream_stream *stream = NULL;
    OK(durstream_stream_create(options, (const uint8_t *)"a", 1, &stream, &error), error);
    OK(durstream_stream_append(stream, (const uint8_t *)"b", 1, 30000, &outcome, &error), error);
    CHECK(durstream_outcome_status(outcome) == DURSTREAM_STATUS_DELIVERED);
    CHECK(durstream_outcome_offset(outcome) != NULL && durstream_outcome_attempts(outcome) == 1);
    durstream_outcome_free(outcome);
    OK(durstream_stream_append(stream, (const uint8_t *)"c", 1, -1, NULL, &error), error);
    OK(durstream_stream_close(stream, (const uint8_t *)"d", 1, 30000, NULL, &error), error);
    OK(durstream_stream_close(stream, NULL, 0, 30000, NULL, &error), error);
    char *body = read_stream(path);
    CHECK(is(body, "abcd"));
    free(body);

    durstream_stream *other = NULL;
    OK(durstream_options_set(options, "content_type", JSON, &error), error);
    FAILS(DURSTREAM_STREAM_CLOSED, durstream_stream_create(options, NULL, 0, &other, &error),
          error);
    CHECK(other == NULL);
    durstream_stream_free(stream);
    durstream_options_free(options);
}

int main(int count, char **arguments) {
    if (count == 3) return service(arguments[1], atoi(arguments[2]));
    durstream_error *error = NULL;
    restarts_lose_nothing(arguments[0]);
    receipts_tell_outcomes();
    close_ends_the_stream();
    the_newest_of_an_id_wins();
    restart_is_the_way_back();
    streams_append_and_close();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
