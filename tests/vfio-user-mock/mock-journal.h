/*
 * The mock's journal: an ordered record of every message, to wait on, to count
 * and to compare with an expected sequence.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VFIO_USER_MOCK_JOURNAL_H
#define VFIO_USER_MOCK_JOURNAL_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mock-numbers.h"

typedef struct Mock Mock;

/* Patterns: which messages are meant. Used by the journal and the script */

typedef enum MockDirection {
    MOCK_C2S,
    MOCK_S2C,
    MOCK_BOTH_WAYS,
} MockDirection;

typedef enum MockType {
    MOCK_TYPE_COMMAND,
    MOCK_TYPE_REPLY,
    MOCK_TYPE_ANY,
} MockType;

/* Which fields of a pattern count, besides direction, type and command */
enum {
    MOCK_MATCH_REGION = 1 << 0,
    MOCK_MATCH_OFFSET = 1 << 1,
    MOCK_MATCH_OFFSET_FROM = 1 << 2,    /* any offset from this one on */
    MOCK_MATCH_COUNT = 1 << 3,
    MOCK_MATCH_VALUE = 1 << 4,
    MOCK_MATCH_ERROR = 1 << 5,
    MOCK_MATCH_FDS = 1 << 6,
};

/*
 * The zero value means every command of the client. Fields hold, by command:
 *   REGION_READ, REGION_WRITE: region, offset, count, value (data of 1..8
 *     bytes, little endian; in the write's command and the read's reply)
 *   DEVICE_GET_REGION_INFO, DEVICE_GET_REGION_IO_FDS, DEVICE_GET_IRQ_INFO:
 *     region (the index)
 *   DEVICE_SET_IRQS: region (the index), offset (start), count, value (flags)
 *   DMA_MAP, DMA_UNMAP, DIRTY_PAGES (get): offset (iova), count (size),
 *     value (flags); DIRTY_PAGES start, stop: value (flags)
 *   DMA_READ, DMA_WRITE: offset (iova), count
 * A reply carries region, offset and count of its command; a value only when
 * its own data has one (region read).
 */
typedef struct MockPattern {
    MockDirection direction;
    MockType type;
    uint16_t command;           /* 0: every command */
    unsigned match;             /* MOCK_MATCH_... */
    uint32_t region;
    uint64_t offset;
    uint64_t count;
    uint64_t value;
    int error;                  /* errno of a reply, 0 for success */
    unsigned fds;
} MockPattern;

/* One message in the journal */
typedef struct MockEntry {
    gint64 time_us;             /* monotonic */
    MockDirection direction;
    MockType type;
    uint16_t command;
    uint16_t id;
    bool no_reply;              /* a command that wants no reply */
    bool twin;                  /* over the second socket */
    bool has_region;
    bool has_offset;
    bool has_count;
    bool has_value;
    uint32_t region;
    uint64_t offset;
    uint64_t count;
    uint64_t value;
    int error;
    unsigned fds;
} MockEntry;

/*
 * A step of an expected sequence: between min and max messages in a row that
 * match. Both 0 means exactly one.
 */
typedef struct MockStep {
    MockPattern pattern;
    unsigned min;
    unsigned max;
} MockStep;

#define MOCK_ANY_NUMBER G_MAXUINT

/* Patterns as initializers: MockPattern state = MOCK_PATTERN_STATE_WRITE(2) */
#define MOCK_PATTERN_COMMAND(c) { .command = (c) }
#define MOCK_PATTERN_REGION(c, r, o) \
    { .command = (c), .match = MOCK_MATCH_REGION | MOCK_MATCH_OFFSET, \
      .region = (r), .offset = (o) }
#define MOCK_PATTERN_STATE_READ() \
    MOCK_PATTERN_REGION(MOCK_REGION_READ, MOCK_REGION_MIGRATION, \
                        MOCK_MIG_DEVICE_STATE)
#define MOCK_PATTERN_ANY_STATE_WRITE() \
    MOCK_PATTERN_REGION(MOCK_REGION_WRITE, MOCK_REGION_MIGRATION, \
                        MOCK_MIG_DEVICE_STATE)
#define MOCK_PATTERN_STATE_WRITE(v) \
    { .command = MOCK_REGION_WRITE, \
      .match = MOCK_MATCH_REGION | MOCK_MATCH_OFFSET | MOCK_MATCH_VALUE, \
      .region = MOCK_REGION_MIGRATION, .offset = MOCK_MIG_DEVICE_STATE, \
      .value = (v) }
/* Reads (c = MOCK_REGION_READ) or writes of the migration data area */
#define MOCK_PATTERN_DATA(c) \
    { .command = (c), .match = MOCK_MATCH_REGION | MOCK_MATCH_OFFSET_FROM, \
      .region = MOCK_REGION_MIGRATION, .offset = MOCK_MIG_DATA }
/* DIRTY_PAGES with flags f: 1 start, 2 stop, 4 get */
#define MOCK_PATTERN_DIRTY(f) \
    { .command = MOCK_DIRTY_PAGES, .match = MOCK_MATCH_VALUE, .value = (f) }

/* Steps as initializers: { MOCK_STEP_ONE(MOCK_PATTERN_STATE_WRITE(3)), ... } */
#define MOCK_STEP_ONE(...) { .pattern = __VA_ARGS__ }
#define MOCK_STEP_SOME(lo, hi, ...) \
    { .pattern = __VA_ARGS__, .min = (lo), .max = (hi) }

/* Number of entries so far; a mark for the functions below. */
unsigned mock_journal_length(Mock *mock);

/*
 * Drop all entries so far, so that a long run stays small; marks begin at 0
 * again. Nobody may wait at the same time.
 */
void mock_journal_clear(Mock *mock);

/* Copy entry number index. False if there is none. */
bool mock_journal_get(Mock *mock, unsigned index, MockEntry *entry);

/* Number of entries from `from` on that match. */
unsigned mock_journal_count(Mock *mock, unsigned from,
                            const MockPattern *pattern);

/*
 * Wait for the nth (1-based) entry from `from` on that matches. Returns its
 * index, or -1 after timeout_ms.
 */
int mock_journal_wait(Mock *mock, unsigned from, const MockPattern *pattern,
                      unsigned nth, unsigned timeout_ms);

/*
 * Compare the order of messages: of the entries from `from` up to `to` (0:
 * all) take those that match any of the filter's patterns (no filter: all
 * commands of the client); the steps must account for every one of them, in
 * order, greedily, each its min to max times. On mismatch false, and a text
 * that says which step met which entry is appended to why (may be NULL).
 */
bool mock_journal_expect(Mock *mock, unsigned from, unsigned to,
                         const MockPattern *filter, size_t num_filter,
                         const MockStep *steps, size_t num_steps,
                         GString *why);

/*
 * True if no entry from `from` on matches; otherwise the first one is appended
 * to why (may be NULL).
 */
bool mock_journal_forbid(Mock *mock, unsigned from, const MockPattern *pattern,
                         GString *why);

/* Append entries from `from` on to text, one a line, with names. */
void mock_journal_print(Mock *mock, unsigned from, GString *text);

/* The same to stderr, for a test that is about to fail. */
void mock_journal_dump(Mock *mock, unsigned from);

#endif /* VFIO_USER_MOCK_JOURNAL_H */
