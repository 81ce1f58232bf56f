/*
 * The mock's script: rules that say which message meets which fault.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VFIO_USER_MOCK_SCRIPT_H
#define VFIO_USER_MOCK_SCRIPT_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mock-journal.h"

typedef enum MockAction {
    MOCK_ACTION_NONE,
    MOCK_ACTION_REPLY,          /* execute, but send `data` as payload */
    MOCK_ACTION_ERROR,          /* do not execute; reply with `error`, `data` */
    MOCK_ACTION_ERROR_AFTER,    /* execute, but reply with `error`, `data` */
    MOCK_ACTION_DELAY,          /* stall everything for `delay_ms`, go on */
    MOCK_ACTION_HOLD,           /* stall until mock_release(), go on */
    MOCK_ACTION_DEFER,          /* execute, serve on, reply at mock_release() */
    MOCK_ACTION_CUT,            /* send `bytes` of the reply, then close */
    MOCK_ACTION_DRIBBLE,        /* send in pieces of `bytes`, delay_ms apart */
    MOCK_ACTION_MANGLE,         /* message byte number `offset` ^= xor */
    MOCK_ACTION_TRUNCATE,       /* payload cut to `bytes`, size set to match */
    MOCK_ACTION_EXTEND,         /* payload grows by `bytes` zeros, size too */
    MOCK_ACTION_CLOSE_BEFORE,   /* close without executing */
    MOCK_ACTION_CLOSE_AFTER,    /* reply, then close */
    MOCK_ACTION_WRONG_ID,       /* reply with id + MOCK_WRONG_ID */
    MOCK_ACTION_WRONG_COMMAND,  /* reply with `reply_command` */
    MOCK_ACTION_WRONG_TYPE,     /* reply with the type of a command */
    MOCK_ACTION_NO_REPLY,       /* execute, never answer */
    MOCK_ACTION_DUPLICATE,      /* reply twice */
    MOCK_ACTION_EXTRA_FD,       /* reply with one more fd */
    MOCK_ACTION_NO_FDS,         /* reply without its fds */
    /* reply with `fd` for each of its fds, once at least, and with `data` */
    MOCK_ACTION_OTHER_FDS,
} MockAction;

/* Far away: the next ids may be those of requests under way */
#define MOCK_WRONG_ID 0x8000

/*
 * A rule acts on commands of the client that match `where`: on the nth of
 * them (1-based, counted from when the rule was added), or on every one if nth
 * is 0. The first rule that applies wins; every rule counts.
 */
typedef struct MockRule {
    MockPattern where;
    unsigned nth;
    MockAction action;
    int error;
    unsigned delay_ms;
    size_t bytes;
    size_t offset;
    uint8_t xor;
    uint16_t reply_command;
    int fd;                     /* stays the caller's, open meanwhile */
    const void *data;           /* copied when the rule is added */
    size_t data_size;
} MockRule;

/*
 * Rules as JSON: an array of objects. Keys that say which command:
 *   "command"  name as in the journal ("REGION_WRITE") or number; absent: all
 *   "nth"      integer, absent or 0: every one
 *   "region", "offset", "offset_from", "count", "value"  integers
 * and what to do with it:
 *   "action"   "reply", "error", "error-after", "delay", "hold", "defer",
 *              "cut", "dribble", "mangle", "truncate", "extend",
 *              "close-before", "close-after", "wrong-id", "wrong-command",
 *              "wrong-type", "no-reply", "duplicate", "extra-fd", "no-fds",
 *              "other-fds"
 *   "errno"    integer 0..4294967295 (error, error-after)
 *   "ms"       integer (delay, dribble)
 *   "bytes"    integer (cut, dribble, truncate, extend)
 *   "at", "xor"  integers (mangle: message byte, value)
 *   "fd"       integer, an open file of the mock's (other-fds)
 *   "reply_command"  name or number (wrong-command)
 *   "data"     string of hexadecimal digits (reply, other-fds; error,
 *              error-after: a body, which such replies should not have)
 * Anything else is an error.
 */

/* Append rules; copies them. */
void mock_add_rules(Mock *mock, const MockRule *rules, size_t num_rules);

/* Drop all rules; what is held stays held. */
void mock_clear_rules(Mock *mock);

/*
 * Read rules from a JSON file and append them. False and *error (naming the
 * rule and the key) if it cannot be read or is wrong; then none is added.
 */
bool mock_load_script(Mock *mock, const char *path, GError **error);

/* As mock_load_script(), from text. */
bool mock_parse_script(Mock *mock, const char *text, GError **error);

/*
 * Let go what HOLD and DEFER rules hold back now, in order of arrival.
 * Returns the number let go.
 */
unsigned mock_release(Mock *mock);

/* Wait until at least number commands are held back; true if so in time. */
bool mock_wait_held(Mock *mock, unsigned number, unsigned timeout_ms);

#endif /* VFIO_USER_MOCK_SCRIPT_H */
