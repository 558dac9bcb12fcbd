/* Streams as handles: look, read from an offset to the end, delete, and the rest around it. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "peer.h"

static const char *const JSON = "application/json";

static void append_text(const durstream_stream *stream, const char *text) {
    durstream_error *error = NULL;
    OK(durstream_stream_append(stream, (const uint8_t *)text, strlen(text), 30000, NULL, &error),
       error);
}

static durstream_reader *read_from(const durstream_stream *stream, const char *offset) {
    durstream_error *error = NULL;
    durstream_reader *reader = NULL;
    OK(durstream_stream_read(stream, offset, &reader, &error), error);
    return reader;
}

/* The next chunk; NULL at the end. */
static durstream_chunk *next(durstream_reader *reader) {
    durstream_error *error = NULL;
    durstream_chunk *chunk = (durstream_chunk *)reader; /* to be overwritten */
    OK(durstream_reader_next(reader, 30000, &chunk, &error), error);
    return chunk;
}

static bool holds(const uint8_t *data, size_t length, const char *text) {
    return data != NULL && length == strlen(text) && memcmp(data, text, length) == 0;
}

static bool chunk_is(const durstream_chunk *chunk, const char *text) {
    size_t length = 0;
    const uint8_t *data = durstream_chunk_data(chunk, &length);
    return holds(data, length, text) && durstream_chunk_data(chunk, NULL) == data;
}

static bool item_is(const durstream_chunk *chunk, size_t index, const char *text) {
    size_t length = 0;
    const uint8_t *item = durstream_chunk_item(chunk, index, &length);
    return holds(item, length, text);
}

/* Reads the whole stream, which is one chunk. */
static void check_content(const durstream_stream *stream, const char *text) {
    durstream_reader *reader = read_from(stream, NULL);
    durstream_chunk *chunk = next(reader);
    CHECK(chunk_is(chunk, text) && next(reader) == NULL);
    durstream_chunk_free(chunk);
    durstream_reader_free(reader);
}

static void head_says_what_a_stream_is(void) {
    durstream_error *error = NULL;
    durstream_metadata *before = NULL, *after = NULL;
    durstream_outcome *outcome = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = options_for(fresh_path("head"), "text/plain");
    OK(durstream_options_set(options, "ttl_seconds", "3600", &error), error);
    OK(durstream_stream_create(options, (const uint8_t *)"abc", 3, &stream, &error), error);
    OK(durstream_stream_head(stream, -1, &before, &error), error);
    uint64_t seconds = 0;
    CHECK(durstream_metadata_exists(before));
    CHECK(is(durstream_metadata_content_type(before), "text/plain"));
    CHECK(durstream_metadata_ttl_seconds(before, &seconds) && seconds == 3600);
    CHECK(durstream_metadata_ttl_seconds(before, NULL));
    CHECK(durstream_metadata_expires_at(before) == NULL);
    CHECK(!durstream_metadata_stream_closed(before));

    OK(durstream_stream_append(stream, (const uint8_t *)"def", 3, 30000, &outcome, &error), error);
    OK(durstream_stream_close(stream, NULL, 0, 30000, NULL, &error), error);
    OK(durstream_stream_head(stream, 30000, &after, &error), error);
    CHECK(durstream_metadata_stream_closed(after));
    CHECK(is(durstream_metadata_offset(after), durstream_outcome_offset(outcome)));
    CHECK(!is(durstream_metadata_offset(after), durstream_metadata_offset(before)));
    durstream_metadata_free(before);
    durstream_metadata_free(after);
    durstream_outcome_free(outcome);
    durstream_stream_free(stream);
    durstream_options_free(options);

    /* Nothing is written to `seconds` where there is no lifetime, but a fixed end. */
    options = options_for(fresh_path("expires"), NULL);
    OK(durstream_options_set(options, "expires_at", "2999-01-01T00:00:00Z", &error), error);
    OK(durstream_stream_create(options, NULL, 0, &stream, &error), error);
    OK(durstream_stream_head(stream, 30000, &after, &error), error);
    CHECK(!durstream_metadata_ttl_seconds(after, &seconds) && seconds == 3600);
    CHECK(strncmp(durstream_metadata_expires_at(after), "2999-01-01T00:00:00", 19) == 0);
    durstream_metadata_free(after);
    durstream_stream_free(stream);
    durstream_options_free(options);
}

/* Ends the program unless the error is that of a missing stream and names it. */
static void check_missing(durstream_code code, durstream_error **error, const char *path) {
    CHECK(durstream_error_status(*error) == 404);
    CHECK(strstr(durstream_error_message(*error), path) != NULL);
    FAILS(DURSTREAM_STREAM_NOT_FOUND, code, *error);
}

static void what_is_not_there_is_said_by_name(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_metadata *metadata = NULL;
    durstream_chunk *chunk = NULL;
    const char *path = fresh_path("missing");
    durstream_options *options = options_for(path, NULL);
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_reader *reader = read_from(stream, NULL);
    OK(durstream_stream_head(stream, 30000, &metadata, &error), error);
    uint64_t seconds = 7;
    CHECK(!durstream_metadata_exists(metadata) && !durstream_metadata_stream_closed(metadata));
    CHECK(durstream_metadata_content_type(metadata) == NULL);
    CHECK(durstream_metadata_offset(metadata) == NULL);
    CHECK(durstream_metadata_expires_at(metadata) == NULL);
    CHECK(!durstream_metadata_ttl_seconds(metadata, &seconds) && seconds == 7);
    durstream_metadata_free(metadata);
    check_missing(durstream_stream_delete(stream, 30000, &error), &error, path);
    check_missing(durstream_reader_next(reader, 30000, &chunk, &error), &error, path);
    CHECK(chunk == NULL && durstream_reader_offset(reader) == NULL);
    durstream_reader_free(reader);
    durstream_stream_free(stream);
    durstream_options_free(options);
}

static void deleted_is_gone(void) {
    durstream_error *error = NULL;
    const char *path = fresh_path("delete");
    durstream_stream *stream = create(path, "text/plain");
    append_text(stream, "old");
    OK(durstream_stream_delete(stream, 30000, &error), error);
    check_missing(durstream_stream_delete(stream, 30000, &error), &error, path);
    durstream_stream_free(stream);
    stream = create(path, "text/plain");
    append_text(stream, "new");
    check_content(stream, "new");
    durstream_stream_free(stream);
}

static void reading_goes_on_where_it_left_off(void) {
    durstream_error *error = NULL;
    const char *big = "{\"n\": 12345678901234567890, \"n\":1}";
    durstream_stream *stream = create(fresh_path("resume"), JSON);
    durstream_reader *reader = read_from(stream, NULL);
    CHECK(!durstream_reader_up_to_date(reader) && durstream_reader_offset(reader) == NULL);
    CHECK(next(reader) == NULL && durstream_reader_up_to_date(reader));
    append_text(stream, big);
    durstream_chunk *first = next(reader);
    size_t count = 0;
    OK(durstream_chunk_item_count(first, &count, &error), error);
    CHECK(count == 1 && item_is(first, 0, big) && durstream_chunk_item(first, 1, NULL) == NULL);
    CHECK(durstream_chunk_up_to_date(first) && !durstream_chunk_stream_closed(first));
    CHECK(next(reader) == NULL);
    char *offset = durstream_reader_offset(reader);
    CHECK(is(offset, durstream_chunk_offset(first)));

    append_text(stream, "\"two\"");
    append_text(stream, "[3, 4]");
    durstream_reader *later = read_from(stream, offset);
    durstream_stream_free(stream); /* readers go on */
    durstream_reader *const both[] = {reader, later};
    for (int n = 0; n < 2; n++) {
        durstream_chunk *second = next(both[n]);
        OK(durstream_chunk_item_count(second, &count, &error), error);
        CHECK(count == 2 && item_is(second, 0, "\"two\"") && item_is(second, 1, "[3, 4]"));
        CHECK(next(both[n]) == NULL && !durstream_reader_stream_closed(both[n]));
        durstream_chunk_free(second);
    }
    durstream_string_free(offset);
    durstream_chunk_free(first);
    durstream_reader_free(reader);
    durstream_reader_free(later);
}

enum { MANY = 5000, LONGEST = 1000 };

/* One of many messages of all sizes, with everything in them that divides messages elsewhere. */
static const char *message(int n, char *text) {
    if (n % 500 == 7) {
        memset(text, 'x', LONGEST - 1);
        text[0] = text[LONGEST - 2] = '"';
        text[LONGEST - 1] = '\0';
        return text;
    }
    static const char *const kinds[] = {"%d", "\"], \\\"%d\\\\\"", "[[%d, [] ], \"[\"]", "{\"a\": {\"]}\":%d}}"};
    snprintf(text, LONGEST, kinds[n % 4], n);
    return text;
}

/* Asks for each message in an order of its own. */
static void *ask_in_any_order(void *argument) {
    const durstream_chunk *chunk = (const durstream_chunk *)argument;
    char text[LONGEST];
    for (int n = 0; n < MANY; n++) CHECK(item_is(chunk, (size_t)n, message(n, text)));
    for (int n = MANY - 1; n >= 0; n--) CHECK(item_is(chunk, (size_t)n, message(n, text)));
    for (int n = 0; n < MANY; n++) {
        const int other = (int)((long)n * 3571 % MANY);
        CHECK(item_is(chunk, (size_t)other, message(other, text)));
        CHECK(item_is(chunk, (size_t)other, text)); /* and again */
    }
    CHECK(durstream_chunk_item(chunk, MANY, NULL) == NULL);
    CHECK(durstream_chunk_item(chunk, SIZE_MAX, NULL) == NULL);
    return NULL;
}

static void messages_are_found_in_any_order(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    char *body = (char *)malloc((size_t)MANY * 32 + MANY / 500 * LONGEST);
    char text[LONGEST];
    size_t length = 0, count = 0;
    for (int n = 0; n < MANY; n++)
        length += (size_t)sprintf(body + length, "%s%s", n == 0 ? "[" : ", ", message(n, text));
    body[length++] = ']';
    durstream_options *options = options_for(fresh_path("many"), JSON);
    OK(durstream_stream_create(options, (const uint8_t *)body, length, &stream, &error), error);
    durstream_reader *reader = read_from(stream, NULL);
    durstream_chunk *chunk = next(reader);
    OK(durstream_chunk_item_count(chunk, &count, &error), error);
    CHECK(count == MANY);
    pthread_t other;
    CHECK(pthread_create(&other, NULL, ask_in_any_order, chunk) == 0);
    ask_in_any_order(chunk);
    CHECK(pthread_join(other, NULL) == 0);
    durstream_chunk_free(chunk);
    durstream_reader_free(reader);
    durstream_stream_free(stream);
    durstream_options_free(options);
    free(body);
}

static void streams_may_be_born_closed(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = options_for(fresh_path("born-closed"), "text/plain");
    OK(durstream_options_set(options, "closed", "true", &error), error);
    OK(durstream_stream_create(options, (const uint8_t *)"all", 3, &stream, &error), error);
    durstream_reader *reader = read_from(stream, NULL);
    durstream_chunk *chunk = next(reader);
    CHECK(chunk_is(chunk, "all") && durstream_chunk_stream_closed(chunk));
    CHECK(durstream_reader_stream_closed(reader) && next(reader) == NULL && next(reader) == NULL);
    size_t count = 7;
    FAILS(DURSTREAM_NOT_SUPPORTED, durstream_chunk_item_count(chunk, &count, &error), error);
    CHECK(count == 7 && durstream_chunk_item(chunk, 0, NULL) == NULL);
    FAILS(DURSTREAM_STREAM_CLOSED,
          durstream_stream_append(stream, (const uint8_t *)"x", 1, 30000, NULL, &error), error);
    durstream_chunk_free(chunk);
    durstream_reader_free(reader);
    durstream_stream_free(stream);
    durstream_options_free(options);
}

static durstream_code append_seq(const durstream_stream *stream, const char *text, const char *seq,
                                 durstream_outcome **outcome, durstream_error **error) {
    return durstream_stream_append_seq(stream, (const uint8_t *)text, strlen(text), seq, 30000,
                                       outcome, error);
}

static void sequences_have_to_rise(void) {
    durstream_error *error = NULL;
    durstream_outcome *outcome = NULL;
    durstream_stream *stream = create(fresh_path("seq"), "text/plain");
    OK(append_seq(stream, "a", "001", NULL, &error), error);
    OK(append_seq(stream, "b", "003", &outcome, &error), error);
    CHECK(durstream_outcome_status(outcome) == DURSTREAM_STATUS_DELIVERED);
    durstream_outcome_free(outcome);
    outcome = NULL;
    CHECK(append_seq(stream, "no", "003", &outcome, &error) == DURSTREAM_SEQUENCE_CONFLICT);
    CHECK(durstream_error_status(error) == 409 && durstream_error_definite(error));
    durstream_error_free(error);
    error = NULL;
    FAILS(DURSTREAM_SEQUENCE_CONFLICT, append_seq(stream, "no", "002", &outcome, &error), error);
    CHECK(outcome == NULL);
    append_text(stream, "c");
    OK(append_seq(stream, "d", "004", NULL, &error), error);
    check_content(stream, "abcd");
    durstream_stream_free(stream);
}

static void wrong_offsets_are_named(void) {
    durstream_error *error = NULL;
    durstream_chunk *chunk = NULL;
    durstream_stream *stream = create(fresh_path("offset"), "text/plain");
    durstream_reader *reader = read_from(stream, "no offset");
    CHECK(durstream_reader_next(reader, 30000, &chunk, &error) == DURSTREAM_INVALID_ARGUMENT);
    CHECK(is(durstream_error_option(error), "offset") && durstream_error_status(error) == 400);
    CHECK(chunk == NULL);
    durstream_error_free(error);
    durstream_reader_free(reader);
    durstream_stream_free(stream);
}

/* A stream at a peer, with a parameter in every request. */
static durstream_stream *at_peer(const peer *peer) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", peer->url, &error), error);
    OK(durstream_options_set_param(options, "tenant", "a&b c", &error), error);
    OK(durstream_stream_connect(options, &stream, &error), error);
    durstream_options_free(options);
    return stream;
}

static bool asked_for(const char *request, const char *offset) {
    char expected[32];
    snprintf(expected, sizeof expected, "offset=%s ", offset);
    return strncmp(request, "GET /v1/stream/x?", 17) == 0 && strstr(request, expected) != NULL &&
           strstr(request, "tenant=a%26b%20c&") != NULL;
}

#define JSON_TYPE "Content-Type: application/json\r\n"

static void the_end_may_be_several_requests_away(void) {
    const peer_answer answers[] = {
        {JSON_TYPE "Stream-Next-Offset: x2\r\n", "[1, 2]", NULL},
        {JSON_TYPE "Stream-Next-Offset: x3\r\n", "[]", NULL}, /* nothing, but not the end */
        {"Content-Type: application/x-ndjson\r\nStream-Next-Offset: x5\r\nStream-Up-To-Date: true\r\n",
         "3\n{\"n\": 4}\n", NULL},
    };
    peer peer;
    peer_start(&peer, answers, 3);
    peer_allow(&peer, 3);
    durstream_stream *stream = at_peer(&peer);
    durstream_reader *reader = read_from(stream, NULL);
    durstream_chunk *first = next(reader), *second = next(reader);
    CHECK(chunk_is(first, "[1, 2]") && item_is(first, 0, "1") && item_is(first, 1, "2"));
    CHECK(is(durstream_chunk_offset(first), "x2") && !durstream_chunk_up_to_date(first));
    CHECK(item_is(second, 0, "3") && item_is(second, 1, "{\"n\": 4}"));
    CHECK(is(durstream_chunk_offset(second), "x5") && durstream_chunk_up_to_date(second));
    CHECK(next(reader) == NULL);
    durstream_chunk_free(first);
    durstream_chunk_free(second);
    durstream_reader_free(reader);
    durstream_stream_free(stream);
    peer_end(&peer);
    CHECK(asked_for(peer.requests[0], "-1") && asked_for(peer.requests[1], "x2"));
    CHECK(asked_for(peer.requests[2], "x3"));
}

static void a_wait_given_up_loses_nothing(void) {
    const peer_answer answers[] = {
        {"Stream-Next-Offset: x1\r\n", "late", NULL},
        {"Stream-Next-Offset: x2\r\nStream-Up-To-Date: true\r\n", "later", NULL},
    };
    peer peer;
    durstream_error *error = NULL;
    durstream_chunk *chunk = NULL;
    peer_start(&peer, answers, 2);
    durstream_stream *stream = at_peer(&peer);
    durstream_reader *reader = read_from(stream, NULL);
    FAILS(DURSTREAM_TIMEOUT, durstream_reader_next(reader, 0, &chunk, &error), error);
    FAILS(DURSTREAM_TIMEOUT, durstream_reader_next(reader, 50, &chunk, &error), error);
    CHECK(chunk == NULL && durstream_reader_offset(reader) == NULL);
    peer_allow(&peer, 2);
    chunk = next(reader);
    CHECK(chunk_is(chunk, "late"));
    durstream_chunk_free(chunk);
    chunk = next(reader);
    CHECK(chunk_is(chunk, "later") && next(reader) == NULL);
    durstream_chunk_free(chunk);
    durstream_reader_free(reader);
    durstream_stream_free(stream);
    peer_end(&peer);
    CHECK(asked_for(peer.requests[0], "-1") && asked_for(peer.requests[1], "x1"));
}

static void broken_json_is_no_chunk(void) {
    const peer_answer answers[] = {
        {JSON_TYPE "Stream-Next-Offset: x2\r\nStream-Up-To-Date: true\r\n", "[1, {\"n\":", NULL},
        {JSON_TYPE "Stream-Next-Offset: x2\r\nStream-Up-To-Date: true\r\n", "[1, {}]", NULL},
    };
    peer peer;
    durstream_error *error = NULL;
    durstream_chunk *chunk = NULL;
    peer_start(&peer, answers, 2);
    peer_allow(&peer, 2);
    durstream_stream *stream = at_peer(&peer);
    durstream_reader *reader = read_from(stream, "x1");
    FAILS(DURSTREAM_PROTOCOL, durstream_reader_next(reader, 30000, &chunk, &error), error);
    CHECK(chunk == NULL && !durstream_reader_up_to_date(reader));
    chunk = next(reader); /* from the same place */
    CHECK(item_is(chunk, 1, "{}"));
    durstream_chunk_free(chunk);
    durstream_reader_free(reader);
    durstream_stream_free(stream);
    peer_end(&peer);
    CHECK(asked_for(peer.requests[1], "x1"));
}

#define LINES_TYPE "Content-Type: application/x-ndjson\r\n"

static void messages_are_whole_wherever_answers_end(void) {
    const peer_answer answers[] = {
        {LINES_TYPE "Stream-Next-Offset: 0011\r\n", "12\n{\"a\": \"\xc3", NULL},
        {LINES_TYPE "Stream-Next-Offset: 0017\r\nStream-Up-To-Date: true\r\n",
         "{\"a\": \"\xc3\xa9\\\"\"}\n", NULL},
    };
    peer peer;
    peer_start(&peer, answers, 2);
    peer_allow(&peer, 2);
    durstream_stream *stream = at_peer(&peer);
    durstream_reader *reader = read_from(stream, NULL);
    durstream_chunk *chunk = next(reader);
    CHECK(item_is(chunk, 0, "12") && is(durstream_chunk_offset(chunk), "0003"));
    CHECK(!durstream_chunk_up_to_date(chunk));
    durstream_chunk_free(chunk);
    chunk = next(reader);
    CHECK(item_is(chunk, 0, "{\"a\": \"\xc3\xa9\\\"\"}"));
    durstream_chunk_free(chunk);
    CHECK(next(reader) == NULL);
    durstream_reader_free(reader);
    durstream_stream_free(stream);
    peer_end(&peer);
    CHECK(asked_for(peer.requests[1], "0003"));
}

/* What a read is told that the server answers with 410; it has the stream, or has not. */
static durstream_error *gone(const char *offset_header, const char *head_status) {
    const peer_answer answers[] = {
        {offset_header, "", "410 Gone"},
        {"Stream-Next-Offset: 9\r\n", "", head_status},
    };
    peer peer;
    durstream_error *error = NULL;
    durstream_chunk *chunk = NULL;
    peer_start(&peer, answers, 2);
    peer_allow(&peer, 2);
    durstream_stream *stream = at_peer(&peer);
    durstream_reader *reader = read_from(stream, "3");
    CHECK(durstream_reader_next(reader, 30000, &chunk, &error) == DURSTREAM_STREAM_GONE);
    durstream_reader_free(reader);
    durstream_stream_free(stream);
    peer_end(&peer);
    return error;
}

static void a_dropped_offset_is_no_deleted_stream(void) {
    durstream_error *error = gone("Stream-Next-Offset: 7\r\n", NULL);
    CHECK(is(durstream_error_reason(error), "offset-gone"));
    CHECK(is(durstream_error_earliest_offset(error), "7"));
    CHECK(strstr(durstream_error_message(error), "no longer keeps") != NULL);
    CHECK(strstr(durstream_error_json(error), "\"earliest_offset\":\"7\"") != NULL);
    durstream_error_free(error);
    error = gone("", "404 Not Found");
    CHECK(is(durstream_error_reason(error), "gone"));
    CHECK(durstream_error_earliest_offset(error) == NULL);
    CHECK(strstr(durstream_error_message(error), "deleted") != NULL);
    durstream_error_free(error);
}

int main(void) {
    durstream_error *error = NULL;
    head_says_what_a_stream_is();
    what_is_not_there_is_said_by_name();
    deleted_is_gone();
    reading_goes_on_where_it_left_off();
    messages_are_found_in_any_order();
    streams_may_be_born_closed();
    sequences_have_to_rise();
    wrong_offsets_are_named();
    the_end_may_be_several_requests_away();
    a_wait_given_up_loses_nothing();
    broken_json_is_no_chunk();
    messages_are_whole_wherever_answers_end();
    a_dropped_offset_is_no_deleted_stream();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
