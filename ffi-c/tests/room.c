/* Room for writes: waiting for it, and the bound that all producers share. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "peer.h"

static durstream_code try_append(durstream_producer *producer, durstream_error **error) {
    return durstream_producer_try_append(producer, (const uint8_t *)"x", 1, 0, NULL, error);
}

static void ready_when_there_is_room(void) {
    const peer_answer answers[] = {
        {"Stream-Next-Offset: x1\r\n", "", NULL},
        {"Stream-Next-Offset: x2\r\n", "", NULL},
    };
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    peer peer;
    peer_start(&peer, answers, 2);
    durstream_options *options = durstream_options_new(), *own = durstream_options_new();
    OK(durstream_options_set(options, "url", peer.url, &error), error);
    OK(durstream_options_set(options, "content_type", "text/plain", &error), error);
    OK(durstream_stream_connect(options, &stream, &error), error);
    OK(durstream_options_set(own, "max_buffer_items", "1", &error), error);
    durstream_producer *producer = open_producer(stream, "room", own);
    OK(durstream_producer_wait_ready(producer, 0, &error), error);
    OK(try_append(producer, &error), error);
    FAILS(DURSTREAM_BUFFER_FULL, try_append(producer, &error), error);
    FAILS(DURSTREAM_TIMEOUT, durstream_producer_wait_ready(producer, 0, &error), error);
    peer_allow(&peer, 1);
    OK(durstream_producer_wait_ready(producer, 30000, &error), error);
    OK(try_append(producer, &error), error);
    peer_allow(&peer, 1);
    /* The write that found no room is reported, once. */
    FAILS(DURSTREAM_DELIVERY, durstream_producer_detach(producer, 30000, NULL, &error), error);
    FAILS(DURSTREAM_PRODUCER_CLOSED, durstream_producer_wait_ready(producer, -1, &error), error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    durstream_options_free(own);
    durstream_options_free(options);
    peer_end(&peer);
}

/* Entity state also waits for its stream. */
static void ready_when_there_is_a_stream(void) {
    const peer_answer answers[] = {{"Stream-Next-Offset: x1\r\n", "", "201 Created"}};
    durstream_error *error = NULL;
    durstream_state *state = NULL;
    peer peer;
    peer_start(&peer, answers, 1);
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "a", "a", "id", NULL, &error), error);
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", peer.url, &error), error);
    OK(durstream_options_set(options, "producer_id", "room", &error), error);
    OK(durstream_state_open(options, schema, &state, &error), error);
    FAILS(DURSTREAM_TIMEOUT, durstream_state_wait_ready(state, 0, &error), error);
    peer_allow(&peer, 1);
    OK(durstream_state_wait_ready(state, 30000, &error), error);
    OK(durstream_state_close(state, false, 30000, NULL, &error), error);
    durstream_state_free(state);
    durstream_schema_free(schema);
    durstream_options_free(options);
    peer_end(&peer);
    CHECK(strncmp(peer.requests[0], "PUT ", 4) == 0);
}

/* Fills a producer's buffer, and says how many writes it took. */
static int fill(durstream_producer *producer) {
    durstream_error *error = NULL;
    int taken = 0;
    while (try_append(producer, &error) == DURSTREAM_OK) taken++;
    CHECK(is(durstream_error_reason(error), "buffer-bytes-exceeded"));
    FAILS(DURSTREAM_BUFFER_FULL, durstream_error_code(error), error);
    return taken;
}

static void producers_share_a_bound(void) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = durstream_options_new(), *own = durstream_options_new();
    OK(durstream_options_set(options, "url", "http://127.0.0.1:1/x", &error), error);
    OK(durstream_stream_connect(options, &stream, &error), error);
    OK(durstream_options_set(own, "max_batch_bytes", "200", &error), error);
    durstream_producer *greedy = open_producer(stream, "greedy", own);
    durstream_producer *modest = open_producer(stream, "modest", own);
    durstream_set_buffer_budget(2000);
    const int much = fill(greedy), little = fill(modest);
    CHECK(much > little && little > 0); /* a batch of its own, whatever the other one holds */
    durstream_set_buffer_budget(512 << 20);
    OK(durstream_producer_wait_ready(modest, 0, &error), error);
    OK(try_append(modest, &error), error);
    durstream_producer_stop(greedy, NULL);
    durstream_producer_stop(modest, NULL);
    durstream_producer_free(greedy);
    durstream_producer_free(modest);
    durstream_stream_free(stream);
    durstream_options_free(own);
    durstream_options_free(options);
}

int main(void) {
    durstream_error *error = NULL;
    durstream_set_log(NULL, NULL);
    ready_when_there_is_room();
    ready_when_there_is_a_stream();
    producers_share_a_bound();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
