/* Transactions and groups: whole in the stream, or not at all. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "http.h"

#include <pthread.h>
#include <sys/wait.h>

static durstream_state *open_state(const char *path) {
    durstream_error *error = NULL;
    durstream_schema *schema = durstream_schema_new();
    const char *numbers = "{\"properties\":{\"n\":{\"type\":\"integer\"}}}";
    OK(durstream_schema_add(schema, "orders", "order", "id", numbers, &error), error);
    durstream_options *options = options_for(path, NULL);
    OK(durstream_options_set(options, "producer_id", "c-transactions", &error), error);
    OK(durstream_options_set(options, "max_batch_items", "3", &error), error);
    durstream_state *state = NULL;
    OK(durstream_state_open(options, schema, &state, &error), error);
    durstream_options_free(options);
    durstream_schema_free(schema);
    return state;
}

static durstream_code change(durstream_transaction *transaction, int32_t operation,
                             const char *value, durstream_error **error) {
    return durstream_transaction_change(transaction, operation, "orders", (const uint8_t *)value,
                                        strlen(value), NULL, error);
}

static void a_transaction_is_one_piece(void) {
    const char *path = fresh_path("transaction");
    durstream_state *state = open_state(path);
    durstream_error *error = NULL;
    durstream_transaction *transaction = NULL;
    OK(durstream_state_begin(state, "tx-1", &transaction, &error), error);
    CHECK(is(durstream_transaction_txid(transaction), "tx-1"));
    OK(change(transaction, DURSTREAM_OPERATION_INSERT, "{\"id\":\"a\"}", &error), error);
    OK(durstream_state_upsert(state, "orders", (const uint8_t *)"{\"id\":\"b\"}", 10, 0, NULL,
                              &error),
       error);
    OK(change(transaction, DURSTREAM_OPERATION_DELETE, "{\"id\":\"c\"}", &error), error);
    uint64_t id = 0;
    OK(durstream_transaction_commit(transaction, &id, &error), error);
    CHECK(id == 3);
    FAILS(DURSTREAM_INVALID_ARGUMENT, durstream_transaction_commit(transaction, &id, &error), error);
    FAILS(DURSTREAM_INVALID_ARGUMENT,
          change(transaction, DURSTREAM_OPERATION_INSERT, "{\"id\":\"a\"}", &error), error);
    durstream_transaction_free(transaction);

    /* Rolled back, and empty. */
    OK(durstream_state_begin(state, NULL, &transaction, &error), error);
    CHECK(strlen(durstream_transaction_txid(transaction)) == 36);
    OK(change(transaction, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"d\"}", &error), error);
    durstream_transaction_free(transaction);
    OK(durstream_state_begin(state, NULL, &transaction, &error), error);
    OK(durstream_transaction_try_commit(transaction, &id, &error), error);
    CHECK(id == 0);
    durstream_transaction_free(transaction);

    OK(durstream_state_flush(state, 30000, NULL, &error), error);
    char *body = read_stream(path);
    CHECK(is(body, "[{\"type\":\"order\",\"key\":\"b\",\"value\":{\"id\":\"b\"},"
                   "\"headers\":{\"operation\":\"upsert\"}},"
                   "{\"type\":\"order\",\"key\":\"a\",\"value\":{\"id\":\"a\"},"
                   "\"headers\":{\"operation\":\"insert\",\"txid\":\"tx-1\"}},"
                   "{\"type\":\"order\",\"key\":\"c\","
                   "\"headers\":{\"operation\":\"delete\",\"txid\":\"tx-1\"}}]"));
    free(body);
    durstream_state_free(state);
}

static void a_refused_transaction_sends_nothing(void) {
    durstream_state *state = open_state(fresh_path("refused"));
    durstream_error *error = NULL;
    durstream_transaction *transaction = NULL;
    OK(durstream_state_begin(state, NULL, &transaction, &error), error);
    OK(change(transaction, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"a\"}", &error), error);
    OK(change(transaction, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"b\",\"n\":\"x\"}", &error),
       error);
    OK(change(transaction, DURSTREAM_OPERATION_UPSERT, "{}", &error), error);
    uint64_t id = 4711;
    CHECK(durstream_transaction_commit(transaction, &id, &error) == DURSTREAM_VALIDATION);
    CHECK(id == 4711 && is(durstream_error_reason(error), "invalid-value"));
    CHECK(durstream_error_issue_count(error) == 2);
    CHECK(strstr(durstream_error_issue_message(error, 1), "`id` is missing") != NULL);
    durstream_error_free(error);
    error = NULL;
    durstream_transaction_free(transaction);

    OK(durstream_state_begin(state, NULL, &transaction, &error), error);
    for (int n = 0; n < 4; n++)
        OK(change(transaction, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"a\"}", &error), error);
    FAILS(DURSTREAM_TOO_LARGE, durstream_transaction_commit(transaction, NULL, &error), error);
    durstream_transaction_free(transaction);
    CHECK(durstream_state_pending_count(state) == 0 && durstream_state_next_seq(state) == 0);
    FAILS(DURSTREAM_INVALID_ARGUMENT, durstream_state_begin(state, "", &transaction, &error), error);
    durstream_state_free(state);
}

static void *refused_elsewhere(void *transaction) {
    durstream_error *error = NULL;
    FAILS(DURSTREAM_INVALID_ARGUMENT,
          change(transaction, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"a\"}", &error), error);
    FAILS(DURSTREAM_INVALID_ARGUMENT, durstream_transaction_commit(transaction, NULL, &error), error);
    return NULL;
}

static void a_transaction_is_of_one_thread_and_process(void) {
    durstream_state *state = open_state(fresh_path("threads"));
    durstream_error *error = NULL;
    durstream_transaction *transaction = NULL, *nested = NULL;
    OK(durstream_state_begin(state, NULL, &transaction, &error), error);
    FAILS(DURSTREAM_INVALID_ARGUMENT, durstream_state_begin(state, NULL, &nested, &error), error);
    CHECK(nested == NULL);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, refused_elsewhere, transaction) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    /* By a pipe: valgrind takes what the parent's threads held for leaks of the child. */
    int told[2];
    CHECK(pipe(told) == 0);
    const pid_t child = fork();
    if (child == 0) {
        FAILS(DURSTREAM_FORKED,
              change(transaction, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"a\"}", &error), error);
        FAILS(DURSTREAM_FORKED, durstream_transaction_commit(transaction, NULL, &error), error);
        durstream_transaction_free(transaction);
        CHECK(write(told[1], "k", 1) == 1);
        _exit(0);
    }
    close(told[1]);
    char verdict = 0;
    CHECK(read(told[0], &verdict, 1) == 1 && verdict == 'k');
    close(told[0]);
    CHECK(waitpid(child, NULL, 0) == child);
    /* The handle may be freed first: the transaction keeps it. */
    durstream_state_free(state);
    OK(change(transaction, DURSTREAM_OPERATION_UPSERT, "{\"id\":\"a\"}", &error), error);
    OK(durstream_transaction_commit(transaction, NULL, &error), error);
    durstream_transaction_free(transaction);
}

static void a_group_of_messages_is_one_piece(void) {
    const char *path = fresh_path("group");
    durstream_error *error = NULL;
    durstream_options *options = options_for(path, "application/json");
    durstream_stream *stream = NULL;
    OK(durstream_stream_create(options, NULL, 0, &stream, &error), error);
    durstream_producer *producer = NULL;
    OK(durstream_producer_open(stream, "p", NULL, &producer, &error), error);
    const uint8_t *const messages[] = {(const uint8_t *)"1", (const uint8_t *)"22"};
    const size_t lengths[] = {1, 2};
    uint64_t id = 0;
    OK(durstream_producer_append_group(producer, messages, lengths, 2, 7, &id, &error), error);
    CHECK(id == 2);
    OK(durstream_producer_try_append_group(producer, NULL, NULL, 0, 0, &id, &error), error);
    CHECK(id == 0);
    const size_t wrong[] = {1, 0};
    FAILS(DURSTREAM_VALIDATION,
          durstream_producer_append_group(producer, messages, wrong, 2, 0, NULL, &error), error);
    FAILS(DURSTREAM_INVALID_ARGUMENT,
          durstream_producer_append_group(producer, NULL, lengths, 2, 0, NULL, &error), error);
    FAILS(DURSTREAM_INVALID_ARGUMENT,
          durstream_producer_append_group(producer, messages, lengths, SIZE_MAX, 0, NULL, &error),
          error);
    OK(durstream_producer_flush(producer, 30000, NULL, &error), error);
    char *body = read_stream(path);
    CHECK(is(body, "[1,22]"));
    free(body);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    durstream_options_free(options);
}

static void everything(void) {
    a_transaction_is_one_piece();
    a_refused_transaction_sends_nothing();
    a_transaction_is_of_one_thread_and_process();
    a_group_of_messages_is_one_piece();
}

int main(void) {
    durstream_error *error = NULL;
    everything();
    begin_recording();
    everything();
    end_recording();
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
