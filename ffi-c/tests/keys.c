/* One rule of what makes a primary key, by the vectors that every language reads. */
#define _POSIX_C_SOURCE 200809L
#include "check.h"
#include "http.h"

#define MAX_TEXT 512

typedef struct {
    char text[MAX_TEXT];
    size_t length;
    int is_there;
} field;

static void put(field *to, unsigned long point) {
    char *at = to->text + to->length;
    CHECK(to->length + 4 < MAX_TEXT);
    if (point < 0x80) {
        to->length += 1;
        at[0] = (char)point;
    } else if (point < 0x800) {
        to->length += 2;
        at[0] = (char)(0xc0 | point >> 6);
        at[1] = (char)(0x80 | (point & 0x3f));
    } else if (point < 0x10000) {
        to->length += 3;
        at[0] = (char)(0xe0 | point >> 12);
        at[1] = (char)(0x80 | (point >> 6 & 0x3f));
        at[2] = (char)(0x80 | (point & 0x3f));
    } else {
        to->length += 4;
        at[0] = (char)(0xf0 | point >> 18);
        at[1] = (char)(0x80 | (point >> 12 & 0x3f));
        at[2] = (char)(0x80 | (point >> 6 & 0x3f));
        at[3] = (char)(0x80 | (point & 0x3f));
    }
}

static unsigned long unit(const char *digits) {
    char four[5] = {0};
    memcpy(four, digits, 4);
    return strtoul(four, NULL, 16);
}

/* Reads a JSON string behind its first quote. */
static field string_at(const char *at) {
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    field read = {{0}, 0, 1};
    for (; *at != '"'; at++) {
        CHECK(*at != '\0' && read.length + 4 < MAX_TEXT);
        if (*at != '\\') {
            read.text[read.length++] = *at;
            continue;
        }
        at++;
        if (*at != 'u') {
            const char *found = strchr(escapes, *at);
            CHECK(found != NULL);
            read.text[read.length++] = meanings[found - escapes];
            continue;
        }
        unsigned long point = unit(at + 1);
        at += 4;
        if (point >= 0xd800 && point < 0xdc00) {
            CHECK(at[1] == '\\' && at[2] == 'u');
            point = 0x10000 + ((point - 0xd800) << 10) + (unit(at + 3) - 0xdc00);
            at += 6;
        }
        put(&read, point);
    }
    return read;
}

/* The string of a name in a vector, which is a line. */
static field string_of(const char *vector, const char *name) {
    char start[32];
    snprintf(start, sizeof start, "\"%s\": \"", name);
    const char *at = strstr(vector, start);
    const field none = {{0}, 0, 0};
    return at == NULL ? none : string_at(at + strlen(start));
}

static FILE *vectors(void) {
    char path[4096];
    const char *end = strrchr(__FILE__, '/');
    CHECK(end != NULL);
    snprintf(path, sizeof path, "%.*s/../../tests/vectors/keys.json", (int)(end - __FILE__),
             __FILE__);
    FILE *file = fopen(path, "rb");
    if (file == NULL) fprintf(stderr, "no vectors in %s\n", path);
    CHECK(file != NULL);
    return file;
}

/* The keys that the stream has to have, one behind the other. */
static text_buffer expected;
static int written, refused;

static void judge(const field *what, const field *key, const field *why, durstream_code code,
                  durstream_error *error) {
    if (key->is_there && code == DURSTREAM_OK) {
        add(&expected, key->text, key->length);
        add(&expected, "\n", 1);
        written++;
        return;
    }
    const char *said = error == NULL ? "" : durstream_error_issue_message(error, 0);
    const size_t length = strlen(said);
    if (key->is_there || code != DURSTREAM_VALIDATION ||
        !is(durstream_error_reason(error), "invalid-key") || length < why->length ||
        strcmp(said + length - why->length, why->text) != 0) {
        fprintf(stderr, "%s: %s, %s\n", what->text, durstream_code_name(code), said);
        exit(1);
    }
    refused++;
    durstream_error_free(error);
}

/* Writes a vector by every verb that takes its key. */
static void write_vector(durstream_state *state, const char *vector) {
    const field what = string_of(vector, "what"), json = string_of(vector, "json"),
                key = string_of(vector, "key"), why = string_of(vector, "refused");
    field entity = string_of(vector, "entity");
    CHECK(key.is_there != why.is_there);
    if (!json.is_there && !entity.is_there) return; /* a number that JSON cannot say */
    if (json.is_there)
        entity.length = (size_t)snprintf(entity.text, MAX_TEXT, "{\"id\":%s}", json.text);
    const uint8_t *value = (const uint8_t *)entity.text;

    durstream_error *error = NULL;
    durstream_code code =
        durstream_state_upsert(state, "things", value, entity.length, 0, NULL, &error);
    judge(&what, &key, &why, code, error);
    error = NULL;
    code = durstream_state_change(state, DURSTREAM_OPERATION_DELETE, "things", value, entity.length,
                                  NULL, NULL, &error);
    judge(&what, &key, &why, code, error);
    /* Text of C has no NUL, and is what it is. */
    const int is_text = json.is_there && json.text[0] == '"' && strstr(json.text, "\\ud") == NULL;
    if (!key.is_there && !(is_text && why.is_there)) return;
    if (strlen(key.text) != key.length) return;
    error = NULL;
    code = durstream_state_delete(state, "things", key.text, 0, NULL, &error);
    judge(&what, &key, &why, code, error);
}

static void check_stream(const char *path) {
    char *body = read_stream(path);
    text_buffer found = {NULL, 0};
    add(&found, "", 0);
    const char *const start = "\"type\":\"thing\",\"key\":\"";
    for (const char *at = body; (at = strstr(at, start)) != NULL; at++) {
        const field key = string_at(at + strlen(start));
        add(&found, key.text, key.length);
        add(&found, "\n", 1);
    }
    CHECK(found.length == expected.length &&
          memcmp(found.data, expected.data, found.length) == 0);
    free(found.data);
    free(body);
}

int main(void) {
    const char *path = fresh_path("keys");
    durstream_error *error = NULL;
    durstream_schema *schema = durstream_schema_new();
    OK(durstream_schema_add(schema, "things", "thing", "id", NULL, &error), error);
    durstream_options *options = options_for(path, NULL);
    OK(durstream_options_set(options, "producer_id", "c-keys", &error), error);
    durstream_state *state = NULL;
    OK(durstream_state_open(options, schema, &state, &error), error);
    durstream_options_free(options);
    durstream_schema_free(schema);

    FILE *file = vectors();
    char line[4096];
    while (fgets(line, sizeof line, file) != NULL)
        if (strstr(line, "\"what\"") != NULL) write_vector(state, line);
    fclose(file);
    CHECK(written > 80 && refused > 30);
    OK(durstream_state_flush(state, 30000, NULL, &error), error);
    check_stream(path);
    free(expected.data);
    durstream_state_free(state);
    OK(durstream_shutdown(5000, &error), error);
    return 0;
}
