/* A fork may come at any moment: in the middle of another thread's first call, of the first JSON
 * Schema, of a line of the log, of everything at once. The child has none of these threads, and must
 * wait for none of them.
 *
 * `forks N` forks N times of each kind; without a number it is what a test can afford. */
#define _GNU_SOURCE
#include "check.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <sys/wait.h>

extern char **environ;

enum { FORKS = 120, FORKS_WHILE_COUNTED = 3, CHILD_SECONDS = 20, HUNG = 250 };

static const char *const JSON = "application/json";
static const char *const SCHEMA =
    "{\"type\":\"object\",\"required\":[\"id\"],\"properties\":{\"id\":{\"type\":\"string\","
    "\"pattern\":\"^[a-z]+-[0-9]+$\"},\"at\":{\"type\":\"string\",\"format\":\"date-time\"},"
    "\"next\":{\"$ref\":\"#/properties/id\"}},\"additionalProperties\":false}";

static const char *messages_path, *state_path;
static atomic_int begun, ended;
static unsigned seed;
/* What the threads of a parent were at work on is lost in its child, and counted as a leak at every
 * end but one. */
static int leaks_are_counted;

static durstream_options *named(const char *name, const char *value) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, name, value, &error), error);
    return options;
}

/* Appends a message and waits for it. */
static void publish(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *where = options_for(messages_path, JSON);
    OK(durstream_stream_connect(where, &stream, &error), error);
    durstream_options *shared = named("shared", "true");
    durstream_producer *producer = open_producer(stream, "fork", shared);
    OK(append(producer, "1", &error), error);
    OK(durstream_producer_flush(producer, 15000, NULL, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    durstream_options_free(shared);
    durstream_options_free(where);
}

/* Compiles a JSON Schema, and has it refuse one value and take another. */
static void validate(void) {
    durstream_error *error = NULL;
    durstream_state *state = NULL;
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "things", "thing", "id", SCHEMA, &error), error);
    durstream_options *options = options_for(state_path, NULL);
    OK(durstream_options_set(options, "producer_id", "fork", &error), error);
    OK(durstream_options_set(options, "shared", "true", &error), error);
    OK(durstream_state_open(options, schema, &state, &error), error);
    const char *wrong = "{\"id\":\"a-1\",\"at\":7,\"more\":1}", *right = "{\"id\":\"a-1\"}";
    CHECK(durstream_state_upsert(state, "things", (const uint8_t *)wrong, strlen(wrong), 0, NULL,
                                 &error) == DURSTREAM_VALIDATION);
    CHECK(is(durstream_code_name(durstream_error_code(error)), "VALIDATION"));
    CHECK(durstream_error_json(error) != NULL);
    durstream_error_free(error);
    error = NULL;
    OK(durstream_state_upsert(state, "things", (const uint8_t *)right, strlen(right), 0, NULL,
                              &error),
       error);
    OK(durstream_state_flush(state, 15000, NULL, &error), error);
    durstream_state_free(state);
    durstream_schema_free(schema);
    durstream_options_free(options);
}

/* Has something to log: a write that is given up, of a producer without an error callback. */
static void fail_and_log(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *nowhere = named("url", "http://127.0.0.1:1/nowhere");
    OK(durstream_stream_connect(nowhere, &stream, &error), error);
    durstream_options *shared = named("shared", "true");
    durstream_producer *producer = open_producer(stream, "fork", shared);
    OK(append(producer, "x", &error), error);
    OK(durstream_producer_stop(producer, &error), error);
    CHECK(durstream_producer_flush(producer, 15000, NULL, &error) == DURSTREAM_DELIVERY);
    durstream_error_free(error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    durstream_options_free(shared);
    durstream_options_free(nowhere);
}

static void all_of_it(void) {
    publish();
    validate();
    fail_and_log();
}

struct work {
    void (*run)(void);
};
static struct work publishes = {publish}, validates = {validate}, logs = {fail_and_log};

static void *once(void *work) {
    begun = 1;
    ((struct work *)work)->run();
    return NULL;
}

static void *again_and_again(void *work) {
    while (!ended) once(work);
    return NULL;
}

static pthread_t started(void *(*body)(void *), struct work *work) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, body, work) == 0);
    return thread;
}

static void spin(unsigned microseconds) {
    const double until = seconds() + microseconds / 1e6;
    while (seconds() < until) {}
}

/* Forks; the child does its work within its time, and ends by one way or another. */
static int forked(void (*work)(void)) {
    const unsigned way = (unsigned)rand_r(&seed) % 3;
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(CHILD_SECONDS);
        ended = 1;
        work();
        if (leaks_are_counted) raise(SIGKILL);
        if (way == 0) exit(0);
        if (way == 1) CHECK(durstream_shutdown(1000, NULL) == DURSTREAM_OK);
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) return HUNG;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && leaks_are_counted) return 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static int spawned(void) {
    char *arguments[] = {"true", NULL};
    pid_t child = 0;
    int status = 0;
    CHECK(posix_spawnp(&child, "true", NULL, NULL, arguments, environ) == 0);
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

/* A process that is new: forks somewhere in the first 20 ms of other threads' first call. */
static int in_a_new_process(struct work *work) {
    const unsigned longest[] = {200, 600, 4000, 20000};
    const unsigned delay = (unsigned)rand_r(&seed) % longest[(unsigned)rand_r(&seed) % 4];
    const int threads = 1 + rand_r(&seed) % 2;
    const pid_t fresh = fork();
    CHECK(fresh >= 0);
    if (fresh == 0) {
        alarm(2 * CHILD_SECONDS);
        pthread_t running[2];
        for (int n = 0; n < threads; n++) running[n] = started(once, work);
        while (!begun) {}
        spin(delay);
        const int result = forked(work->run);
        for (int n = 0; n < threads; n++) pthread_join(running[n], NULL);
        _exit(result);
    }
    int status = 0;
    CHECK(waitpid(fresh, &status, 0) == fresh);
    return WIFEXITED(status) ? WEXITSTATUS(status) : HUNG;
}

/* One process under load: forks and spawns while its threads do everything. */
static int in_the_middle(int forks, int *hung) {
    const pid_t busy = fork();
    CHECK(busy >= 0);
    if (busy == 0) {
        pthread_t running[] = {started(again_and_again, &publishes),
                               started(again_and_again, &validates),
                               started(again_and_again, &logs),
                               started(again_and_again, &logs)};
        int hangs = 0;
        for (int n = 0; n < forks; n++) {
            spin((unsigned)rand_r(&seed) % 3000);
            if (n % 4 == 3) CHECK(spawned() == 0);
            const int result = forked(all_of_it);
            CHECK(result == 0 || result == HUNG);
            hangs += result == HUNG;
        }
        ended = 1;
        for (size_t n = 0; n < sizeof running / sizeof *running; n++)
            pthread_join(running[n], NULL);
        CHECK(durstream_shutdown(5000, NULL) == DURSTREAM_OK);
        _exit(hangs < HUNG ? hangs : HUNG);
    }
    int status = 0;
    CHECK(waitpid(busy, &status, 0) == busy);
    *hung += WIFEXITED(status) ? WEXITSTATUS(status) : 1;
    return WIFEXITED(status);
}

/* Standard error goes to a file meanwhile: full of what is logged, and of what a failed check said. */
static FILE *kept_log;

static void show_what_failed(void) {
    char line[512];
    rewind(kept_log);
    while (fgets(line, sizeof line, kept_log) != NULL)
        if (strstr(line, "durstream: ") != line) fputs(line, stdout);
}

static int hung_first(const char *what, struct work *work, int forks) {
    int hung = 0;
    for (int n = 0; n < forks; n++) {
        const int result = in_a_new_process(work);
        if (result != 0 && result != HUNG) {
            fprintf(stdout, "a child ended with %d\n", result);
            show_what_failed();
            exit(1);
        }
        hung += result == HUNG;
    }
    fprintf(stdout, "%d forks while another thread %s: %d hung\n", forks, what, hung);
    return hung;
}

/* Creates the streams in a child: this process itself stays new to the library. */
static void create_streams(void) {
    messages_path = fresh_path("forks");
    state_path = fresh_path("forks-state");
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        durstream_stream_free(create(messages_path, JSON));
        validate();
        _exit(0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int count, char **arguments) {
    const char *preloaded = getenv("LD_PRELOAD");
    leaks_are_counted = preloaded != NULL && strstr(preloaded, "vgpreload") != NULL;
    const int some = leaks_are_counted ? FORKS_WHILE_COUNTED : FORKS;
    const int forks = count > 1 ? atoi(arguments[1]) : some;
#ifdef __SANITIZE_ADDRESS__
    /* gcc's runtime has an allocator whose locks a child inherits: the child hangs in `malloc`. */
    fprintf(stdout, "not under AddressSanitizer: its own locks come through fork\n");
    return 0;
#endif
    seed = (unsigned)getpid();
    setvbuf(stdout, NULL, _IONBF, 0);
    /* By name, where it has one: looking names up takes locks of the system's. */
    unsigned port = 0;
    if (sscanf(server(), "http://127.0.0.1:%u", &port) == 1) {
        char url[64];
        snprintf(url, sizeof url, "http://localhost:%u", port);
        setenv("DURABLE_STREAMS_URL", url, 1);
    }
    create_streams();
    const int standard_error = dup(2);
    kept_log = tmpfile();
    CHECK(kept_log != NULL && dup2(fileno(kept_log), 2) == 2);

    int hung = hung_first("makes its first call", &publishes, forks);
    hung += hung_first("compiles its first JSON Schema", &validates, forks);
    hung += hung_first("logs its first line", &logs, forks);
    const int lived = in_the_middle(forks, &hung);
    fprintf(stdout, "%d forks in the middle of everything, with spawns beside; in all %d hung\n",
            forks, hung);
    if (!lived) show_what_failed();
    CHECK(dup2(standard_error, 2) == 2);
    CHECK(lived && hung == 0);
    return 0;
}
