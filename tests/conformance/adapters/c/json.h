/* As much JSON as the adapter needs: one line in as a tree, one line out. Running out of memory
 * ends the program. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes that grow. Zeroed is empty; `data` ends with a NUL that `length` does not count. */
typedef struct {
    char *data;
    size_t length, room;
} buffer;

void buffer_add(buffer *to, const char *data, size_t length);
void buffer_add_text(buffer *to, const char *text);
void buffer_free(buffer *buffer);

typedef enum { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT } json_type;

/* A value. A scalar has its own text (a number as it was written, a string without its escapes),
 * an array or object its parts, linked by `next`; the parts of an object have names. */
typedef struct json {
    json_type type;
    buffer name, text;
    struct json *first, *next;
} json;

/* The value of a whole text; NULL if that is no JSON. Strict: UTF-8, no lone surrogates, at most
 * 64 levels. */
json *json_parse(const char *text, size_t length);
void json_free(json *value);

/* An object's member; NULL if it has none of that name, or null. */
const json *json_member(const json *object, const char *name);
/* A scalar as a text for C; NULL for NULL, arrays, objects, and strings that hold a NUL. */
const char *json_text(const json *value);

/* Writing: between `{` and `}` or `[` and `]` that the caller adds, commas come by themselves.
 * `name` is NULL in an array. A `text` that is NULL is left out. */
void json_put(buffer *to, const char *name, const char *text);
void json_put_bytes(buffer *to, const char *name, const char *bytes, size_t length);
void json_put_number(buffer *to, const char *name, uint64_t number);
void json_put_bool(buffer *to, const char *name, bool value);
/* The name and what begins a nested value: `[`, `{`, or all of it. */
void json_put_raw(buffer *to, const char *name, const char *raw);

bool is_utf8(const char *bytes, size_t length);
void base64_encode(buffer *to, const uint8_t *bytes, size_t length);
/* False if the text is not base64 with its padding. */
bool base64_decode(buffer *to, const char *text, size_t length);

#endif
