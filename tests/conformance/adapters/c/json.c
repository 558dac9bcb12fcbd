#include "json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DEPTH 64

void buffer_add(buffer *to, const char *data, size_t length) {
    if (to->room - to->length <= length) {
        if (length > SIZE_MAX / 4 || to->length > SIZE_MAX / 4) abort();
        to->room = 2 * (to->length + length) + 32;
        to->data = realloc(to->data, to->room);
        if (to->data == NULL) abort();
    }
    if (length > 0) memcpy(to->data + to->length, data, length);
    to->length += length;
    to->data[to->length] = '\0';
}

void buffer_add_text(buffer *to, const char *text) { buffer_add(to, text, strlen(text)); }

void buffer_free(buffer *buffer) {
    free(buffer->data);
    memset(buffer, 0, sizeof *buffer);
}

/* --- UTF-8 (RFC 3629) --- */

/* How many bytes the character at `at` has, of at least one; 0 if it is none. */
static size_t character(const char *at, size_t left) {
    static const uint32_t smallest[] = {0, 0x80, 0x800, 0x10000};
    const unsigned char first = (unsigned char)*at;
    const size_t more = first < 0x80 ? 0 : first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
    if ((first >= 0x80 && first < 0xc0) || first >= 0xf8 || more >= left) return 0;
    uint32_t code = more == 0 ? first : first & (0x3fu >> more);
    for (size_t n = 1; n <= more; n++) {
        if (((unsigned char)at[n] & 0xc0) != 0x80) return 0;
        code = code << 6 | ((unsigned char)at[n] & 0x3f);
    }
    const bool surrogate = code >= 0xd800 && code <= 0xdfff;
    return code < smallest[more] || surrogate || code > 0x10ffff ? 0 : more + 1;
}

bool is_utf8(const char *bytes, size_t length) {
    for (size_t at = 0; at < length;) {
        const size_t step = character(bytes + at, length - at);
        if (step == 0) return false;
        at += step;
    }
    return true;
}

static void add_character(buffer *to, uint32_t code) {
    static const uint32_t lead[] = {0, 0xc0, 0xe0, 0xf0};
    const int more = code < 0x80 ? 0 : code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    char bytes[4] = {(char)(lead[more] | code >> 6 * more)};
    for (int n = 1; n <= more; n++) bytes[n] = (char)(0x80 | (code >> 6 * (more - n) & 0x3f));
    buffer_add(to, bytes, (size_t)more + 1);
}

/* --- Reading --- */

typedef struct {
    const char *at, *end;
} cursor;

static void skip_space(cursor *from) {
    while (from->at < from->end && memchr(" \t\r\n", *from->at, 4) != NULL) from->at++;
}

static bool take(cursor *from, char expected) {
    if (from->at == from->end || *from->at != expected) return false;
    from->at++;
    return true;
}

static bool take_hex(cursor *from, uint32_t *code) {
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    *code = 0;
    for (int n = 0; n < 4; n++, from->at++) {
        const char *digit = from->at < from->end ? memchr(digits, *from->at, 32) : NULL;
        if (digit == NULL) return false;
        *code = *code << 4 | (uint32_t)((digit - digits) % 16);
    }
    return true;
}

static bool take_escape(cursor *from, buffer *to) {
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    if (from->at == from->end) return false;
    const char c = *from->at++;
    const char *known = memchr(escapes, c, sizeof escapes - 1);
    if (known != NULL) {
        buffer_add(to, meanings + (known - escapes), 1);
        return true;
    }
    uint32_t code, low;
    if (c != 'u' || !take_hex(from, &code) || (code >= 0xdc00 && code <= 0xdfff)) return false;
    if (code >= 0xd800 && code <= 0xdbff) {
        if (!take(from, '\\') || !take(from, 'u') || !take_hex(from, &low)) return false;
        if (low < 0xdc00 || low > 0xdfff) return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    add_character(to, code);
    return true;
}

static bool take_string(cursor *from, buffer *to) {
    buffer_add(to, "", 0);
    if (!take(from, '"')) return false;
    while (from->at < from->end) {
        if (take(from, '"')) return true;
        if (take(from, '\\')) {
            if (!take_escape(from, to)) return false;
            continue;
        }
        const size_t length = character(from->at, (size_t)(from->end - from->at));
        if (length == 0 || (unsigned char)*from->at < 0x20) return false;
        buffer_add(to, from->at, length);
        from->at += length;
    }
    return false;
}

static bool take_digits(cursor *from) {
    const char *start = from->at;
    while (from->at < from->end && *from->at >= '0' && *from->at <= '9') from->at++;
    return from->at > start;
}

static bool take_number(cursor *from, buffer *to) {
    const char *start = from->at;
    take(from, '-');
    if (!take(from, '0') && !take_digits(from)) return false;
    if (take(from, '.') && !take_digits(from)) return false;
    if (take(from, 'e') || take(from, 'E')) {
        if (!take(from, '+')) take(from, '-');
        if (!take_digits(from)) return false;
    }
    buffer_add(to, start, (size_t)(from->at - start));
    return true;
}

static bool take_word(cursor *from, const char *word, buffer *to) {
    for (const char *c = word; *c != '\0'; c++)
        if (!take(from, *c)) return false;
    buffer_add_text(to, word);
    return true;
}

static json *take_value(cursor *from, int depth);

/* The parts of an array or object, up to its end. */
static bool take_parts(cursor *from, json *whole, int depth) {
    const bool named = whole->type == JSON_OBJECT;
    const char end = named ? '}' : ']';
    json **last = &whole->first;
    from->at++;
    skip_space(from);
    if (take(from, end)) return true;
    do {
        buffer name = {0};
        skip_space(from);
        bool good = !named || take_string(from, &name);
        skip_space(from);
        good = good && (!named || take(from, ':'));
        *last = good ? take_value(from, depth + 1) : NULL;
        if (*last == NULL) {
            buffer_free(&name);
            return false;
        }
        (*last)->name = name;
        last = &(*last)->next;
    } while (take(from, ','));
    return take(from, end);
}

/* A value and the space around it. */
static json *take_value(cursor *from, int depth) {
    json *value = calloc(1, sizeof *value);
    if (value == NULL) abort();
    skip_space(from);
    const char first = from->at < from->end ? *from->at : '\0';
    bool good = depth < MAX_DEPTH;
    if (first == '{' || first == '[') {
        value->type = first == '{' ? JSON_OBJECT : JSON_ARRAY;
        good = good && take_parts(from, value, depth);
    } else if (first == '"') {
        value->type = JSON_STRING;
        good = take_string(from, &value->text);
    } else if (first == 't' || first == 'f') {
        value->type = JSON_BOOL;
        good = take_word(from, first == 't' ? "true" : "false", &value->text);
    } else if (first == 'n') {
        good = take_word(from, "null", &value->text);
    } else {
        value->type = JSON_NUMBER;
        good = take_number(from, &value->text);
    }
    skip_space(from);
    if (good) return value;
    json_free(value);
    return NULL;
}

json *json_parse(const char *text, size_t length) {
    cursor from = {text, text + length};
    json *value = take_value(&from, 0);
    if (value == NULL || from.at == from.end) return value;
    json_free(value);
    return NULL;
}

void json_free(json *value) {
    while (value != NULL) {
        json *next = value->next;
        json_free(value->first);
        buffer_free(&value->name);
        buffer_free(&value->text);
        free(value);
        value = next;
    }
}

const json *json_member(const json *object, const char *name) {
    if (object == NULL || object->type != JSON_OBJECT) return NULL;
    for (const json *part = object->first; part != NULL; part = part->next)
        if (part->name.length == strlen(name) && strcmp(part->name.data, name) == 0)
            return part->type == JSON_NULL ? NULL : part;
    return NULL;
}

const char *json_text(const json *value) {
    if (value == NULL || value->text.data == NULL) return NULL;
    return strlen(value->text.data) == value->text.length ? value->text.data : NULL;
}

/* --- Writing --- */

static void add_string(buffer *to, const char *bytes, size_t length) {
    buffer_add(to, "\"", 1);
    for (size_t n = 0; n < length; n++) {
        const unsigned char c = (unsigned char)bytes[n];
        char escape[8];
        if (c < 0x20) snprintf(escape, sizeof escape, "\\u%04x", c);
        else snprintf(escape, sizeof escape, c == '"' || c == '\\' ? "\\%c" : "%c", c);
        buffer_add_text(to, escape);
    }
    buffer_add(to, "\"", 1);
}

void json_put_raw(buffer *to, const char *name, const char *raw) {
    if (to->length > 0 && memchr("{[", to->data[to->length - 1], 2) == NULL) buffer_add(to, ",", 1);
    if (name != NULL) {
        add_string(to, name, strlen(name));
        buffer_add(to, ":", 1);
    }
    buffer_add_text(to, raw);
}

void json_put_bytes(buffer *to, const char *name, const char *bytes, size_t length) {
    json_put_raw(to, name, "");
    add_string(to, bytes, length);
}

void json_put(buffer *to, const char *name, const char *text) {
    if (text != NULL) json_put_bytes(to, name, text, strlen(text));
}

void json_put_number(buffer *to, const char *name, uint64_t number) {
    char digits[24];
    snprintf(digits, sizeof digits, "%" PRIu64, number);
    json_put_raw(to, name, digits);
}

void json_put_bool(buffer *to, const char *name, bool value) {
    json_put_raw(to, name, value ? "true" : "false");
}

/* --- Base64 --- */

static const char ALPHABET[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(buffer *to, const uint8_t *bytes, size_t length) {
    buffer_add(to, "", 0);
    for (size_t n = 0; n < length; n += 3) {
        const size_t left = length - n;
        const uint32_t group = (uint32_t)bytes[n] << 16 |
                               (left > 1 ? (uint32_t)bytes[n + 1] << 8 : 0) |
                               (left > 2 ? (uint32_t)bytes[n + 2] : 0);
        const char four[4] = {ALPHABET[group >> 18], ALPHABET[group >> 12 & 63],
                              left > 1 ? ALPHABET[group >> 6 & 63] : '=',
                              left > 2 ? ALPHABET[group & 63] : '='};
        buffer_add(to, four, 4);
    }
}

bool base64_decode(buffer *to, const char *text, size_t length) {
    buffer_add(to, "", 0);
    if (length % 4 != 0) return false;
    for (size_t n = 0; n < length; n += 4) {
        size_t missing = 0;
        while (n + 4 == length && missing < 2 && text[n + 3 - missing] == '=') missing++;
        uint32_t group = 0;
        for (size_t k = 0; k < 4; k++) {
            const char *digit = k < 4 - missing ? memchr(ALPHABET, text[n + k], 64) : ALPHABET;
            if (digit == NULL) return false;
            group = group << 6 | (uint32_t)(digit - ALPHABET);
        }
        const char three[3] = {(char)(group >> 16), (char)(group >> 8 & 255), (char)(group & 255)};
        buffer_add(to, three, 3 - missing);
    }
    return true;
}
