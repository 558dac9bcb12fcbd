/* Three messages from an installed library. */
#include <durstream.h>

#include <stdio.h>
#include <stdlib.h>

/* The error by its place: an argument may be read before the call beside it fills it in. */
static void check(durstream_code code, durstream_error *const *error) {
    if (code == DURSTREAM_OK) return;
    fprintf(stderr, "first: %s\n", durstream_error_message(*error));
    exit(1);
}

int main(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_producer *producer = NULL;
    durstream_options *options = durstream_options_new();
    check(DURSTREAM_CHECK_VERSION(&error), &error);
    check(durstream_options_set(options, "stream_path", getenv("FIRST_STREAM_PATH"), &error), &error);
    check(durstream_options_set(options, "content_type", "application/json", &error), &error);
    check(durstream_stream_create(options, NULL, 0, &stream, &error), &error);
    check(durstream_producer_open(stream, "first", NULL, &producer, &error), &error);
    for (int n = 1; n <= 3; n++) {
        char message[16];
        int length = snprintf(message, sizeof message, "{\"n\":%d}", n);
        check(durstream_producer_append(producer, (const uint8_t *)message, (size_t)length, 0, NULL,
                                        &error),
              &error);
    }
    check(durstream_producer_flush(producer, 30000, NULL, &error), &error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    durstream_options_free(options);
    durstream_shutdown(3000, NULL);
    puts(durstream_version());
    return 0;
}
