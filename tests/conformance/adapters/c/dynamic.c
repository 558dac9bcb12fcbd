/* Headers and parameters whose values change: headers by functions that the library asks, on a
 * thread of its own, parameters when a handle is made. */
#define _POSIX_C_SOURCE 200809L
#include "command.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef enum { COUNTER, TIMESTAMP, TOKEN } kind;

/* A value, the same however often a command asks for it. Handles that ask for it hold it too. */
typedef struct changing {
    struct changing *next;
    char *name;
    kind kind;
    buffer value;
    uint64_t count, command;
    int holders;
} changing;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static changing *headers, *params;
/* The number of the command being done. */
static uint64_t command = 1;

static void let_go(void *holder) {
    changing *entry = holder;
    pthread_mutex_lock(&lock);
    const bool last = --entry->holders == 0;
    pthread_mutex_unlock(&lock);
    if (!last) return;
    free(entry->name);
    buffer_free(&entry->value);
    free(entry);
}

/* Its value for this command. The lock is held for headers; parameters are one thread's. */
static const char *value_now(changing *entry) {
    char number[32];
    struct timespec now;
    if (entry->command == command) return entry->value.data;
    entry->command = command;
    if (entry->kind == TOKEN) return entry->value.data;
    clock_gettime(CLOCK_REALTIME, &now);
    const uint64_t shown = entry->kind == COUNTER
                               ? ++entry->count
                               : (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    snprintf(number, sizeof number, "%" PRIu64, shown);
    buffer_free(&entry->value);
    buffer_add_text(&entry->value, number);
    return entry->value.data;
}

static void asked(durstream_header_answer *answer, void *holder) {
    pthread_mutex_lock(&lock);
    durstream_header_answer_give(answer, value_now(holder));
    pthread_mutex_unlock(&lock);
}

static void forget(changing **list) {
    while (*list != NULL) {
        changing *gone = *list;
        *list = gone->next;
        let_go(gone);
    }
}

void forget_dynamic(void) {
    forget(&headers);
    forget(&params);
}

void next_command(void) {
    pthread_mutex_lock(&lock);
    command++;
    pthread_mutex_unlock(&lock);
}

/* What the command itself gives goes first. */
static bool is_given(const call *call, const char *object, const changing *entry) {
    return json_member(json_member(call->command, object), entry->name) != NULL;
}

durstream_code set_dynamic(call *call, durstream_options *options) {
    durstream_code code = DURSTREAM_OK;
    for (changing *at = headers; at != NULL && code == DURSTREAM_OK; at = at->next) {
        if (is_given(call, "headers", at)) continue;
        code = durstream_options_set_header_fn(options, at->name, asked, at, let_go, &call->error);
        pthread_mutex_lock(&lock);
        if (code == DURSTREAM_OK) at->holders++;
        pthread_mutex_unlock(&lock);
    }
    for (changing *at = params; at != NULL && code == DURSTREAM_OK; at = at->next)
        if (!is_given(call, "params", at))
            code = durstream_options_set_param(options, at->name, value_now(at), &call->error);
    return code;
}

static void put(buffer *answer, const char *object, const changing *list) {
    bool any = false;
    pthread_mutex_lock(&lock);
    for (const changing *at = list; at != NULL; at = at->next) {
        if (at->command != command) continue;
        if (!any) json_put_raw(answer, object, "{");
        any = true;
        json_put(answer, at->name, at->value.data);
    }
    pthread_mutex_unlock(&lock);
    if (any) buffer_add_text(answer, "}");
}

void put_sent(call *call) {
    put(&call->answer, "headersSent", headers);
    put(&call->answer, "paramsSent", params);
}

/* Adds the command's to a list, in place of one that had its name. */
static durstream_code add(call *call, changing **list) {
    const char *type = field(call, "valueType"), *name = field(call, "name");
    const char *initial = field(call, "initialValue");
    if (name == NULL) return refuse(call, DURSTREAM_INVALID_ARGUMENT, "`name` is missing");
    if (!is(type, "counter") && !is(type, "timestamp") && !is(type, "token"))
        return refuse(call, DURSTREAM_NOT_SUPPORTED, "there is no value of this type");
    changing *made = calloc(1, sizeof *made);
    buffer copied = {0};
    if (made == NULL) abort();
    buffer_add_text(&copied, name);
    buffer_add_text(&made->value, initial != NULL ? initial : "");
    made->name = copied.data;
    made->kind = is(type, "counter") ? COUNTER : is(type, "token") ? TOKEN : TIMESTAMP;
    made->holders = 1;
    while (*list != NULL && strcmp((*list)->name, name) != 0) list = &(*list)->next;
    changing *before = *list;
    made->next = before == NULL ? NULL : before->next;
    *list = made;
    if (before != NULL) let_go(before);
    return DURSTREAM_OK;
}

durstream_code on_set_dynamic_header(call *call) { return add(call, &headers); }
durstream_code on_set_dynamic_param(call *call) { return add(call, &params); }

durstream_code on_clear_dynamic(call *call) {
    (void)call;
    forget_dynamic();
    return DURSTREAM_OK;
}
