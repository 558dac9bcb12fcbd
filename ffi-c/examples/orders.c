/* A service that publishes plain messages, one for each of its orders, and notes at each order
 * what became of its message: the tag of a write is the order itself, so nothing is looked up and
 * no receipt is kept. The library's thread notes it, maybe before the append has returned.
 *
 * ORDER_STREAM_PATH names the stream; the server is found as by every producer. */
#include <durstream.h>

#include <stdio.h>
#include <stdlib.h>

enum { ORDERS = 1000 };

typedef struct {
    int number;
    enum { NEW, PUBLISHED, FAILED } state; /* written by the callbacks' thread alone */
} order;

static order orders[ORDERS];

/* Delivered, a batch at a time. */
static void on_delivery(const durstream_delivery *delivery, void *user_data) {
    (void)user_data;
    const uint64_t *tags = durstream_delivery_tags(delivery);
    const size_t count = durstream_delivery_count(delivery);
    for (size_t n = 0; tags != NULL && n < count; n++) {
        order *published = (order *)(uintptr_t)tags[n];
        if (published != NULL) published->state = PUBLISHED;
    }
}

/* Not delivered, one by one. */
static void on_error(const durstream_failure *failure, void *user_data) {
    (void)user_data;
    order *failed = (order *)(uintptr_t)durstream_failure_tag(failure);
    if (failed == NULL) return;
    failed->state = FAILED;
    fprintf(stderr, "orders: %d: %s\n", failed->number,
            durstream_error_message(durstream_failure_error(failure)));
}

/* This program cannot go on without what it asks for. */
static void check(durstream_code code, durstream_error *const *error) {
    if (code == DURSTREAM_OK) return;
    fprintf(stderr, "orders: %s\n", durstream_error_message(*error));
    exit(1);
}

static durstream_stream *create_stream(const char *path) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = durstream_options_new();
    check(durstream_options_set(options, "stream_path", path, &error), &error);
    check(durstream_options_set(options, "content_type", "application/json", &error), &error);
    check(durstream_stream_create(options, NULL, 0, &stream, &error), &error);
    durstream_options_free(options);
    return stream;
}

static durstream_producer *open_producer(const durstream_stream *stream) {
    durstream_error *error = NULL;
    durstream_producer *producer = NULL;
    durstream_options *options = durstream_options_new();
    check(durstream_options_on_delivery(options, on_delivery, NULL, NULL, &error), &error);
    check(durstream_options_on_error(options, on_error, NULL, NULL, &error), &error);
    check(durstream_producer_open(stream, "order-service", options, &producer, &error), &error);
    durstream_options_free(options);
    return producer;
}

static void publish(durstream_producer *producer, order *one) {
    durstream_error *error = NULL;
    char message[64];
    const int length =
        snprintf(message, sizeof message, "{\"type\":\"order.created\",\"order\":%d}", one->number);
    check(durstream_producer_append(producer, (const uint8_t *)message, (size_t)length,
                                    (uint64_t)(uintptr_t)one, NULL, &error),
          &error);
}

int main(void) {
    const char *path = getenv("ORDER_STREAM_PATH");
    if (path == NULL) {
        fputs("orders: the environment variable ORDER_STREAM_PATH is not set\n", stderr);
        return 2;
    }
    durstream_error *error = NULL;
    durstream_stream *stream = create_stream(path);
    durstream_producer *producer = open_producer(stream);
    for (int n = 0; n < ORDERS; n++) {
        orders[n].number = n;
        publish(producer, &orders[n]);
    }
    check(durstream_producer_detach(producer, 30000, NULL, &error), &error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    check(durstream_shutdown(1000, &error), &error); /* the callbacks have run then */

    int published = 0;
    for (int n = 0; n < ORDERS; n++) published += orders[n].state == PUBLISHED;
    printf("%d of %d orders were published\n", published, ORDERS);
    return published == ORDERS ? 0 : 1;
}
