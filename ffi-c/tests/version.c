/* A header that is newer than the library, or of a version that may break programs, is told. */
#include "check.h"

static void refused(uint32_t major, uint32_t minor, uint32_t patch, const char *header,
                    const char *series) {
    durstream_error *error = NULL;
    CHECK(durstream_check_version(major, minor, patch, &error) == DURSTREAM_NOT_SUPPORTED);
    const char *text = durstream_error_message(error);
    char expected[256];
    snprintf(expected, sizeof expected,
             "compiled with durstream.h %s, and the library that is loaded is %s: install "
             "libdurstream %s or a later %s, or compile with the library's own header",
             header, durstream_version(), header, series);
    if (strstr(text, expected) == NULL) {
        fprintf(stderr, "not \"%s\" but \"%s\"\n", expected, text);
        exit(1);
    }
    durstream_error_free(error);
    /* Nobody has to want the reason. */
    CHECK(durstream_check_version(major, minor, patch, NULL) == DURSTREAM_NOT_SUPPORTED);
}

int main(void) {
    durstream_error *error = NULL;
    OK(DURSTREAM_CHECK_VERSION(&error), error);
    CHECK(DURSTREAM_CHECK_VERSION(NULL) == DURSTREAM_OK);
    char own[32];
    snprintf(own, sizeof own, "%d.%d.%d", DURSTREAM_VERSION_MAJOR, DURSTREAM_VERSION_MINOR,
             DURSTREAM_VERSION_PATCH);
    CHECK(strcmp(own, durstream_version()) == 0);

    refused(0, 1, 999, "0.1.999", "0.1");
    refused(0, 2, 0, "0.2.0", "0.2");
    refused(0, 0, 9, "0.0.9", "0.0");
    refused(1, 0, 0, "1.0.0", "1");
    puts("version: ok");
    return 0;
}
