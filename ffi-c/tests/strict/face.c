// What a C program with every warning on writes; C++11 takes it too.
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define ERROR 0
#define DELETE (0x00010000L)
#define IN
#define OUT
#define OPTIONAL
#define STRICT 1
#define near
#define far
#define small char
#include <durstream.h>
#include <durstream.h>
#include <durstream_test.h>
#include <durstream_test.h>

int main(void) {
    durstream_options *options = durstream_options_new();
    durstream_error *error = 0;
    durstream_code code = durstream_options_set(options, "no_such_option", "1", &error);
    durstream_error_free(error);
    durstream_options_free(options);
    durstream_test_recorder_free(durstream_test_recorder_new());
    return code == DURSTREAM_INVALID_ARGUMENT ? 0 : 1;
}
