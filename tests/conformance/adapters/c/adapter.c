/* The conformance adapter of the C library: a JSON command per line in, a JSON result out. */
#include <stdio.h>
#include <stdlib.h>

#include "command.h"

static durstream_code on_init(call *call) {
    const char *server_url = field(call, "serverUrl");
    if (server_url == NULL)
        return refuse(call, DURSTREAM_INVALID_ARGUMENT, "`serverUrl` is missing");
    start_over(server_url);
    json_put(&call->answer, "clientName", "durstream-c");
    json_put(&call->answer, "clientVersion", durstream_version());
    json_put_raw(&call->answer, "features",
                 "{\"batching\":true,\"retryOptions\":true,\"batchItems\":true,"
                 "\"strictZeroValidation\":true,\"dynamicHeaders\":true}");
    return DURSTREAM_OK;
}

/* The library stops once this is answered. */
static durstream_code on_shutdown(call *call) {
    (void)call;
    return DURSTREAM_OK;
}

static const struct {
    const char *type;
    handler run;
} HANDLERS[] = {
    {"init", on_init},
    {"create", on_create},
    {"connect", on_head},
    {"append", on_append},
    {"append-stream", on_append_stream},
    {"idempotent-append", on_idempotent_append},
    {"idempotent-append-batch", on_idempotent_append_batch},
    {"idempotent-close", on_idempotent_close},
    {"idempotent-detach", on_idempotent_detach},
    {"read", on_read},
    {"head", on_head},
    {"delete", on_delete},
    {"close", on_close},
    {"validate", on_validate},
    {"set-dynamic-header", on_set_dynamic_header},
    {"set-dynamic-param", on_set_dynamic_param},
    {"clear-dynamic", on_clear_dynamic},
    {"producer-open", on_producer_open},
    {"producer-append", on_producer_append},
    {"producer-flush", on_producer_flush},
    {"producer-close", on_producer_close},
    {"producer-detach", on_producer_detach},
    {"producer-outcomes", on_producer_outcomes},
    {"shutdown", on_shutdown},
};

static durstream_code run(call *call) {
    const char *type = field(call, "type");
    if (type == NULL)
        return refuse(call, DURSTREAM_INVALID_ARGUMENT, "not a JSON object with a `type`");
    for (size_t n = 0; n < sizeof HANDLERS / sizeof HANDLERS[0]; n++)
        if (is(type, HANDLERS[n].type)) return HANDLERS[n].run(call);
    return refuse(call, DURSTREAM_NOT_SUPPORTED, "there is no command of this type");
}

/* Does a line and answers it; false once the adapter is to stop. */
static bool answer(const buffer *line) {
    json *command = json_parse(line->data, line->length);
    call call = {.command = command};
    buffer_add_text(&call.answer, "{");
    json_put(&call.answer, "type", field(&call, "type"));
    json_put_bool(&call.answer, "success", true);
    next_command();
    const durstream_code code = run(&call);
    if (code == DURSTREAM_OK) put_sent(&call);
    else answer_failure(&call, code);
    buffer_add_text(&call.answer, "}\n");
    const bool written = fwrite(call.answer.data, 1, call.answer.length, stdout) ==
                             call.answer.length &&
                         fflush(stdout) == 0;
    const bool stop = is(field(&call, "type"), "shutdown");
    durstream_error_free(call.error);
    buffer_free(&call.answer);
    json_free(command);
    return written && !stop;
}

/* Reads a line without its end; false at the end of the input. */
static bool next_line(buffer *line) {
    int c;
    buffer_free(line);
    while ((c = getchar()) != EOF && c != '\n') buffer_add(line, &(char){(char)c}, 1);
    return c != EOF || line->length > 0;
}

int main(void) {
    buffer line = {0};
    while (next_line(&line))
        if (line.length > 0 && !answer(&line)) break;
    buffer_free(&line);
    start_over(NULL);
    durstream_shutdown(5000, NULL);
    return 0;
}
