/* Defects made on purpose, to know that the sanitizers see them: inside the library too. */
#include <durstream.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Nobody listens there, and nothing needs an answer. */
static const char *const NOWHERE = "http://127.0.0.1:1/x";

/* The library reads options that it freed. */
static void freed(void) {
    durstream_options *options = durstream_options_new();
    durstream_options_free(options);
    durstream_options_set(options, "url", NOWHERE, NULL);
}

/* Nobody frees options that the library made. */
static void leaked(void) {
    durstream_options *options = durstream_options_new();
    durstream_options_set(options, "url", NOWHERE, NULL);
}

/* The library copies a message that is shorter than it was told. */
static void beyond(void) {
    durstream_options *options = durstream_options_new();
    durstream_options_set(options, "url", NOWHERE, NULL);
    durstream_stream *stream = NULL;
    durstream_producer *producer = NULL;
    durstream_stream_connect(options, &stream, NULL);
    durstream_producer_open(stream, "planted", NULL, &producer, NULL);
    uint8_t *message = calloc(1, 8);
    durstream_producer_append(producer, message, 9, 0, NULL, NULL);
    free(message);
}

/* The program adds one to the largest number. */
static void overflow(int one) {
    int sum = INT_MAX;
    sum += one;
    printf("%d\n", sum);
}

int main(int count, char **arguments) {
    if (count != 2) return 2;
    if (strcmp(arguments[1], "freed") == 0) freed();
    if (strcmp(arguments[1], "leaked") == 0) leaked();
    if (strcmp(arguments[1], "beyond") == 0) beyond();
    if (strcmp(arguments[1], "overflow") == 0) overflow(count - 1);
    return 0;
}
