/* A host's own fork handlers, registered before it first called the library: they may use it. */
#define _GNU_SOURCE
#include "check.h"
#include "http.h"

#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

static const char *path;
static durstream_producer *parents;
static int called;

static durstream_producer *reopened(const char *id) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = options_for(path, "application/json");
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_producer *producer = open_producer(stream, id, NULL);
    durstream_stream_free(stream);
    durstream_options_free(options);
    return producer;
}

static void publish(durstream_producer *producer, const char *text) {
    durstream_error *error = NULL;
    OK(append(producer, text, &error), error);
    OK(durstream_producer_flush(producer, 10000, NULL, &error), error);
}

static void before(void) {
    if (parents != NULL) publish(parents, "{\"n\":1}");
    called++;
}

static void in_parent(void) { publish(parents, "{\"n\":3}"); }

static void in_child(void) {
    durstream_error *error = NULL;
    FAILS(DURSTREAM_FORKED, append(parents, "{}", &error), error);
    durstream_producer *own = reopened("child");
    publish(own, "{\"n\":2}");
    durstream_producer_free(own);
}

int main(void) {
    CHECK(pthread_atfork(before, in_parent, in_child) == 0);
    server();
    path = fresh_path("fork-handlers");
    durstream_stream_free(create(path, "application/json"));
    parents = reopened("parent");
    publish(parents, "{\"n\":0}");
    alarm(60);
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(60);
        raise(SIGKILL); /* what the parent has open is no leak of the child's */
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && called == 1);
    durstream_producer_free(parents);
    CHECK(durstream_shutdown(10000, NULL) == DURSTREAM_OK);
    return 0;
}
