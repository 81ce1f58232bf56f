/*
 * The mock's journal: entries in memory and as JSON lines in a file; waiting,
 * counting and comparing with what a test expects.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <errno.h>
#include <inttypes.h>

int64_t mock_deadline(unsigned timeout_ms)
{
    return g_get_monotonic_time() + (int64_t)timeout_ms * 1000;
}

bool mock_journal_open(Mock *mock, GError **error)
{
    const char *path = mock->config.journal_path;
    MockJournal *journal = &mock->journal;

    journal->entries = g_array_new(FALSE, FALSE, sizeof(MockEntry));
    journal->no_memory = mock->config.journal_no_memory;
    if (path) {
        journal->file = fopen(path, "we");
        if (!journal->file) {
            g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                        "cannot create journal '%s': %s", path,
                        g_strerror(errno));
            return false;
        }
    }
    return true;
}

void mock_journal_close(Mock *mock)
{
    if (mock->journal.file) {
        fclose(mock->journal.file);
    }
    g_array_unref(mock->journal.entries);
}

/* By hand, so that the order of keys and the form of "t" are always the same */
static void write_line(FILE *file, const MockEntry *entry)
{
    fprintf(file, "{\"t\": %" PRId64 ".%06u, \"dir\": \"%s\", \"type\": \"%s\","
            " \"cmd\": \"%s\", \"id\": %u",
            (int64_t)(entry->time_us / G_USEC_PER_SEC),
            (unsigned)(entry->time_us % G_USEC_PER_SEC),
            entry->direction == MOCK_C2S ? "c2s" : "s2c",
            entry->type == MOCK_TYPE_COMMAND ? "command" : "reply",
            mock_command_name(entry->command), entry->id);
    if (entry->has_region) {
        fprintf(file, ", \"region\": %u", entry->region);
    }
    if (entry->has_offset) {
        fprintf(file, ", \"offset\": %" PRIu64, entry->offset);
    }
    if (entry->has_count) {
        fprintf(file, ", \"count\": %" PRIu64, entry->count);
    }
    if (entry->has_value) {
        fprintf(file, ", \"value\": %" PRIu64, entry->value);
    }
    fprintf(file, ", \"errno\": %u, \"fds\": %u}\n", entry->error, entry->fds);
    fflush(file);
}

void mock_journal_append(Mock *mock, const MockEntry *entry)
{
    if (!mock->journal.no_memory) {
        g_array_append_vals(mock->journal.entries, entry, 1);
    }
    if (mock->journal.file) {
        write_line(mock->journal.file, entry);
    }
    g_cond_broadcast(&mock->changed);
}

bool mock_pattern_matches(const MockPattern *pattern, const MockEntry *entry)
{
    unsigned match = pattern->match;

    if ((pattern->direction != MOCK_BOTH_WAYS &&
         pattern->direction != entry->direction) ||
        (pattern->type != MOCK_TYPE_ANY && pattern->type != entry->type) ||
        (pattern->command && pattern->command != entry->command)) {
        return false;
    }
    return (!(match & MOCK_MATCH_REGION) ||
            (entry->has_region && entry->region == pattern->region)) &&
           (!(match & MOCK_MATCH_OFFSET) ||
            (entry->has_offset && entry->offset == pattern->offset)) &&
           (!(match & MOCK_MATCH_OFFSET_FROM) ||
            (entry->has_offset && entry->offset >= pattern->offset)) &&
           (!(match & MOCK_MATCH_COUNT) ||
            (entry->has_count && entry->count == pattern->count)) &&
           (!(match & MOCK_MATCH_VALUE) ||
            (entry->has_value && entry->value == pattern->value)) &&
           (!(match & MOCK_MATCH_ERROR) || entry->error == pattern->error) &&
           (!(match & MOCK_MATCH_FDS) || entry->fds == pattern->fds);
}

static const MockEntry *entry_at(Mock *mock, unsigned index)
{
    return &g_array_index(mock->journal.entries, MockEntry, index);
}

unsigned mock_journal_length(Mock *mock)
{
    MOCK_LOCK_GUARD(mock);

    return mock->journal.entries->len;
}

void mock_journal_clear(Mock *mock)
{
    MOCK_LOCK_GUARD(mock);

    g_array_set_size(mock->journal.entries, 0);
}

bool mock_journal_get(Mock *mock, unsigned index, MockEntry *entry)
{
    MOCK_LOCK_GUARD(mock);

    if (index >= mock->journal.entries->len) {
        return false;
    }
    *entry = *entry_at(mock, index);
    return true;
}

unsigned mock_journal_count(Mock *mock, unsigned from,
                            const MockPattern *pattern)
{
    MOCK_LOCK_GUARD(mock);
    unsigned i, count = 0;

    for (i = from; i < mock->journal.entries->len; i++) {
        count += mock_pattern_matches(pattern, entry_at(mock, i));
    }
    return count;
}

int mock_journal_wait(Mock *mock, unsigned from, const MockPattern *pattern,
                      unsigned nth, unsigned timeout_ms)
{
    MOCK_LOCK_GUARD(mock);
    int64_t deadline = mock_deadline(timeout_ms);
    unsigned i = from, seen = 0;

    for (;;) {
        for (; i < mock->journal.entries->len; i++) {
            if (mock_pattern_matches(pattern, entry_at(mock, i)) &&
                ++seen >= nth) {
                return i;
            }
        }
        if (!g_cond_wait_until(&mock->changed, &mock->lock, deadline)) {
            return -1;
        }
    }
}

static void print_fields(const MockEntry *entry, GString *text)
{
    if (entry->has_region) {
        g_string_append_printf(text, " region %u", entry->region);
    }
    if (entry->has_offset) {
        g_string_append_printf(text, " offset 0x%" PRIx64, entry->offset);
    }
    if (entry->has_count) {
        g_string_append_printf(text, " count %" PRIu64, entry->count);
    }
    if (entry->has_value) {
        g_string_append_printf(text, " value 0x%" PRIx64, entry->value);
    }
    if (entry->has_region && entry->region == MOCK_REGION_MIGRATION &&
        entry->has_value && entry->offset == MOCK_MIG_DEVICE_STATE &&
        (entry->command == MOCK_REGION_READ ||
         entry->command == MOCK_REGION_WRITE)) {
        g_string_append_printf(text, " (device_state %s)",
                               mock_state_name(entry->value));
    }
    if (entry->fds) {
        g_string_append_printf(text, " fds %u", entry->fds);
    }
    if (entry->no_reply) {
        g_string_append(text, " no-reply");
    }
    if (entry->error) {
        g_string_append_printf(text, " errno %d (%s)", entry->error,
                               g_strerror(entry->error));
    }
}

static void print_entry(Mock *mock, unsigned index, GString *text)
{
    const MockEntry *entry = entry_at(mock, index);

    g_string_append_printf(text, "%5u %s %s #%u %s", index,
                           entry->direction == MOCK_C2S ? "c2s" : "s2c",
                           entry->type == MOCK_TYPE_COMMAND ?
                           "command" : "  reply",
                           entry->id, mock_command_name(entry->command));
    print_fields(entry, text);
    g_string_append_c(text, '\n');
}

static void print_pattern(const MockPattern *pattern, GString *text)
{
    MockEntry entry = {
        .command = pattern->command,
        .has_region = pattern->match & MOCK_MATCH_REGION,
        .has_offset = pattern->match &
                      (MOCK_MATCH_OFFSET | MOCK_MATCH_OFFSET_FROM),
        .has_count = pattern->match & MOCK_MATCH_COUNT,
        .has_value = pattern->match & MOCK_MATCH_VALUE,
        .region = pattern->region,
        .offset = pattern->offset,
        .count = pattern->count,
        .value = pattern->value,
        .error = pattern->match & MOCK_MATCH_ERROR ? pattern->error : 0,
        .fds = pattern->match & MOCK_MATCH_FDS ? pattern->fds : 0,
    };

    g_string_append(text, pattern->command ?
                    mock_command_name(pattern->command) : "any command");
    print_fields(&entry, text);
}

static bool is_taken(const MockPattern *filter, size_t num_filter,
                     const MockEntry *entry)
{
    static const MockPattern every_command;
    size_t i;

    if (!num_filter) {
        return mock_pattern_matches(&every_command, entry);
    }
    for (i = 0; i < num_filter; i++) {
        if (mock_pattern_matches(&filter[i], entry)) {
            return true;
        }
    }
    return false;
}

static unsigned step_min(const MockStep *step)
{
    return !step->min && !step->max ? 1 : step->min;
}

static unsigned step_max(const MockStep *step)
{
    return !step->min && !step->max ? 1 : step->max;
}

/* Say which step failed after `seen` matches, and at which entry (-1: end) */
static void explain(Mock *mock, const MockStep *steps, size_t num_steps,
                    size_t step, unsigned seen, int index, GString *why)
{
    if (!why) {
        return;
    }
    if (step < num_steps) {
        g_string_append_printf(why, "step %zu of %zu wants ", step + 1,
                               num_steps);
        print_pattern(&steps[step].pattern, why);
        g_string_append_printf(why, ", %u to %u times, and has seen %u; ",
                               step_min(&steps[step]), step_max(&steps[step]),
                               seen);
    } else {
        g_string_append_printf(why, "all %zu steps are done; ", num_steps);
    }
    g_string_append(why, index < 0 ? "the journal ends here\n" : "next is:\n");
    if (index >= 0) {
        print_entry(mock, index, why);
    }
}

bool mock_journal_expect(Mock *mock, unsigned from, unsigned to,
                         const MockPattern *filter, size_t num_filter,
                         const MockStep *steps, size_t num_steps,
                         GString *why)
{
    MOCK_LOCK_GUARD(mock);
    unsigned end = mock->journal.entries->len;
    unsigned i, seen = 0;
    size_t step = 0;

    if (to && to < end) {
        end = to;
    }
    for (i = from; i < end; i++) {
        const MockEntry *entry = entry_at(mock, i);

        if (!is_taken(filter, num_filter, entry)) {
            continue;
        }
        while (step < num_steps &&
               (seen == step_max(&steps[step]) ||
                !mock_pattern_matches(&steps[step].pattern, entry))) {
            if (seen < step_min(&steps[step])) {
                explain(mock, steps, num_steps, step, seen, i, why);
                return false;
            }
            step++;
            seen = 0;
        }
        if (step == num_steps) {
            explain(mock, steps, num_steps, step, seen, i, why);
            return false;
        }
        seen++;
    }
    for (; step < num_steps; step++, seen = 0) {
        if (seen < step_min(&steps[step])) {
            explain(mock, steps, num_steps, step, seen, -1, why);
            return false;
        }
    }
    return true;
}

bool mock_journal_forbid(Mock *mock, unsigned from, const MockPattern *pattern,
                         GString *why)
{
    MOCK_LOCK_GUARD(mock);
    unsigned i;

    for (i = from; i < mock->journal.entries->len; i++) {
        if (mock_pattern_matches(pattern, entry_at(mock, i))) {
            if (why) {
                g_string_append(why, "this must not be there:\n");
                print_entry(mock, i, why);
            }
            return false;
        }
    }
    return true;
}

void mock_journal_print(Mock *mock, unsigned from, GString *text)
{
    MOCK_LOCK_GUARD(mock);
    unsigned i;

    for (i = from; i < mock->journal.entries->len; i++) {
        print_entry(mock, i, text);
    }
}

void mock_journal_dump(Mock *mock, unsigned from)
{
    g_autoptr(GString) text = g_string_new("journal of the mock server:\n");

    mock_journal_print(mock, from, text);
    fputs(text->str, stderr);
}
