/*
 * What servers saw of a test, in short: device_state, resets and what goes with
 * them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"

static const MockPattern state_read = MOCK_PATTERN_STATE_READ();
static const MockPattern state_write = MOCK_PATTERN_ANY_STATE_WRITE();

static bool entry_is(const MockEntry *entry, const MockPattern *pattern)
{
    return entry->direction == MOCK_C2S && entry->type == MOCK_TYPE_COMMAND &&
           entry->command == pattern->command && entry->has_region &&
           entry->region == pattern->region && entry->has_offset &&
           entry->offset == pattern->offset;
}

static bool tells_state(const MockEntry *entry)
{
    return entry->direction == MOCK_S2C && entry->type == MOCK_TYPE_REPLY &&
           entry->command == state_read.command && entry->has_value &&
           entry->has_region && entry->region == state_read.region &&
           entry->has_offset && entry->offset == state_read.offset;
}

/* Does the answer to command number @index say no? */
static bool is_refused(Mock *mock, unsigned index, const MockEntry *command)
{
    MockEntry entry;

    while (mock_journal_get(mock, ++index, &entry)) {
        if (entry.direction == MOCK_S2C && entry.type == MOCK_TYPE_REPLY &&
            entry.id == command->id) {
            return entry.error != 0;
        }
    }
    return false;
}

/* What a story tells besides device_state; NULL: not in this one. */
static const char *other_word(const MockEntry *entry, bool surroundings)
{
    if (entry->direction != MOCK_C2S || entry->type != MOCK_TYPE_COMMAND) {
        return NULL;
    }
    switch (entry->command) {
    case MOCK_DEVICE_RESET:
        return "RESET";
    case MOCK_DEVICE_SET_IRQS:
        return surroundings ? "IRQS" : NULL;
    case MOCK_DMA_MAP:
        return surroundings ? "MAP" : NULL;
    case MOCK_DMA_UNMAP:
        return surroundings ? "UNMAP" : NULL;
    default:
        return NULL;
    }
}

static char *tell_story(VFIOUserTestVM *vm, unsigned from, bool resets,
                        bool surroundings)
{
    GString *text = g_string_new("");
    const char *last = NULL;
    MockEntry entry;
    unsigned i;

    for (i = from; mock_journal_get(vm->mock, i, &entry); i++) {
        const char *space = text->len ? " " : "";
        const char *word = resets ? other_word(&entry, surroundings) : NULL;
        const char *mark = "";

        if (word || entry_is(&entry, &state_read) ||
            entry_is(&entry, &state_write)) {
            mark = is_refused(vm->mock, i, &entry) ? "!" : "";
        }
        if (entry_is(&entry, &state_read)) {
            g_string_append_printf(text, "%sR", space);
        } else if (entry_is(&entry, &state_write)) {
            g_string_append_printf(text, "%sW%" PRIu64 "%s", space,
                                   entry.value, mark);
        } else if (!word) {
            continue;
        } else if (word != last || *mark || g_str_equal(word, "RESET")) {
            g_string_append_printf(text, "%s%s%s", space, word, mark);
        }
        last = word;
    }
    return g_string_free(text, false);
}

char *vfio_user_test_states(VFIOUserTestVM *vm, unsigned from)
{
    return tell_story(vm, from, false, false);
}

char *vfio_user_test_story(VFIOUserTestVM *vm, unsigned from)
{
    return tell_story(vm, from, true, false);
}

char *vfio_user_test_whole_story(VFIOUserTestVM *vm, unsigned from)
{
    return tell_story(vm, from, true, true);
}

unsigned vfio_user_test_count_refusals(VFIOUserTestVM *vm, unsigned from)
{
    unsigned i, count = 0;
    MockEntry entry;

    for (i = from; mock_journal_get(vm->mock, i, &entry); i++) {
        count += entry.direction == MOCK_S2C && entry.error == EINVAL;
    }
    return count;
}

void vfio_user_test_assert_states(VFIOUserTestVM *vm, const char *expected)
{
    g_autofree char *states = vfio_user_test_states(vm, vm->mark);

    g_test_message("%s: device_state: %s", vm->name, states);
    g_assert_cmpstr(states, ==, expected);
    vm->mark = mock_journal_length(vm->mock);
}

unsigned vfio_user_test_server_redundant_writes(Mock *mock, unsigned from,
                                                uint32_t value)
{
    unsigned i, count = 0;
    MockEntry entry;

    for (i = from; mock_journal_get(mock, i, &entry); i++) {
        /* it may have changed by a reset, and then it is read */
        if (tells_state(&entry)) {
            value = entry.value;
        }
        if (!entry_is(&entry, &state_write)) {
            continue;
        }
        count += entry.value == value;
        if (!is_refused(mock, i, &entry)) {
            value = entry.value;
        }
    }
    return count;
}

unsigned vfio_user_test_redundant_writes(VFIOUserTestVM *vm, unsigned from,
                                         uint32_t value)
{
    return vfio_user_test_server_redundant_writes(vm->mock, from, value);
}

void vfio_user_test_assert_sequence(VFIOUserTestVM *vm, unsigned from,
                                    const VFIOUserTestSequence *sequence)
{
    g_autoptr(GString) why = g_string_new("");

    if (sequence->num_steps &&
        !mock_journal_expect(vm->mock, from, 0, sequence->filter,
                             sequence->num_filter, sequence->steps,
                             sequence->num_steps, why)) {
        vfio_user_test_fail("%s: unexpected order of messages: %s",
                            vm->name, why->str);
    }
}
