/* A command being done, and what is remembered from one to the next. */
#ifndef COMMAND_H
#define COMMAND_H

#include <durstream.h>

#include "json.h"

/* How long one call of the library may take; the runner waits 30 s for the answer. */
#define LIMIT_MS 25000

/* What fails leaves an error of the library's, or says in words what is wrong with the command.
 * `option` is how the command spells the option at fault, or the path where nothing is. */
typedef struct {
    const json *command;
    buffer answer;
    durstream_error *error;
    const char *problem, *option;
    /* Of an answer that the library makes no error of. */
    int status;
} call;

/* What does a command: on success it has put its results into the answer. */
typedef durstream_code (*handler)(call *call);

/* A producer that several commands use. Its receipts are 1 to `accepted`. */
typedef struct named {
    struct named *next;
    char *name;
    durstream_producer *producer;
    uint64_t accepted;
} named;

/* Forgets everything and goes on with this server; NULL for none. */
void start_over(const char *server_url);

/* A scalar of the command's as a text, or NULL. */
const char *field(const call *call, const char *name);
bool is(const char *text, const char *expected);
/* Fails with a text of our own, which has to be a literal. */
durstream_code refuse(call *call, durstream_code code, const char *problem);
/* An error's code as the suite calls it, of the code a call returned. */
const char *error_code(durstream_code code, const durstream_error *error);
/* The answer of a command that failed. */
void answer_failure(call *call, durstream_code code);

/* Notes the content type of the command's path; NULL where it is not known any more. */
void remember(const call *call, const char *content_type);

/* Sets an option, unless there is no value. */
durstream_code set(call *call, durstream_options *options, const char *name, const char *value);
typedef durstream_code (*setter)(durstream_options *options, const char *name, const char *value,
                                 durstream_error **error);
/* Hands every member of one of the command's objects to a setter. */
durstream_code set_each(call *call, durstream_options *options, const char *object, setter setter);
/* Makes the options for the command's stream, to be freed after a failure too. */
durstream_code stream_options(call *call, const char *content_type, durstream_options **options);
/* A handle on the command's stream, of the content type that the command says or that is known. */
durstream_code open_stream(call *call, durstream_stream **stream);
/* The command's `data`, text or base64 (which goes into `decoded`); NULL if it has none. */
durstream_code data_of(call *call, buffer *decoded, const uint8_t **data, size_t *length);

/* dynamic.c: values that change from command to command. */
/* Begins a command, in which each of them has one value. */
void next_command(void);
/* Adds them to a handle's options, but those that the command gives itself. */
durstream_code set_dynamic(call *call, durstream_options *options);
/* Answers with those that this command asked for. */
void put_sent(call *call);
void forget_dynamic(void);

named *producer_named(const char *name);
/* Gives a producer its name, in place of one that had it; NULL leaves the name to none. */
named *keep_producer(const char *name, durstream_producer *producer);

/* streams.c */
durstream_code on_create(call *call);
durstream_code on_head(call *call);
durstream_code on_append(call *call);
durstream_code on_append_stream(call *call);
durstream_code on_read(call *call);
durstream_code on_delete(call *call);
durstream_code on_close(call *call);

/* producers.c */
durstream_code on_idempotent_append(call *call);
durstream_code on_idempotent_append_batch(call *call);
durstream_code on_idempotent_close(call *call);
durstream_code on_idempotent_detach(call *call);
durstream_code on_producer_open(call *call);
durstream_code on_producer_append(call *call);
durstream_code on_producer_flush(call *call);
durstream_code on_producer_close(call *call);
durstream_code on_producer_detach(call *call);
durstream_code on_producer_outcomes(call *call);

/* dynamic.c */
durstream_code on_set_dynamic_header(call *call);
durstream_code on_set_dynamic_param(call *call);
durstream_code on_clear_dynamic(call *call);

/* validate.c */
durstream_code on_validate(call *call);

#endif
