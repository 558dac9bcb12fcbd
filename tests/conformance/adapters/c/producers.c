/* The commands about producers: the suite's `idempotent-`, and ours by name. */
#include "command.h"

/* Opens a producer on the command's stream. */
static durstream_code open_producer(call *call, const durstream_options *options,
                                    durstream_producer **producer) {
    durstream_stream *stream = NULL;
    durstream_code code = open_stream(call, &stream);
    if (code == DURSTREAM_OK)
        code = durstream_producer_open(stream, field(call, "producerId"), options, producer,
                                       &call->error);
    durstream_stream_free(stream);
    return code;
}

static durstream_code identity_options(call *call, durstream_options *options) {
    durstream_code code = set(call, options, "epoch", field(call, "epoch"));
    if (code == DURSTREAM_OK) code = set(call, options, "auto_claim", field(call, "autoClaim"));
    return code;
}

/* The text of the one item at hand. */
static durstream_code append_item(call *call, durstream_producer *producer, const json *item) {
    if (item == NULL || item->type != JSON_STRING)
        return refuse(call, DURSTREAM_INVALID_ARGUMENT, "what is appended is to be text");
    return durstream_producer_append(producer, (const uint8_t *)item->text.data, item->text.length,
                                     0, NULL, &call->error);
}

/* --- The suite's ------------------------------------------------------------------------------- */

/* The producer that the commands of one path, id and epoch share. */
static durstream_code shared(call *call, named **found) {
    static const char *const parts[] = {"path", "producerId", "epoch"};
    buffer name = {0};
    for (int n = 0; n < 3; n++) {
        const char *part = field(call, parts[n]);
        buffer_add_text(&name, part == NULL ? "" : part);
        buffer_add_text(&name, "|");
    }
    durstream_producer *producer = NULL;
    durstream_options *options = durstream_options_new();
    durstream_code code = DURSTREAM_OK;
    *found = producer_named(name.data);
    if (*found == NULL || (*found)->producer == NULL) {
        code = identity_options(call, options);
        if (code == DURSTREAM_OK) code = set(call, options, "max_in_flight", "1");
        if (code == DURSTREAM_OK) code = open_producer(call, options, &producer);
        if (code == DURSTREAM_OK) *found = keep_producer(name.data, producer);
    }
    durstream_options_free(options);
    buffer_free(&name);
    return code;
}

durstream_code on_idempotent_append(call *call) {
    named *found = NULL;
    durstream_code code = shared(call, &found);
    if (code == DURSTREAM_OK)
        code = append_item(call, found->producer, json_member(call->command, "data"));
    if (code == DURSTREAM_OK)
        code = durstream_producer_flush(found->producer, LIMIT_MS, NULL, &call->error);
    json_put_number(&call->answer, "status", 200);
    return code;
}

/* With several requests at once each item is its own; else all are one, which flush seals. */
durstream_code on_idempotent_append_batch(call *call) {
    durstream_producer *producer = NULL;
    durstream_options *options = durstream_options_new();
    const json *items = json_member(call->command, "items");
    const char *in_flight = field(call, "maxInFlight");
    if (in_flight == NULL) in_flight = "1";
    durstream_code code = identity_options(call, options);
    if (code == DURSTREAM_OK) code = set(call, options, "max_in_flight", in_flight);
    if (code == DURSTREAM_OK)
        code = is(in_flight, "1") ? set(call, options, "linger_ms", "1000")
                                  : set(call, options, "max_batch_bytes", "1");
    if (code == DURSTREAM_OK) code = open_producer(call, options, &producer);
    for (const json *at = items == NULL ? NULL : items->first; at != NULL; at = at->next)
        if (code == DURSTREAM_OK) code = append_item(call, producer, at);
    if (code == DURSTREAM_OK)
        code = durstream_producer_flush(producer, LIMIT_MS, NULL, &call->error);
    if (code == DURSTREAM_OK)
        code = durstream_producer_detach(producer, LIMIT_MS, NULL, &call->error);
    json_put_number(&call->answer, "status", 200);
    durstream_producer_free(producer);
    durstream_options_free(options);
    return code;
}

static durstream_code close_producer(call *call, const named *found) {
    buffer decoded = {0};
    const uint8_t *data = NULL;
    size_t length = 0;
    char *offset = NULL;
    durstream_code code = data_of(call, &decoded, &data, &length);
    if (code == DURSTREAM_OK)
        code = durstream_producer_close(found->producer, data, length, LIMIT_MS, &offset,
                                        &call->error);
    json_put(&call->answer, "finalOffset", offset);
    durstream_string_free(offset);
    buffer_free(&decoded);
    return code;
}

/* The producer is kept: closing it again gives its first result. */
durstream_code on_idempotent_close(call *call) {
    named *found = NULL;
    durstream_code code = shared(call, &found);
    if (code == DURSTREAM_OK) code = close_producer(call, found);
    json_put_number(&call->answer, "status", 200);
    return code;
}

durstream_code on_idempotent_detach(call *call) {
    named *found = NULL;
    durstream_code code = shared(call, &found);
    if (code == DURSTREAM_OK)
        code = durstream_producer_detach(found->producer, LIMIT_MS, NULL, &call->error);
    if (code == DURSTREAM_OK) keep_producer(found->name, NULL);
    json_put_number(&call->answer, "status", 200);
    return code;
}

/* --- Ours -------------------------------------------------------------------------------------- */

durstream_code on_producer_open(call *call) {
    durstream_producer *producer = NULL;
    durstream_options *options = durstream_options_new();
    const char *name = field(call, "as");
    durstream_code code = set_each(call, options, "options", durstream_options_set);
    if (code == DURSTREAM_OK && name == NULL)
        code = refuse(call, DURSTREAM_INVALID_ARGUMENT, "`as` is missing");
    if (code == DURSTREAM_OK) code = open_producer(call, options, &producer);
    if (code == DURSTREAM_OK) keep_producer(name, producer);
    durstream_options_free(options);
    return code;
}

static durstream_code by_name(call *call, named **found) {
    *found = producer_named(field(call, "producer"));
    if (*found != NULL) return DURSTREAM_OK;
    return refuse(call, DURSTREAM_INVALID_ARGUMENT, "there is no producer of this name");
}

/* Waits neither for room nor for outcomes. */
durstream_code on_producer_append(call *call) {
    named *found = NULL;
    const json *items = json_member(call->command, "items");
    const durstream_code code = by_name(call, &found);
    if (code != DURSTREAM_OK) return code;
    uint64_t accepted = 0, index = 0;
    buffer refused = {0};
    buffer_add_text(&refused, "[");
    for (const json *at = items == NULL ? NULL : items->first; at != NULL; at = at->next, index++) {
        durstream_error *error = NULL;
        const durstream_code taken =
            durstream_producer_try_append(found->producer, (const uint8_t *)at->text.data,
                                          at->text.length, 0, NULL, &error);
        if (taken == DURSTREAM_OK) {
            accepted++;
            continue;
        }
        json_put_raw(&refused, NULL, "{");
        json_put_number(&refused, "index", index);
        json_put(&refused, "errorCode", error_code(taken, error));
        buffer_add_text(&refused, "}");
        durstream_error_free(error);
    }
    buffer_add_text(&refused, "]");
    found->accepted += accepted;
    json_put_number(&call->answer, "accepted", accepted);
    json_put_raw(&call->answer, "refused", refused.data);
    buffer_free(&refused);
    return code;
}

durstream_code on_producer_flush(call *call) {
    named *found = NULL;
    durstream_flush_report report = {.size = sizeof report};
    durstream_code code = by_name(call, &found);
    if (code == DURSTREAM_OK)
        code = durstream_producer_flush(found->producer, LIMIT_MS, &report, &call->error);
    json_put_number(&call->answer, "delivered", report.delivered);
    json_put_number(&call->answer, "duplicates", report.duplicates);
    json_put_number(&call->answer, "uncertain", report.uncertain);
    return code;
}

durstream_code on_producer_close(call *call) {
    named *found = NULL;
    const durstream_code code = by_name(call, &found);
    return code == DURSTREAM_OK ? close_producer(call, found) : code;
}

durstream_code on_producer_detach(call *call) {
    named *found = NULL;
    const durstream_code code = by_name(call, &found);
    if (code != DURSTREAM_OK) return code;
    return durstream_producer_detach(found->producer, LIMIT_MS, NULL, &call->error);
}

static void put_outcome(buffer *answer, const durstream_outcome *outcome) {
    const durstream_reason reason = durstream_outcome_reason(outcome);
    json_put_raw(answer, NULL, "{");
    json_put(answer, "status", durstream_status_name(durstream_outcome_status(outcome)));
    if (reason != DURSTREAM_REASON_NONE)
        json_put(answer, "reason", durstream_reason_name(reason));
    if (durstream_outcome_duplicate(outcome)) json_put_bool(answer, "duplicate", true);
    if (durstream_outcome_maybe_duplicate(outcome)) json_put_bool(answer, "maybeDuplicate", true);
    buffer_add_text(answer, "}");
}

durstream_code on_producer_outcomes(call *call) {
    named *found = NULL;
    durstream_outcome *outcome = NULL;
    durstream_code code = by_name(call, &found);
    json_put_raw(&call->answer, "outcomes", "[");
    for (uint64_t id = 1; code == DURSTREAM_OK && id <= found->accepted; id++) {
        code = durstream_producer_wait(found->producer, id, LIMIT_MS, &outcome, &call->error);
        if (code != DURSTREAM_OK) break;
        put_outcome(&call->answer, outcome);
        durstream_outcome_free(outcome);
    }
    buffer_add_text(&call->answer, "]");
    return code;
}
