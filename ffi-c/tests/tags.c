/* What the callbacks are told: every write once, in order, with the tag it was made with, maybe
 * before the call that made it has returned; and what it costs until they have been told. */
#define _DEFAULT_SOURCE
#include "check.h"
#include "peer.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>

static const char *const JSON = "application/json";

enum { MOST = 4096 };

/* What both callbacks were told, in their order. */
typedef struct {
    struct {
        uint64_t id, tag;
        durstream_reason reason;
    } writes[MOST];
    atomic_int count, destroyed;
} told;

static void note(told *to, uint64_t id, uint64_t tag, durstream_reason reason) {
    const int n = to->count;
    CHECK(n < MOST);
    to->writes[n].id = id;
    to->writes[n].tag = tag;
    to->writes[n].reason = reason;
    to->count = n + 1;
}

static void on_error(const durstream_failure *failure, void *user_data) {
    const durstream_outcome *outcome = durstream_failure_outcome(failure);
    CHECK(durstream_outcome_status(outcome) != DURSTREAM_STATUS_DELIVERED);
    note(user_data, durstream_failure_id(failure), durstream_failure_tag(failure),
         durstream_outcome_reason(outcome));
}

static void on_delivery(const durstream_delivery *delivery, void *user_data) {
    const durstream_outcome *outcome = durstream_delivery_outcome(delivery);
    CHECK(durstream_outcome_status(outcome) == DURSTREAM_STATUS_DELIVERED);
    CHECK(durstream_outcome_offset(outcome) != NULL && durstream_outcome_attempts(outcome) >= 1);
    const uint64_t *tags = durstream_delivery_tags(delivery);
    const size_t count = durstream_delivery_count(delivery);
    CHECK(count > 0);
    for (size_t n = 0; n < count; n++)
        note(user_data, durstream_delivery_first_id(delivery) + n, tags == NULL ? 0 : tags[n],
             DURSTREAM_REASON_NONE);
}

static void on_destroy(void *user_data) { ((told *)user_data)->destroyed++; }

static void listen_to(durstream_options *options, told *to) {
    durstream_error *error = NULL;
    OK(durstream_options_on_error(options, on_error, to, on_destroy, &error), error);
    OK(durstream_options_on_delivery(options, on_delivery, to, on_destroy, &error), error);
}

static void append_tagged(durstream_producer *producer, const char *text, uint64_t tag) {
    durstream_error *error = NULL;
    OK(durstream_producer_append(producer, (const uint8_t *)text, strlen(text), tag, NULL, &error),
       error);
}

/* Until the callbacks have told so many writes. */
static void wait_for(const told *to, int count) { WAIT_UNTIL(to->count >= count); }

static durstream_stream *connect_to(const char *url) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", url, &error), error);
    OK(durstream_options_set(options, "content_type", "text/plain", &error), error);
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_options_free(options);
    return stream;
}

static void shut_down(void) {
    durstream_error *error = NULL;
    OK(durstream_shutdown(30000, &error), error);
}

/* Many writes in many batches: some tagged, some not. */
static uint64_t tag_of(uint64_t id) { return id % 5 == 0 || id < 300 ? 0 : UINT64_MAX - id; }

static void every_write_is_told_once_in_order(void) {
    durstream_error *error = NULL;
    static told heard;
    durstream_stream *stream = create(fresh_path("tags"), JSON);
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "max_batch_items", "100", &error), error);
    listen_to(options, &heard);
    durstream_producer *producer = open_producer(stream, "tags", options);
    durstream_options_free(options);
    for (uint64_t id = 1; id <= 2000; id++) append_tagged(producer, "{\"n\":1}", tag_of(id));
    /* The last message of a stream is a write as well. */
    OK(durstream_producer_close(producer, (const uint8_t *)"{}", 2, 30000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    shut_down();
    CHECK(heard.count == 2001 && heard.destroyed == 2);
    for (uint64_t id = 1; id <= 2001; id++) {
        CHECK(heard.writes[id - 1].id == id);
        CHECK(heard.writes[id - 1].tag == (id == 2001 ? 0 : tag_of(id)));
        CHECK(heard.writes[id - 1].reason == DURSTREAM_REASON_NONE);
    }
}

/* A batch of four whose third write is refused is taken apart; each part keeps its tags. */
static void a_bad_neighbour_changes_no_tag(void) {
    durstream_error *error = NULL;
    static told heard;
    const peer_answer no = {"", "", "400 Bad Request"};
    const peer_answer yes = {"Stream-Next-Offset: x\r\n", "", NULL};
    /* All; the first half; the second, which may be a lost session, and is not; 3; 4. */
    const peer_answer answers[] = {no, yes, no, no, no, yes};
    peer server;
    peer_start(&server, answers, 6);
    peer_allow(&server, 6);
    durstream_stream *stream = connect_to(server.url);
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "linger_ms", "60000", &error), error);
    OK(durstream_options_set(options, "max_in_flight", "1", &error), error);
    OK(durstream_options_set(options, "retry_initial_delay_ms", "1", &error), error);
    listen_to(options, &heard);
    durstream_producer *producer = open_producer(stream, "neighbours", options);
    durstream_options_free(options);
    for (uint64_t tag = 10; tag <= 40; tag += 10) append_tagged(producer, "x", tag);
    CHECK(durstream_producer_flush(producer, 30000, NULL, &error) == DURSTREAM_DELIVERY);
    CHECK(durstream_error_delivered(error) == 3 && durstream_error_undelivered(error) == 1);
    durstream_error_free(error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    shut_down();
    peer_end(&server);
    CHECK(heard.count == 4 && heard.destroyed == 2);
    for (int n = 0; n < 4; n++) {
        CHECK(heard.writes[n].id == (uint64_t)n + 1);
        CHECK(heard.writes[n].tag == (uint64_t)n * 10 + 10);
        CHECK(heard.writes[n].reason ==
              (n == 2 ? DURSTREAM_REASON_REFUSED : DURSTREAM_REASON_NONE));
    }
}

/* Accepted and never sent: told. Not even accepted: the call says so, and no callback. */
static void what_was_never_sent_is_told_too(void) {
    durstream_error *error = NULL;
    static told heard;
    durstream_stream *stream = connect_to("http://127.0.0.1:1/v1/stream/x");
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "linger_ms", "60000", &error), error);
    listen_to(options, &heard);
    durstream_producer *producer = open_producer(stream, "unsent", options);
    durstream_options_free(options);
    FAILS(DURSTREAM_VALIDATION, durstream_producer_append(producer, NULL, 0, 1, NULL, &error),
          error);
    append_tagged(producer, "x", 2);
    append_tagged(producer, "x", 0);
    OK(durstream_producer_stop(producer, &error), error);
    wait_for(&heard, 2);
    FAILS(DURSTREAM_PRODUCER_CLOSED,
          durstream_producer_try_append(producer, (const uint8_t *)"x", 1, 3, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    shut_down();
    CHECK(heard.count == 2 && heard.destroyed == 2);
    for (int n = 0; n < 2; n++) {
        CHECK(heard.writes[n].id == (uint64_t)n + 1 && heard.writes[n].tag == (n == 0 ? 2 : 0));
        CHECK(heard.writes[n].reason == DURSTREAM_REASON_PRODUCER_STOPPED);
    }
}

/* Where the id of the early write goes: it cannot be written before the callback has run. */
static struct {
    uint64_t *page;
    size_t size;
    int ran[2];
    atomic_int returned, early;
} held;

static void on_fault(int signal_number, siginfo_t *info, void *context) {
    char byte;
    (void)context;
    if (info->si_addr != (void *)held.page) {
        signal(signal_number, SIG_DFL); /* any other fault is one */
        return;
    }
    while (read(held.ran[0], &byte, 1) != 1) continue;
    mprotect(held.page, held.size, PROT_READ | PROT_WRITE);
}

static void on_early_delivery(const durstream_delivery *delivery, void *user_data) {
    (void)user_data;
    held.early = !held.returned && durstream_delivery_tags(delivery)[0] == 7;
    CHECK(write(held.ran[1], "", 1) == 1);
}

static void a_callback_may_come_before_the_id(void) {
    durstream_error *error = NULL;
    held.size = (size_t)sysconf(_SC_PAGESIZE);
    held.page = mmap(NULL, held.size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(held.page != MAP_FAILED && pipe(held.ran) == 0);
    struct sigaction action, before;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO;
    CHECK(sigaction(SIGSEGV, &action, &before) == 0);

    durstream_stream *stream = create(fresh_path("early"), JSON);
    durstream_options *options = durstream_options_new();
    OK(durstream_options_on_delivery(options, on_early_delivery, NULL, NULL, &error), error);
    durstream_producer *producer = open_producer(stream, "early", options);
    durstream_options_free(options);
    OK(durstream_producer_append(producer, (const uint8_t *)"{}", 2, 7, held.page, &error), error);
    held.returned = 1;
    CHECK(*held.page == 1);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    shut_down();
    CHECK(held.early);
    CHECK(sigaction(SIGSEGV, &before, NULL) == 0 && munmap(held.page, held.size) == 0);
    close(held.ran[0]);
    close(held.ran[1]);
}

typedef struct {
    int go[2];
    atomic_int told, tags;
} hanging;

static void on_hanging_delivery(const durstream_delivery *delivery, void *user_data) {
    hanging *self = user_data;
    char byte;
    while (read(self->go[0], &byte, 1) > 0) continue; /* until the other end is closed */
    self->told += (int)durstream_delivery_count(delivery);
    self->tags += (int)durstream_delivery_tags(delivery)[0];
}

/* One that hangs makes writers wait; what it was not told yet is counted. */
static void a_slow_callback_is_waited_for(void) {
    durstream_error *error = NULL;
    hanging self = {{0, 0}, 0, 0};
    CHECK(pipe(self.go) == 0);
    durstream_stream *stream = create(fresh_path("slow"), JSON);
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "max_buffer_bytes", "4000", &error), error);
    OK(durstream_options_on_delivery(options, on_hanging_delivery, &self, NULL, &error), error);
    durstream_producer *producer = open_producer(stream, "slow", options);
    durstream_options_free(options);
    uint64_t id = 0, delivered = 0;
    while (durstream_producer_try_append(producer, (const uint8_t *)"{}", 2, 1, &id, &error) ==
           DURSTREAM_OK) {
        CHECK(++delivered == id && id < 100);
        OK(durstream_producer_wait(producer, id, 30000, NULL, &error), error);
    }
    CHECK(is(durstream_error_reason(error), "buffer-bytes-exceeded"));
    FAILS(DURSTREAM_BUFFER_FULL, durstream_error_code(error), error);
    CHECK(delivered >= 10 && self.told == 0);
    durstream_stats stats = {.size = sizeof stats};
    OK(durstream_producer_stats(producer, &stats, &error), error);
    CHECK(stats.pending == 0 && stats.delivered == delivered);
    CHECK(stats.buffered_bytes > 3000 && stats.buffered_bytes < 4500);
    FAILS(DURSTREAM_TIMEOUT, durstream_producer_wait_ready(producer, 0, &error), error);

    close(self.go[1]);
    append_tagged(producer, "{}", 1); /* waits for room */
    OK(durstream_producer_wait(producer, delivered + 1, 30000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    shut_down();
    CHECK((uint64_t)self.told == delivered + 1 && self.told == self.tags);
    close(self.go[0]);
}

typedef struct {
    durstream_producer *producer, *patient; /* that one has a write pending all along */
    atomic_int told, wrong;
} chain;

/* Each delivery makes the next write; what would wait is refused. */
static void on_chained_delivery(const durstream_delivery *delivery, void *user_data) {
    chain *self = user_data;
    durstream_error *error = NULL;
    self->wrong +=
        durstream_producer_flush(self->patient, -1, NULL, &error) != DURSTREAM_NOT_SUPPORTED;
    self->wrong += !is(durstream_error_reason(error), "would-deadlock");
    durstream_error_free(error);
    self->wrong += durstream_delivery_count(delivery) != 1;
    const uint64_t tag = durstream_delivery_tags(delivery)[0];
    self->wrong += tag != (uint64_t)self->told + 1;
    if (tag < 20) append_tagged(self->producer, "{}", tag + 1);
    self->told++;
}

static void callbacks_write_and_do_not_wait(void) {
    durstream_error *error = NULL;
    chain self = {NULL, NULL, 0, 0};
    durstream_stream *nowhere = connect_to("http://127.0.0.1:1/v1/stream/x");
    self.patient = open_producer(nowhere, "patient", NULL);
    append_tagged(self.patient, "x", 0);
    durstream_stream *stream = create(fresh_path("chain"), JSON);
    durstream_options *options = durstream_options_new();
    OK(durstream_options_on_delivery(options, on_chained_delivery, &self, NULL, &error), error);
    self.producer = open_producer(stream, "chain", options);
    durstream_options_free(options);
    append_tagged(self.producer, "{}", 1);
    WAIT_UNTIL(self.told >= 20);
    OK(durstream_producer_stop(self.patient, &error), error);
    durstream_producer_free(self.patient);
    durstream_producer_free(self.producer);
    durstream_stream_free(nowhere);
    durstream_stream_free(stream);
    shut_down();
    CHECK(self.told == 20 && self.wrong == 0);
}

static durstream_state *open_state(const char *path, const durstream_schema *schema, told *heard) {
    durstream_error *error = NULL;
    durstream_state *state = NULL;
    durstream_options *options = options_for(path, NULL);
    OK(durstream_options_set(options, "producer_id", "tags", &error), error);
    listen_to(options, heard);
    OK(durstream_state_open(options, schema, &state, &error), error);
    durstream_options_free(options);
    return state;
}

/* Of two handles on one producer each hears of all writes, and of the tags of its own. */
static void a_handle_hears_its_own_tags(void) {
    durstream_error *error = NULL;
    static told one, two;
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "a", "a", "id", NULL, &error), error);
    const char *path = fresh_path("tags-state");
    durstream_state *first = open_state(path, schema, &one);
    durstream_state *second = open_state(path, schema, &two);
    const uint8_t *value = (const uint8_t *)"{\"id\":\"1\"}";
    OK(durstream_state_upsert(first, "a", value, 10, 11, NULL, &error), error);
    OK(durstream_state_try_upsert(second, "a", value, 10, 22, NULL, &error), error);
    OK(durstream_state_delete(first, "a", "1", 33, NULL, &error), error);
    OK(durstream_state_try_delete(second, "a", "1", 44, NULL, &error), error);
    FAILS(DURSTREAM_VALIDATION, durstream_state_delete(first, "a", "", 55, NULL, &error), error);
    OK(durstream_state_flush(first, 30000, NULL, &error), error);
    durstream_state_free(first);
    OK(durstream_state_upsert(second, "a", value, 10, 66, NULL, &error), error);
    durstream_state_free(second);
    durstream_schema_free(schema);
    shut_down();
    CHECK(one.count == 4 && two.count == 5 && one.destroyed == 2 && two.destroyed == 2);
    const uint64_t ones[] = {11, 0, 33, 0}, twos[] = {0, 22, 0, 44, 66};
    for (int n = 0; n < 4; n++) CHECK(one.writes[n].tag == ones[n]);
    for (int n = 0; n < 5; n++) CHECK(two.writes[n].tag == twos[n]);
}

static durstream_state *open_nowhere(const durstream_schema *schema, told *heard) {
    durstream_error *error = NULL;
    durstream_state *state = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", "http://127.0.0.1:1/v1/stream/x", &error), error);
    OK(durstream_options_set(options, "producer_id", "tags", &error), error);
    listen_to(options, heard);
    OK(durstream_state_open(options, schema, &state, &error), error);
    durstream_options_free(options);
    return state;
}

/* Each handle hears of every failure, whichever made the write, for as long as it is one. */
static void a_handle_hears_of_failures_until_it_is_freed(void) {
    durstream_error *error = NULL;
    static told one, two, three;
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "a", "a", "id", NULL, &error), error);
    durstream_state *first = open_nowhere(schema, &one);
    durstream_state *second = open_nowhere(schema, &two);
    durstream_state *third = open_nowhere(schema, &three);
    const uint8_t *value = (const uint8_t *)"{\"id\":\"1\"}";
    OK(durstream_state_upsert(first, "a", value, 10, 11, NULL, &error), error);
    OK(durstream_state_upsert(second, "a", value, 10, 22, NULL, &error), error);
    durstream_state_free(third);
    OK(durstream_state_stop(second, &error), error);
    wait_for(&one, 2);
    wait_for(&two, 2);
    durstream_state_free(first);
    durstream_state_free(second);
    durstream_schema_free(schema);
    shut_down();
    CHECK(one.count == 2 && two.count == 2 && three.count == 0);
    CHECK(one.destroyed == 2 && two.destroyed == 2 && three.destroyed == 2);
    const uint64_t ones[] = {11, 0}, twos[] = {0, 22};
    for (int n = 0; n < 2; n++) {
        CHECK(one.writes[n].tag == ones[n] && two.writes[n].tag == twos[n]);
        CHECK(one.writes[n].reason == DURSTREAM_REASON_PRODUCER_STOPPED);
    }
}

typedef struct {
    int32_t from[8], to[8];
    bool has_error[8];
    _Atomic int count;
    _Atomic int destroyed;
} states;

static void on_state(const durstream_transition *transition, void *user_data) {
    states *seen = user_data;
    const int n = seen->count;
    CHECK(n < 8);
    seen->from[n] = durstream_transition_from(transition);
    seen->to[n] = durstream_transition_to(transition);
    seen->has_error[n] = durstream_transition_error(transition) != NULL;
    seen->count = n + 1;
}

static void on_states_end(void *user_data) { ((states *)user_data)->destroyed++; }

static void states_are_told_in_their_order(void) {
    durstream_error *error = NULL;
    durstream_producer *producer = NULL;
    static states seen;
    durstream_stream *stream = connect_to("http://127.0.0.1:1/v1/stream/x");
    durstream_options *options = durstream_options_new();
    OK(durstream_options_on_state(options, on_state, &seen, on_states_end, &error), error);
    OK(durstream_producer_open(stream, "states", options, &producer, &error), error);
    durstream_options_free(options);
    durstream_stream_free(stream);
    append_tagged(producer, "x", 0);
    WAIT_UNTIL(seen.count >= 1);
    OK(durstream_producer_stop(producer, &error), error);
    WAIT_UNTIL(seen.count >= 3);
    durstream_producer_free(producer);
    shut_down();
    const int32_t path[] = {DURSTREAM_LIFECYCLE_CONNECTING, DURSTREAM_LIFECYCLE_BACKOFF,
                            DURSTREAM_LIFECYCLE_STOPPING, DURSTREAM_LIFECYCLE_STOPPED};
    CHECK(seen.count == 3 && seen.destroyed == 1);
    for (int n = 0; n < 3; n++) {
        CHECK(seen.from[n] == path[n] && seen.to[n] == path[n + 1]);
        CHECK(seen.has_error[n] == (n == 0));
    }
}

int main(void) {
    durstream_set_log(NULL, NULL);
    every_write_is_told_once_in_order();
    a_bad_neighbour_changes_no_tag();
    what_was_never_sent_is_told_too();
    a_callback_may_come_before_the_id();
    a_slow_callback_is_waited_for();
    callbacks_write_and_do_not_wait();
    a_handle_hears_its_own_tags();
    a_handle_hears_of_failures_until_it_is_freed();
    states_are_told_in_their_order();
    return 0;
}
