/* Secrets are in nothing that a program prints, logs or is told. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <stdatomic.h>

/* What every secret of a test has in its text (tests/src/secrets.rs). */
#define MARK "s3cret"

static atomic_int texts;

/* Says where, and not what: this is a suite's output. */
static void see(const char *place, const char *text) {
    if (text == NULL) return;
    texts++;
    if (strstr(text, MARK) == NULL) return;
    fprintf(stderr, "%s shows a secret\n", place);
    exit(1);
}

static void see_log(durstream_log_level level, const char *text, void *user_data) {
    (void)level, (void)user_data;
    see("the log", text);
}

static void see_failure(const durstream_failure *failure, void *user_data) {
    (void)user_data;
    see("on_error", durstream_error_json(durstream_failure_error(failure)));
}

static void see_error(const char *place, durstream_error **error) {
    if (*error == NULL) return;
    see(place, durstream_error_message(*error));
    see(place, durstream_error_json(*error));
    durstream_error_free(*error);
    *error = NULL;
}

static durstream_options *options_at(const char *url) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "url", url, &error), error);
    OK(durstream_options_set_param(options, "api_key", MARK "-parameter", &error), error);
    OK(durstream_options_set_header(options, "x-api-key", MARK "-header", &error), error);
    OK(durstream_options_set_header(options, "authorization", MARK "-token", &error), error);
    return options;
}

static durstream_options *timely(void) {
    durstream_error *error = NULL;
    durstream_options *options = durstream_options_new();
    OK(durstream_options_set(options, "delivery_timeout_ms", "100", &error), error);
    OK(durstream_options_on_error(options, see_failure, NULL, NULL, &error), error);
    return options;
}

static void a_stream_at(const char *url, const char *proxy) {
    durstream_error *error = NULL;
    durstream_stream *stream = NULL;
    durstream_options *options = options_at(url), *own = timely();
    OK(durstream_options_set(options, "content_type", "text/plain", &error), error);
    OK(durstream_options_set(options, "max_retries", "0", &error), error);
    if (proxy != NULL) OK(durstream_options_set(options, "proxy", proxy, &error), error);
    (void)durstream_stream_create(options, NULL, 0, &stream, &error);
    see_error("create", &error);
    durstream_stream_free(stream);
    OK(durstream_stream_connect(options, &stream, &error), error);
    see("the URL", durstream_stream_url(stream));
    durstream_producer *producer = open_producer(stream, "p", own);
    OK(append(producer, "x", &error), error);
    (void)durstream_producer_flush(producer, 30000, NULL, &error);
    see_error("flush", &error);
    durstream_producer_free(producer);
    durstream_stream_free(stream);
    durstream_options_free(own);
    durstream_options_free(options);
}

static void state_at(const char *url) {
    durstream_error *error = NULL;
    durstream_state *state = NULL;
    durstream_schema *schema = durstream_schema_new();
    durstream_options *options = options_at(url);
    const char *value = "{\"id\":\"1\"}";
    OK(durstream_options_set(options, "producer_id", "state", &error), error);
    OK(durstream_options_set(options, "delivery_timeout_ms", "100", &error), error);
    OK(durstream_options_on_error(options, see_failure, NULL, NULL, &error), error);
    OK(durstream_schema_add(schema, "c", "c", "id", NULL, &error), error);
    OK(durstream_state_open(options, schema, &state, &error), error);
    OK(durstream_state_upsert(state, "c", (const uint8_t *)value, strlen(value), 0, NULL, &error),
       error);
    (void)durstream_state_flush(state, 30000, NULL, &error);
    see_error("flush", &error);
    durstream_state_free(state);
    durstream_options_free(options);
    durstream_schema_free(schema);
}

static void what_cannot_be_used(void) {
    static const char *const wrong[][2] = {
        {"url", "http://user:" MARK "@h:port/"},
        {"url", MARK "://h/"},
        {"proxy", "socks5://user:" MARK "@p"},
        {"proxy", "http://user:" MARK "@"},
        {"client_key_pem", "-----BEGIN PRIVATE KEY-----\n" MARK "\n"},
        {"ca_pem", "-----BEGIN CERTIFICATE-----\n" MARK "\n"},
    };
    for (size_t n = 0; n < sizeof wrong / sizeof *wrong; n++) {
        durstream_error *error = NULL;
        durstream_stream *stream = NULL;
        durstream_options *options = options_at("https://user:" MARK "@127.0.0.1:1/x");
        if (durstream_options_set(options, wrong[n][0], wrong[n][1], &error) == DURSTREAM_OK) {
            CHECK(durstream_stream_connect(options, &stream, &error) != DURSTREAM_OK ||
                  durstream_stream_create(options, NULL, 0, NULL, &error) != DURSTREAM_OK);
        }
        CHECK(error != NULL);
        see_error(wrong[n][0], &error);
        durstream_stream_free(stream);
        durstream_options_free(options);
    }
}

int main(void) {
    char well[512];
    durstream_set_log(see_log, NULL);
    const char *host = strstr(server(), "://") + 3;
    snprintf(well, sizeof well, "http://user:" MARK "-password@%s/v1/stream%s?token=" MARK "-query",
             host, fresh_path("secrets"));
    const char *nobody = "http://user:" MARK "-password@127.0.0.1:1/x?token=" MARK "-query";
    a_stream_at(well, NULL);
    a_stream_at(nobody, NULL);
    a_stream_at(well, "http://user:" MARK "-proxy@127.0.0.1:1");
    state_at(nobody);
    what_cannot_be_used();
    CHECK(durstream_shutdown(5000, NULL) == DURSTREAM_OK);
    CHECK(texts > 15);
    return 0;
}
