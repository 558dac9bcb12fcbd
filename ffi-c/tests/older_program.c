/* A program that was compiled with the first header of this soname, which `tests/abi` keeps. It
 * declares what it uses itself: `check.h` would bring today's header. */
#include "../../tests/abi/0.1.0/durstream.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                          \
    do {                                                                                          \
        if (!(condition)) {                                                                       \
            fprintf(stderr, "%s:%d: failed: %s: %s\n", __FILE__, __LINE__, #condition,            \
                    error != NULL ? durstream_error_message(error) : "");                         \
            exit(1);                                                                              \
        }                                                                                         \
    } while (0)

#ifdef DURSTREAM_VERSION_MAJOR
#error "this is not the first header"
#endif

static const uint8_t *bytes(const char *text) { return (const uint8_t *)text; }

int main(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_producer *producer = NULL;
    durstream_options *options = durstream_options_new();
    const char *server = getenv("DURABLE_STREAMS_URL");
    if (server == NULL) return 2;
    char url[256];
    snprintf(url, sizeof url, "%s/test/older-%p", server, (void *)&url);
    CHECK(durstream_options_set(options, "url", url, &error) == DURSTREAM_OK);
    CHECK(durstream_options_set(options, "content_type", "application/json", &error) ==
          DURSTREAM_OK);
    CHECK(durstream_stream_create(options, NULL, 0, &stream, &error) == DURSTREAM_OK);
    CHECK(durstream_producer_open(stream, "older", NULL, &producer, &error) == DURSTREAM_OK);
    for (int n = 0; n < 3; n++) {
        uint64_t id = 0;
        CHECK(durstream_producer_append(producer, bytes("{\"n\":1}"), 7, 0, &id, &error) ==
              DURSTREAM_OK);
        CHECK(id == (uint64_t)n + 1);
    }
    durstream_flush_report report;
    memset(&report, 0, sizeof report);
    report.size = sizeof report;
    CHECK(durstream_producer_flush(producer, 10000, &report, &error) == DURSTREAM_OK);
    CHECK(report.delivered == 3);
    /* The struct is as large as this header says, whatever today's has grown to. */
    struct {
        durstream_stats stats;
        unsigned char beyond[64];
    } counted;
    memset(&counted, 0x5a, sizeof counted);
    counted.stats.size = sizeof counted.stats;
    CHECK(durstream_producer_stats(producer, &counted.stats, &error) == DURSTREAM_OK);
    for (size_t n = 0; n < sizeof counted.beyond; n++) CHECK(counted.beyond[n] == 0x5a);
    CHECK(durstream_options_set(options, "no_such_option", "1", &error) ==
          DURSTREAM_INVALID_ARGUMENT);
    CHECK(strcmp(durstream_error_option(error), "no_such_option") == 0);
    durstream_error_free(error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    durstream_options_free(options);
    durstream_shutdown(3000, NULL);
    puts("older program: ok");
    return 0;
}
