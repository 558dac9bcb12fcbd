#include "command.h"

#include <stdlib.h>
#include <string.h>

/* A path and the content type its stream is known to have. */
typedef struct known {
    struct known *next;
    char *path, *content_type;
} known;

static char *server;
static known *paths;
static named *producers;

static char *copy(const char *text) {
    if (text == NULL) return NULL;
    char *made = malloc(strlen(text) + 1);
    if (made == NULL) abort();
    return strcpy(made, text);
}

static void *zeroed(size_t size) {
    void *made = calloc(1, size);
    if (made == NULL) abort();
    return made;
}

void start_over(const char *server_url) {
    while (paths != NULL) {
        known *gone = paths;
        paths = gone->next;
        free(gone->path);
        free(gone->content_type);
        free(gone);
    }
    while (producers != NULL) {
        named *gone = producers;
        producers = gone->next;
        durstream_producer_free(gone->producer);
        free(gone->name);
        free(gone);
    }
    forget_dynamic();
    free(server);
    server = copy(server_url);
}

const char *field(const call *call, const char *name) {
    return json_text(json_member(call->command, name));
}

bool is(const char *text, const char *expected) {
    return text != NULL && strcmp(text, expected) == 0;
}

/* --- Failures ---------------------------------------------------------------------------------- */

durstream_code refuse(call *call, durstream_code code, const char *problem) {
    call->problem = problem;
    return code;
}

const char *error_code(durstream_code code, const durstream_error *error) {
    const int32_t status = durstream_error_status(error);
    switch (code) {
    case DURSTREAM_STREAM_NOT_FOUND: return "NOT_FOUND";
    case DURSTREAM_STREAM_EXISTS: return "CONFLICT";
    case DURSTREAM_VALIDATION: return "INVALID_ARGUMENT";
    case DURSTREAM_INTERNAL: return "INTERNAL_ERROR";
    case DURSTREAM_TRANSPORT: return status == 0 ? "NETWORK_ERROR" : "UNEXPECTED_STATUS";
    case DURSTREAM_PROTOCOL: return status < 400 ? "PARSE_ERROR" : "UNEXPECTED_STATUS";
    case DURSTREAM_INVALID_ARGUMENT:
        return status == 400 && is(durstream_error_option(error), "offset") ? "INVALID_OFFSET"
                                                                            : "INVALID_ARGUMENT";
    default: return durstream_code_name(code);
    }
}

void answer_failure(call *call, durstream_code code) {
    const durstream_error *error = call->error;
    while (code == DURSTREAM_DELIVERY && durstream_error_cause(error) != NULL) {
        error = durstream_error_cause(error);
        code = durstream_error_code(error);
    }
    const char *text = error != NULL ? durstream_error_message(error) : call->problem;
    buffer message = {0};
    if (call->option != NULL) {
        buffer_add_text(&message, call->option);
        buffer_add_text(&message, ": ");
    }
    buffer_add_text(&message, text != NULL ? text : durstream_code_name(code));
    buffer_free(&call->answer);
    buffer_add_text(&call->answer, "{");
    json_put(&call->answer, "type", "error");
    json_put_bool(&call->answer, "success", false);
    json_put(&call->answer, "commandType", field(call, "type"));
    const int status = call->status != 0 ? call->status : durstream_error_status(error);
    if (status != 0) json_put_number(&call->answer, "status", (uint64_t)status);
    if (error != NULL) json_put_bool(&call->answer, "definite", durstream_error_definite(error));
    json_put(&call->answer, "errorCode", error_code(code, error));
    json_put(&call->answer, "message", message.data);
    buffer_free(&message);
}

/* --- What is remembered ------------------------------------------------------------------------ */

static known *path_of(const call *call) {
    const char *path = field(call, "path");
    for (known *at = paths; at != NULL; at = at->next)
        if (is(path, at->path)) return at;
    return NULL;
}

void remember(const call *call, const char *content_type) {
    known *entry = path_of(call);
    char *type = copy(content_type);
    if (entry == NULL) {
        entry = zeroed(sizeof *entry);
        entry->path = copy(field(call, "path"));
        entry->next = paths;
        paths = entry;
    }
    free(entry->content_type);
    entry->content_type = type;
}

named *producer_named(const char *name) {
    for (named *at = producers; at != NULL; at = at->next)
        if (is(name, at->name)) return at;
    return NULL;
}

named *keep_producer(const char *name, durstream_producer *producer) {
    named *entry = producer_named(name);
    if (entry == NULL) {
        entry = zeroed(sizeof *entry);
        entry->name = copy(name);
        entry->next = producers;
        producers = entry;
    }
    durstream_producer_free(entry->producer);
    entry->producer = producer;
    entry->accepted = 0;
    return entry;
}

/* --- Options and handles ----------------------------------------------------------------------- */

durstream_code set(call *call, durstream_options *options, const char *name, const char *value) {
    return value == NULL ? DURSTREAM_OK : durstream_options_set(options, name, value, &call->error);
}

durstream_code set_each(call *call, durstream_options *options, const char *object, setter setter) {
    const json *found = json_member(call->command, object);
    durstream_code code = DURSTREAM_OK;
    for (const json *at = found == NULL ? NULL : found->first; at != NULL; at = at->next)
        if (code == DURSTREAM_OK) code = setter(options, at->name.data, json_text(at), &call->error);
    return code;
}

durstream_code stream_options(call *call, const char *content_type, durstream_options **options) {
    const char *path = field(call, "path");
    *options = durstream_options_new();
    if (server == NULL) return refuse(call, DURSTREAM_INVALID_ARGUMENT, "`init` comes first");
    if (path == NULL) return refuse(call, DURSTREAM_INVALID_ARGUMENT, "`path` is missing");
    buffer url = {0};
    buffer_add_text(&url, server);
    buffer_add_text(&url, path);
    durstream_code code = set(call, *options, "url", url.data);
    buffer_free(&url);
    if (code == DURSTREAM_OK) code = set(call, *options, "content_type", content_type);
    if (code == DURSTREAM_OK) code = set_dynamic(call, *options);
    if (code == DURSTREAM_OK)
        code = set_each(call, *options, "headers", durstream_options_set_header);
    if (code == DURSTREAM_OK)
        code = set_each(call, *options, "params", durstream_options_set_param);
    if (code == DURSTREAM_OK)
        code = set_each(call, *options, "streamOptions", durstream_options_set);
    return code;
}

durstream_code open_stream(call *call, durstream_stream **stream) {
    const known *path = path_of(call);
    const char *content_type = field(call, "contentType");
    if (content_type == NULL && path != NULL) content_type = path->content_type;
    durstream_options *options = NULL;
    durstream_code code = stream_options(call, content_type, &options);
    if (code == DURSTREAM_OK) code = durstream_stream_connect(options, stream, &call->error);
    durstream_options_free(options);
    return code;
}

durstream_code data_of(call *call, buffer *decoded, const uint8_t **data, size_t *length) {
    const json *given = json_member(call->command, "data");
    if (given == NULL) return DURSTREAM_OK;
    if (given->type != JSON_STRING)
        return refuse(call, DURSTREAM_INVALID_ARGUMENT, "`data` is to be text");
    const buffer *bytes = &given->text;
    if (is(field(call, "binary"), "true")) {
        if (!base64_decode(decoded, bytes->data, bytes->length))
            return refuse(call, DURSTREAM_INVALID_ARGUMENT, "`data` is not base64");
        bytes = decoded;
    }
    *data = (const uint8_t *)bytes->data;
    *length = bytes->length;
    return DURSTREAM_OK;
}
