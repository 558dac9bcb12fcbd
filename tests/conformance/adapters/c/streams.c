/* The commands about a stream. */
#include "command.h"

/* Whether the stream is there; what HEAD cannot say, the request after it will. */
static bool is_there(const durstream_options *options) {
    durstream_stream *stream = NULL;
    durstream_metadata *metadata = NULL;
    if (durstream_stream_connect(options, &stream, NULL) == DURSTREAM_OK)
        durstream_stream_head(stream, LIMIT_MS, &metadata, NULL);
    const bool there = durstream_metadata_exists(metadata);
    durstream_metadata_free(metadata);
    durstream_stream_free(stream);
    return there;
}

durstream_code on_create(call *call) {
    durstream_options *options = NULL;
    durstream_stream *stream = NULL;
    buffer decoded = {0};
    const uint8_t *body = NULL;
    size_t length = 0;
    durstream_code code = stream_options(call, field(call, "contentType"), &options);
    if (code == DURSTREAM_OK) code = data_of(call, &decoded, &body, &length);
    const bool there = code == DURSTREAM_OK && is_there(options);
    if (code == DURSTREAM_OK) code = set(call, options, "ttl_seconds", field(call, "ttlSeconds"));
    if (code == DURSTREAM_OK) code = set(call, options, "expires_at", field(call, "expiresAt"));
    if (code == DURSTREAM_OK) code = set(call, options, "closed", field(call, "closed"));
    if (code == DURSTREAM_OK)
        code = durstream_stream_create(options, body, length, &stream, &call->error);
    if (code == DURSTREAM_OK) {
        remember(call, field(call, "contentType"));
        json_put_number(&call->answer, "status", there ? 200 : 201);
    }
    durstream_stream_free(stream);
    durstream_options_free(options);
    buffer_free(&decoded);
    return code;
}

/* `head`, and `connect`, which sends nothing by itself. */
durstream_code on_head(call *call) {
    durstream_stream *stream = NULL;
    durstream_metadata *metadata = NULL;
    durstream_code code = open_stream(call, &stream);
    if (code == DURSTREAM_OK)
        code = durstream_stream_head(stream, LIMIT_MS, &metadata, &call->error);
    if (code == DURSTREAM_OK && !durstream_metadata_exists(metadata)) {
        call->option = field(call, "path");
        call->status = 404;
        code = refuse(call, DURSTREAM_STREAM_NOT_FOUND, "there is no stream");
    }
    if (code == DURSTREAM_OK) {
        const char *content_type = durstream_metadata_content_type(metadata);
        uint64_t ttl_seconds = 0;
        json_put_number(&call->answer, "status", 200);
        json_put(&call->answer, "offset", durstream_metadata_offset(metadata));
        json_put(&call->answer, "contentType", content_type);
        json_put(&call->answer, "expiresAt", durstream_metadata_expires_at(metadata));
        if (durstream_metadata_ttl_seconds(metadata, &ttl_seconds))
            json_put_number(&call->answer, "ttlSeconds", ttl_seconds);
        json_put_bool(&call->answer, "streamClosed", durstream_metadata_stream_closed(metadata));
        remember(call, content_type);
    }
    durstream_metadata_free(metadata);
    durstream_stream_free(stream);
    return code;
}

durstream_code on_append(call *call) {
    durstream_stream *stream = NULL;
    durstream_outcome *outcome = NULL;
    buffer decoded = {0};
    const uint8_t *data = NULL;
    size_t length = 0;
    const char *seq = field(call, "seq");
    durstream_code code = data_of(call, &decoded, &data, &length);
    if (code == DURSTREAM_OK) code = open_stream(call, &stream);
    if (code == DURSTREAM_OK && seq != NULL)
        code = durstream_stream_append_seq(stream, data, length, seq, LIMIT_MS, &outcome,
                                           &call->error);
    else if (code == DURSTREAM_OK)
        code = durstream_stream_append(stream, data, length, LIMIT_MS, &outcome, &call->error);
    json_put_number(&call->answer, "status", 200);
    json_put(&call->answer, "offset", durstream_outcome_offset(outcome));
    json_put_bool(&call->answer, "duplicate", durstream_outcome_duplicate(outcome));
    durstream_outcome_free(outcome);
    durstream_stream_free(stream);
    buffer_free(&decoded);
    return code;
}

/* Gives the items one by one. */
static void next_item(durstream_source *source, void *user_data) {
    const json **at = user_data;
    if (*at == NULL) return;
    durstream_source_give(source, (const uint8_t *)(*at)->text.data, (*at)->text.length);
    *at = (*at)->next;
}

durstream_code on_append_stream(call *call) {
    durstream_stream *stream = NULL;
    durstream_flush_report report = {.size = sizeof report};
    const json *items = json_member(call->command, "items");
    const json *at = items == NULL ? NULL : items->first;
    durstream_code code = open_stream(call, &stream);
    if (code == DURSTREAM_OK)
        code = durstream_stream_append_stream(stream, next_item, &at, &report, &call->error);
    json_put_number(&call->answer, "delivered", report.delivered);
    json_put_number(&call->answer, "duplicates", report.duplicates);
    json_put_number(&call->answer, "uncertain", report.uncertain);
    durstream_stream_free(stream);
    return code;
}

static void put_chunk(buffer *answer, const durstream_chunk *chunk) {
    size_t length = 0;
    const uint8_t *data = durstream_chunk_data(chunk, &length);
    json_put_raw(answer, NULL, "{");
    if (is_utf8((const char *)data, length)) {
        json_put_bytes(answer, "data", (const char *)data, length);
    } else {
        buffer encoded = {0};
        base64_encode(&encoded, data, length);
        json_put(answer, "data", encoded.data);
        json_put_bool(answer, "binary", true);
        buffer_free(&encoded);
    }
    json_put(answer, "offset", durstream_chunk_offset(chunk));
    buffer_add_text(answer, "}");
}

durstream_code on_read(call *call) {
    durstream_stream *stream = NULL;
    durstream_reader *reader = NULL;
    durstream_chunk *chunk = NULL;
    const json *live = json_member(call->command, "live");
    if (live != NULL && !is(json_text(live), "false"))
        return refuse(call, DURSTREAM_NOT_SUPPORTED, "live reads are not supported");
    durstream_code code = open_stream(call, &stream);
    if (code == DURSTREAM_OK)
        code = durstream_stream_read(stream, field(call, "offset"), &reader, &call->error);
    json_put_number(&call->answer, "status", 200);
    json_put_raw(&call->answer, "chunks", "[");
    while (code == DURSTREAM_OK) {
        code = durstream_reader_next(reader, LIMIT_MS, &chunk, &call->error);
        if (code != DURSTREAM_OK || chunk == NULL) break;
        put_chunk(&call->answer, chunk);
        durstream_chunk_free(chunk);
        chunk = NULL;
    }
    buffer_add_text(&call->answer, "]");
    char *offset = durstream_reader_offset(reader);
    json_put(&call->answer, "offset", offset);
    json_put_bool(&call->answer, "upToDate", durstream_reader_up_to_date(reader));
    json_put_bool(&call->answer, "streamClosed", durstream_reader_stream_closed(reader));
    durstream_string_free(offset);
    durstream_reader_free(reader);
    durstream_stream_free(stream);
    return code;
}

durstream_code on_delete(call *call) {
    durstream_stream *stream = NULL;
    durstream_code code = open_stream(call, &stream);
    if (code == DURSTREAM_OK) code = durstream_stream_delete(stream, LIMIT_MS, &call->error);
    if (code == DURSTREAM_OK) remember(call, NULL);
    durstream_stream_free(stream);
    json_put_number(&call->answer, "status", 200);
    return code;
}

durstream_code on_close(call *call) {
    durstream_stream *stream = NULL;
    buffer decoded = {0};
    const uint8_t *data = NULL;
    size_t length = 0;
    char *offset = NULL;
    durstream_code code = data_of(call, &decoded, &data, &length);
    if (code == DURSTREAM_OK) code = open_stream(call, &stream);
    if (code == DURSTREAM_OK)
        code = durstream_stream_close(stream, data, length, LIMIT_MS, &offset, &call->error);
    json_put_number(&call->answer, "status", 200);
    json_put(&call->answer, "finalOffset", offset);
    durstream_string_free(offset);
    durstream_stream_free(stream);
    buffer_free(&decoded);
    return code;
}
