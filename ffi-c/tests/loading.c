/* Loading the library does nothing: it starts no thread and reads no environment. Using it does. */
#define _GNU_SOURCE
#include "check.h"

#ifdef __linux__
#include <dirent.h>

extern char **environ;

static int asked = 0;

/* In place of libc's, which the library would call: it counts from before `main`. */
char *getenv(const char *name) {
    asked++;
    const size_t length = strlen(name);
    for (char **entry = environ; entry != NULL && *entry != NULL; entry++) {
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') {
            return *entry + length + 1;
        }
    }
    return NULL;
}

static int threads(void) {
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    for (const struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        count += task->d_name[0] != '.';
    }
    closedir(tasks);
    return count;
}

int main(void) {
    CHECK(asked == 0);
    CHECK(threads() == 1);
    CHECK(durstream_version() != NULL);

    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_producer *producer = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "stream_path", fresh_path("loading"), &error), error);
    CHECK(asked == 0);
    OK(durstream_stream_connect(options, &stream, &error), error);
    CHECK(asked > 0);
    CHECK(threads() == 1);
    OK(durstream_producer_open(stream, "loading", NULL, &producer, &error), error);
    CHECK(threads() > 1);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    durstream_options_free(options);
    OK(durstream_shutdown(60000, &error), error);
    return 0;
}
#else
int main(void) {
    return 0;
}
#endif
