/* The command `validate`: makes an object with the given options and says what the library does. */
#include "command.h"

typedef struct {
    const char *command, *library;
} spelling;

static const spelling STREAM_OPTIONS[] = {
    {"maxRetries", "max_retries"},
    {"initialDelayMs", "retry_initial_delay_ms"},
    {"maxDelayMs", "retry_max_delay_ms"},
    {"multiplier", "retry_multiplier"},
};
static const spelling PRODUCER_OPTIONS[] = {
    {"epoch", "epoch"},
    {"maxBatchBytes", "max_batch_bytes"},
    {"maxBatchItems", "max_batch_items"},
};

static const char URL[] = "http://127.0.0.1/validate"; /* nothing is sent */

static durstream_code set_all(call *call, const json *target, durstream_options *options,
                              const spelling *spellings, size_t count) {
    durstream_code code = DURSTREAM_OK;
    for (size_t n = 0; n < count && code == DURSTREAM_OK; n++)
        code = set(call, options, spellings[n].library,
                   json_text(json_member(target, spellings[n].command)));
    return code;
}

/* Spells the option at fault as the command does. */
static void spell(call *call, const spelling *spellings, size_t count) {
    for (size_t n = 0; n < count; n++)
        if (is(durstream_error_option(call->error), spellings[n].library))
            call->option = spellings[n].command;
}

static durstream_code make_stream(call *call, const json *target, durstream_stream **stream) {
    const size_t count = sizeof STREAM_OPTIONS / sizeof STREAM_OPTIONS[0];
    durstream_options *options = durstream_options_new();
    durstream_code code = set(call, options, "url", URL);
    if (code == DURSTREAM_OK) code = set_all(call, target, options, STREAM_OPTIONS, count);
    if (code == DURSTREAM_OK) code = durstream_stream_connect(options, stream, &call->error);
    if (code != DURSTREAM_OK) spell(call, STREAM_OPTIONS, count);
    durstream_options_free(options);
    return code;
}

static durstream_code make_producer(call *call, const json *target,
                                    const durstream_stream *stream) {
    const size_t count = sizeof PRODUCER_OPTIONS / sizeof PRODUCER_OPTIONS[0];
    const char *id = json_text(json_member(target, "producerId"));
    durstream_producer *producer = NULL;
    durstream_options *options = durstream_options_new();
    durstream_code code = set_all(call, target, options, PRODUCER_OPTIONS, count);
    if (code == DURSTREAM_OK)
        code = durstream_producer_open(stream, id != NULL ? id : "test-producer", options,
                                       &producer, &call->error);
    if (code != DURSTREAM_OK) spell(call, PRODUCER_OPTIONS, count);
    durstream_producer_free(producer);
    durstream_options_free(options);
    return code;
}

durstream_code on_validate(call *call) {
    const json *target = json_member(call->command, "target");
    const char *what = json_text(json_member(target, "target"));
    durstream_stream *stream = NULL;
    if (!is(what, "retry-options") && !is(what, "idempotent-producer"))
        return refuse(call, DURSTREAM_NOT_SUPPORTED, "there is nothing of this name to validate");
    durstream_code code = make_stream(call, target, &stream);
    if (code == DURSTREAM_OK && is(what, "idempotent-producer"))
        code = make_producer(call, target, stream);
    durstream_stream_free(stream);
    return code;
}
