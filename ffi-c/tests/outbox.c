/* The outbox: what was accepted survives the process, whatever ended it. The server is away where a
 * proxy is named that is not there. */
#define _GNU_SOURCE
#include "check.h"
#include "http.h"

#include <ftw.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { ALL = 200 };

static const char *const JSON = "application/json";
static const char *const NOBODY = "http://127.0.0.1:9";

static char root[] = "/tmp/durstream-outbox-XXXXXX";

static int removed(const char *path, const struct stat *status, int flag, struct FTW *place) {
    (void)status, (void)flag, (void)place;
    return remove(path);
}

static void remove_root(void) {
    nftw(root, removed, 8, FTW_DEPTH | FTW_PHYS);
}

/* A folder below the test's own; it is not there yet. */
static const char *folder(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", root, name);
    return path;
}

typedef struct {
    durstream_stream *stream;
    durstream_producer *producer;
    durstream_options *options;
} opened;

/* A producer with an outbox; `more` names an option, or is NULL. */
static durstream_code try_open(opened *self, const char *path, const char *outbox, bool is_away,
                               const char *more, const char *value, durstream_error **error) {
    durstream_options *where = options_for(path, JSON);
    if (is_away) OK(durstream_options_set(where, "proxy", NOBODY, error), *error);
    OK(durstream_stream_connect(where, &self->stream, error), *error);
    durstream_options_free(where);
    self->options = durstream_options_new();
    OK(durstream_options_set(self->options, "outbox_dir", outbox, error), *error);
    if (more != NULL) OK(durstream_options_set(self->options, more, value, error), *error);
    self->producer = NULL;
    return durstream_producer_open(self->stream, "kept", self->options, &self->producer, error);
}

static void let_go(opened *self) {
    durstream_producer_free(self->producer);
    durstream_stream_free(self->stream);
    durstream_options_free(self->options);
}

static opened open_kept(const char *path, const char *outbox, bool is_away) {
    durstream_error *error = NULL;
    opened self;
    OK(try_open(&self, path, outbox, is_away, NULL, NULL, &error), error);
    return self;
}

static durstream_stats stats_of(const durstream_producer *producer) {
    durstream_error *error = NULL;
    durstream_stats stats = {.size = sizeof stats};
    OK(durstream_producer_stats(producer, &stats, &error), error);
    return stats;
}

static void append_numbers(durstream_producer *producer, int from, int to) {
    durstream_error *error = NULL;
    for (int n = from; n < to; n++) {
        char message[32];
        snprintf(message, sizeof message, "{\"n\":%d}", n);
        OK(append(producer, message, &error), error);
    }
}

static durstream_state *open_state(const char *path, const char *outbox, bool is_away) {
    durstream_error *error = NULL;
    durstream_state *state = NULL;
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "a", "a", "n", NULL, &error), error);
    durstream_options *options = options_for(path, NULL);
    OK(durstream_options_set(options, "producer_id", "kept", &error), error);
    OK(durstream_options_set(options, "outbox_dir", outbox, &error), error);
    if (is_away) OK(durstream_options_set(options, "proxy", NOBODY, &error), error);
    OK(durstream_state_open(options, schema, &state, &error), error);
    durstream_options_free(options);
    durstream_schema_free(schema);
    return state;
}

static void upsert_numbers(durstream_state *state, int count) {
    durstream_error *error = NULL;
    for (int n = 0; n < count; n++) {
        char value[32];
        snprintf(value, sizeof value, "{\"n\":%d}", n);
        OK(durstream_state_upsert(state, "a", (const uint8_t *)value, strlen(value), 0, NULL,
                                  &error),
           error);
    }
}

/* A process that accepts writes, says so, and waits for its end. */
static pid_t writer(const char *path, const char *outbox, int count, bool is_state) {
    int said[2];
    CHECK(pipe(said) == 0);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        if (is_state) upsert_numbers(open_state(path, outbox, true), count);
        else append_numbers(open_kept(path, outbox, true).producer, 0, count);
        CHECK(write(said[1], "", 1) == 1);
        for (;;) pause();
    }
    char nothing;
    close(said[1]);
    CHECK(read(said[0], &nothing, 1) == 1);
    close(said[0]);
    return child;
}

/* Ends a child well. Not by exit: where leaks are looked for, what the parent's threads held would be
   lost in a child that has none of them. */
static void leave(void) {
    execl("/bin/true", "true", (char *)NULL);
    _exit(1);
}

static void kill_it(pid_t child) {
    int status = 0;
    CHECK(kill(child, SIGKILL) == 0 && waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Creates a stream in a child: this process stays new to the library until its forks are done. */
static const char *created(const char *name) {
    const char *path = fresh_path(name);
    int status = 0;
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        durstream_stream_free(create(path, JSON));
        leave();
    }
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return path;
}

static void what_a_killed_process_accepted_is_delivered(void) {
    durstream_error *error = NULL;
    const char *path = created("outbox"), *outbox = folder("killed/in/there");
    kill_it(writer(path, outbox, ALL, false));
    opened again = open_kept(path, outbox, false);
    CHECK(stats_of(again.producer).recovered == ALL);
    OK(durstream_producer_flush(again.producer, 60000, NULL, &error), error);
    const durstream_stats stats = stats_of(again.producer);
    CHECK(stats.accepted == ALL && stats.delivered == ALL);
    CHECK(stats.recovered_bytes > ALL);
    CHECK(stats.kept == 0);
    let_go(&again);
    check_numbers(path, ALL);
}

static void what_a_killed_process_changed_is_delivered(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("outbox-state"), *outbox = folder("state");
    kill_it(writer(path, outbox, ALL, true));
    durstream_state *again = open_state(path, outbox, false);
    durstream_stats stats = {.size = sizeof stats};
    OK(durstream_state_stats(again, &stats, &error), error);
    CHECK(stats.recovered == ALL);
    OK(durstream_state_flush(again, 60000, NULL, &error), error);
    durstream_state_free(again);
    check_numbers(path, ALL);
}

static void another_process_is_told_who_has_it(void) {
    durstream_error *error = NULL;
    const char *path = created("outbox-two"), *outbox = folder("two");
    char pid[32];
    const pid_t first = writer(path, outbox, 3, false);
    snprintf(pid, sizeof pid, "%ld", (long)first);
    opened second;
    CHECK(try_open(&second, path, outbox, true, NULL, NULL, &error) == DURSTREAM_OUTBOX_IN_USE);
    CHECK(strstr(durstream_error_message(error), pid) != NULL && second.producer == NULL);
    FAILS(DURSTREAM_OUTBOX_IN_USE, DURSTREAM_OUTBOX_IN_USE, error);
    let_go(&second);
    kill_it(first);
    opened third = open_kept(path, outbox, false);
    CHECK(stats_of(third.producer).recovered == 3);
    OK(durstream_producer_detach(third.producer, 60000, NULL, &error), error);
    let_go(&third);
    check_numbers(path, 3);
}

static void status_is(durstream_producer *producer, uint64_t id, durstream_status status,
                      durstream_reason reason) {
    durstream_error *error = NULL;
    durstream_outcome *outcome = NULL;
    OK(durstream_producer_wait(producer, id, 60000, &outcome, &error), error);
    CHECK(durstream_outcome_status(outcome) == status);
    CHECK(durstream_outcome_reason(outcome) == reason);
    durstream_outcome_free(outcome);
}

static void stop_keeps_and_says_so(void) {
    durstream_error *error = NULL;
    const char *path = created("outbox-stop"), *outbox = folder("stop");
    opened first = open_kept(path, outbox, true);
    append_numbers(first.producer, 0, 3);
    OK(durstream_producer_stop(first.producer, &error), error);
    status_is(first.producer, 3, DURSTREAM_STATUS_KEPT, DURSTREAM_REASON_PRODUCER_STOPPED);
    CHECK(durstream_producer_flush(first.producer, 60000, NULL, &error) == DURSTREAM_DELIVERY);
    CHECK(durstream_error_kept(error) == 3 && durstream_error_undelivered(error) == 3);
    CHECK(strstr(durstream_error_json(error), "\"kept\":3") != NULL);
    FAILS(DURSTREAM_DELIVERY, DURSTREAM_DELIVERY, error);
    const durstream_stats stats = stats_of(first.producer);
    CHECK(stats.kept == 3 && stats.cancelled == 0 && stats.pending == 0);
    CHECK(durstream_error_kept(NULL) == 0 && is(durstream_status_name(6), "kept"));
    CHECK(is(durstream_reason_name(25), "outbox-full"));
    let_go(&first);

    opened second = open_kept(path, outbox, true);
    uint64_t dropped = 0;
    CHECK(stats_of(second.producer).recovered == 3);
    append_numbers(second.producer, 3, 4);
    OK(durstream_producer_discard_outbox(second.producer, 60000, &dropped, &error), error);
    CHECK(dropped == 4);
    status_is(second.producer, 4, DURSTREAM_STATUS_CANCELLED, DURSTREAM_REASON_PRODUCER_STOPPED);
    FAILS(DURSTREAM_PRODUCER_CLOSED,
          durstream_producer_discard_outbox(second.producer, 60000, &dropped, &error), error);
    let_go(&second);

    opened third = open_kept(path, outbox, false);
    CHECK(stats_of(third.producer).recovered == 0);
    append_numbers(third.producer, 0, 1);
    OK(durstream_producer_detach(third.producer, 60000, NULL, &error), error);
    let_go(&third);
    check_numbers(path, 1);
}

static void without_an_outbox_there_is_nothing_to_discard(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = create(fresh_path("outbox-none"), JSON);
    durstream_producer *producer = open_producer(stream, "none", NULL);
    CHECK(durstream_producer_discard_outbox(producer, 0, NULL, &error) ==
          DURSTREAM_INVALID_ARGUMENT);
    CHECK(is(durstream_error_option(error), "outbox_dir"));
    FAILS(DURSTREAM_INVALID_ARGUMENT, DURSTREAM_INVALID_ARGUMENT, error);
    OK(append(producer, "1", &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);

    durstream_state *state = open_state(fresh_path("outbox-state-drop"), folder("drop"), true);
    uint64_t dropped = 0;
    upsert_numbers(state, 2);
    OK(durstream_state_discard_outbox(state, 60000, &dropped, &error), error);
    CHECK(dropped == 2);
    durstream_state_free(state);
}

/* The child has the parent's handle, and none of its outbox. */
static void a_forks_child_writes_nothing(void) {
    durstream_error *error = NULL;
    const char *path = created("outbox-fork"), *outbox = folder("fork");
    char parent[32];
    int status = 0;
    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    opened own = open_kept(path, outbox, false);
    append_numbers(own.producer, 0, 3);
    for (int way = 0; way < 2; way++) {
        const pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(60);
            FAILS(DURSTREAM_FORKED, append(own.producer, "\"child\"", &error), error);
            FAILS(DURSTREAM_FORKED, durstream_producer_discard_outbox(own.producer, 0, NULL, &error),
                  error);
            opened second;
            CHECK(try_open(&second, path, outbox, true, NULL, NULL, &error) ==
                  DURSTREAM_OUTBOX_IN_USE);
            CHECK(strstr(durstream_error_message(error), parent) != NULL);
            FAILS(DURSTREAM_OUTBOX_IN_USE, DURSTREAM_OUTBOX_IN_USE, error);
            if (way == 0) leave();
            let_go(&own);
            CHECK(durstream_shutdown(1000, NULL) == DURSTREAM_OK);
            leave();
        }
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) &&
              WEXITSTATUS(status) == 0);
        append_numbers(own.producer, 3 + way, 4 + way);
    }
    OK(durstream_producer_flush(own.producer, 60000, NULL, &error), error);
    /* The child took no lock along. */
    opened second;
    FAILS(DURSTREAM_OUTBOX_IN_USE, try_open(&second, path, outbox, true, NULL, NULL, &error), error);
    let_go(&second);
    let_go(&own);
    check_numbers(path, 5);
}

static char segment[512];

static int find_segment(const char *path, const struct stat *status, int flag, struct FTW *place) {
    (void)status, (void)flag, (void)place;
    const size_t length = strlen(path);
    if (length > 4 && strcmp(path + length - 4, ".seg") == 0)
        snprintf(segment, sizeof segment, "%s", path);
    return 0;
}

/* Turns a bit of the message number 100: where that begins. */
static long damage(const char *outbox) {
    segment[0] = '\0';
    CHECK(nftw(outbox, find_segment, 8, FTW_PHYS) == 0 && segment[0] != '\0');
    FILE *file = fopen(segment, "r+b");
    CHECK(file != NULL);
    static char head[65536];
    const size_t length = fread(head, 1, sizeof head, file);
    const char *at = (const char *)memmem(head, length, "{\"n\":100}", 9);
    CHECK(at != NULL);
    const long offset = at - head;
    CHECK(fseek(file, offset + 6, SEEK_SET) == 0 && fputc('9', file) == '9');
    CHECK(fclose(file) == 0);
    return offset;
}

static void damage_is_found_and_the_rest_salvaged(void) {
    durstream_error *error = NULL;
    const char *path = created("outbox-damaged"), *outbox = folder("damaged");
    kill_it(writer(path, outbox, ALL, false));
    damage(outbox);
    opened refused;
    CHECK(try_open(&refused, path, outbox, true, NULL, NULL, &error) == DURSTREAM_OUTBOX_DAMAGED);
    CHECK(strstr(durstream_error_message(error), strrchr(segment, '/') + 1) != NULL);
    FAILS(DURSTREAM_OUTBOX_DAMAGED, DURSTREAM_OUTBOX_DAMAGED, error);
    let_go(&refused);
    opened salvaged;
    OK(try_open(&salvaged, path, outbox, false, "outbox_recovery", "salvage", &error), error);
    OK(durstream_producer_flush(salvaged.producer, 60000, NULL, &error), error);
    CHECK(stats_of(salvaged.producer).delivered == ALL - 1);
    let_go(&salvaged);
    char *body = read_stream(path);
    CHECK(occurrences(body, "{\"n\":") == ALL - 1 && strstr(body, "{\"n\":100}") == NULL);
    free(body);
}

static void a_folder_that_cannot_be_is_said(void) {
    durstream_error *error = NULL;
    const char *path = created("outbox-folder"), *taken = folder("file");
    FILE *file = fopen(taken, "w");
    CHECK(file != NULL && fputs("mine", file) >= 0 && fclose(file) == 0);
    opened refused;
    CHECK(try_open(&refused, path, taken, true, NULL, NULL, &error) == DURSTREAM_OUTBOX_FAILED);
    CHECK(strstr(durstream_error_message(error), taken) != NULL);
    FAILS(DURSTREAM_OUTBOX_FAILED, DURSTREAM_OUTBOX_FAILED, error);
    let_go(&refused);
    OK(try_open(&refused, path, folder("options"), true, "outbox_sync", "write", &error), error);
    append_numbers(refused.producer, 0, 2);
    OK(durstream_producer_discard_outbox(refused.producer, 60000, NULL, &error), error);
    let_go(&refused);
    durstream_options *options = durstream_options_new();
    CHECK(durstream_options_set(options, "outbox_sync", "always", &error) ==
          DURSTREAM_INVALID_ARGUMENT);
    CHECK(is(durstream_error_option(error), "outbox_sync"));
    FAILS(DURSTREAM_INVALID_ARGUMENT, DURSTREAM_INVALID_ARGUMENT, error);
    durstream_options_free(options);
}

static void a_full_outbox_says_so(void) {
    durstream_error *error = NULL;
    opened own;
    const char *path = created("outbox-full");
    OK(try_open(&own, path, folder("full"), true, "outbox_max_bytes", "4096", &error), error);
    durstream_code code = DURSTREAM_OK;
    for (int n = 0; code == DURSTREAM_OK && n < 1000; n++)
        code = durstream_producer_try_append(own.producer, (const uint8_t *)"1234567", 7, 0, NULL,
                                             &error);
    CHECK(code == DURSTREAM_BUFFER_FULL && is(durstream_error_reason(error), "outbox-full"));
    FAILS(DURSTREAM_BUFFER_FULL, DURSTREAM_BUFFER_FULL, error);
    OK(durstream_producer_discard_outbox(own.producer, 60000, NULL, &error), error);
    let_go(&own);
}

int main(void) {
    CHECK(mkdtemp(root) != NULL);
    /* These fork before this process knows the library's threads. */
    what_a_killed_process_accepted_is_delivered();
    what_a_killed_process_changed_is_delivered();
    another_process_is_told_who_has_it();
    stop_keeps_and_says_so();
    without_an_outbox_there_is_nothing_to_discard();
    a_forks_child_writes_nothing();
    damage_is_found_and_the_rest_salvaged();
    a_folder_that_cannot_be_is_said();
    a_full_outbox_says_so();
    CHECK(durstream_shutdown(5000, NULL) == DURSTREAM_OK);
    remove_root();
    return 0;
}
