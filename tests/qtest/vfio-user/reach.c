/*
 * What of the guest's memory the device reaches, and by which mappings, for the
 * vfio-user qtests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "reach.h"
#include "qemu/bswap.h"

static uint64_t message_read(VFIOUserTestVM *vm, uint64_t iova, int error)
{
    uint64_t value = 0;

    g_assert_cmpint(mock_dma_read_by_message(vm->mock, iova, &value,
                                             sizeof(value),
                                             VFIO_USER_TEST_DEADLINE_MS), ==,
                    error);
    return le64_to_cpu(value);
}

static void message_write(VFIOUserTestVM *vm, uint64_t iova, uint64_t value,
                          int error)
{
    value = cpu_to_le64(value);
    g_assert_cmpint(mock_dma_write_by_message(vm->mock, iova, &value,
                                              sizeof(value),
                                              VFIO_USER_TEST_DEADLINE_MS), ==,
                    error);
}

static uint64_t direct_read(VFIOUserTestVM *vm, uint64_t iova, int error)
{
    uint64_t value = 0;

    g_assert_cmpint(mock_dma_read(vm->mock, iova, &value, sizeof(value)), ==,
                    error);
    return le64_to_cpu(value);
}

static void direct_write(VFIOUserTestVM *vm, uint64_t iova, uint64_t value,
                         int error)
{
    value = cpu_to_le64(value);
    g_assert_cmpint(mock_dma_write(vm->mock, iova, &value, sizeof(value)), ==,
                    error);
}

/* What the guest writes, the device reads. Returns what that was. */
static uint64_t assert_reads(VFIOUserTestVM *vm, uint64_t iova,
                             uint64_t address)
{
    uint64_t value = 0x1000000000000001ull ^ iova ^ (address << 16);

    qtest_writeq(vm->qts, address, value);
    g_assert_cmphex(message_read(vm, iova, 0), ==, value);
    g_assert_cmphex(direct_read(vm, iova, 0), ==, value);
    return value;
}

void reach_assert(VFIOUserTestVM *vm, uint64_t iova, uint64_t address)
{
    uint64_t value = assert_reads(vm, iova, address);

    message_write(vm, iova, ~value, 0);
    g_assert_cmphex(qtest_readq(vm->qts, address), ==, ~value);
    direct_write(vm, iova, value + 1, 0);
    g_assert_cmphex(qtest_readq(vm->qts, address), ==, value + 1);
}

void reach_assert_read_only(VFIOUserTestVM *vm, uint64_t iova,
                            uint64_t address)
{
    uint64_t value = assert_reads(vm, iova, address);

    message_write(vm, iova, ~value, -EACCES);
    direct_write(vm, iova, ~value, -EACCES);
    g_assert_cmphex(qtest_readq(vm->qts, address), ==, value);
}

void reach_assert_no_message(VFIOUserTestVM *vm, uint64_t iova)
{
    message_read(vm, iova, -EFAULT);
    message_write(vm, iova, 0, -EFAULT);
}

void reach_assert_nothing(VFIOUserTestVM *vm, uint64_t iova)
{
    reach_assert_no_message(vm, iova);
    direct_read(vm, iova, -ENOENT);
}

static void append_change(GString *text, const MockEntry *entry)
{
    bool map = entry->command == MOCK_DMA_MAP;

    g_string_append_printf(text, "%s%s %" PRIx64 "+%" PRIx64,
                           text->len ? ", " : "", map ? "map" : "unmap",
                           entry->offset, entry->count);
    if (map) {
        g_string_append_printf(text, " %s%s%s", entry->value & 1 ? "r" : "",
                               entry->value & 2 ? "w" : "",
                               entry->fds ? "" : " no-fd");
    }
}

static void assert_changes(VFIOUserTestVM *vm, bool unmaps,
                           const char *expected)
{
    g_autoptr(GString) text = g_string_new(NULL);
    MockEntry entry;

    for (; mock_journal_get(vm->mock, vm->mark, &entry); vm->mark++) {
        if (entry.direction == MOCK_C2S && entry.type == MOCK_TYPE_COMMAND &&
            (entry.command == MOCK_DMA_MAP ||
             (unmaps && entry.command == MOCK_DMA_UNMAP))) {
            append_change(text, &entry);
        }
    }
    g_assert_cmpstr(text->str, ==, expected);
}

void reach_assert_changes(VFIOUserTestVM *vm, const char *expected)
{
    assert_changes(vm, true, expected);
}

void reach_assert_maps(VFIOUserTestVM *vm, const char *expected)
{
    assert_changes(vm, false, expected);
}
