/*
 * The fake kernel's migration region, protocol v1: device_state as the
 * specification has it, and a stream of data that is checked when it is
 * loaded.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "fake-kernel.h"

#define STATE_BITS 7u
#define WINDOW_SIZE (FAKE_KERNEL_MIGRATION_SIZE - FAKE_KERNEL_MIGRATION_DATA)
#define MAGIC 0xfa4ec0deu
/* More than QEMU would leave for the time when the guest stands still */
#define MUCH (1ull << 40)

#define REGISTER(name) offsetof(struct vfio_device_migration_info, name)

enum { STOP, RUNNING, STOP_COPY, PRE_COPY, RESUMING, ERROR = 6 };

/* Which states can follow, one bit for each; to stay is always possible */
static const uint8_t next_states[] = {
    [STOP] = 1 << RUNNING,
    [RUNNING] = 1 << STOP | 1 << STOP_COPY | 1 << PRE_COPY | 1 << RESUMING,
    [STOP_COPY] = 1 << STOP | 1 << RUNNING,
    [PRE_COPY] = 1 << STOP_COPY,
    [RESUMING] = 1 << RUNNING,
};

/* The data: chunks of these sizes in either of the states that save */
static const uint32_t pre_copy_sizes[] = { 0x10000, 0x10000, 0x10000 };
static const uint32_t stop_copy_sizes[] = { 0x180000, 0x100 };

#define NUM_PRE_COPY (sizeof(pre_copy_sizes) / sizeof(*pre_copy_sizes))
#define NUM_STOP_COPY (sizeof(stop_copy_sizes) / sizeof(*stop_copy_sizes))

typedef struct ChunkHead {
    uint32_t magic;
    uint16_t state;
    uint16_t number;
} ChunkHead;

static struct {
    uint8_t *window;
    uint32_t state;
    unsigned next[PRE_COPY + 1];        /* chunk, by the state */
    bool prepared;                      /* the next one is in the window */
    uint32_t size;                      /* of that one */
    uint32_t read;                      /* of that one */
    bool takes_time;                    /* the read that is being made */
} migration;

static void begin_data(void)
{
    memset(migration.next, 0, sizeof(migration.next));
    migration.prepared = false;
}

void fake_kernel_migration_open(uint8_t *window)
{
    migration.window = window;
    migration.state = RUNNING;
    begin_data();
}

void fake_kernel_migration_reset(void)
{
    if (!fake_kernel_behaviour.reset_keeps_state) {
        migration.state = RUNNING;
        begin_data();
    }
}

/* --- chunks --- */

static uint8_t chunk_byte(const ChunkHead *head, uint32_t offset)
{
    return offset * 7 + (offset >> 8) + head->state * 16 + head->number;
}

/* An unknown chunk has no size */
static uint32_t chunk_size(unsigned state, unsigned number)
{
    if (state == PRE_COPY && number < NUM_PRE_COPY) {
        return pre_copy_sizes[number];
    }
    if (state == STOP_COPY && number < NUM_STOP_COPY) {
        return stop_copy_sizes[number];
    }
    return 0;
}

static void fill_chunk(const ChunkHead *head, uint32_t size)
{
    uint32_t i;

    memcpy(migration.window, head, sizeof(*head));
    for (i = sizeof(*head); i < size; i++) {
        migration.window[i] = chunk_byte(head, i);
    }
}

static bool is_chunk(const ChunkHead *head, uint64_t size)
{
    uint32_t i;

    if (head->magic != MAGIC || !size ||
        size != chunk_size(head->state, head->number)) {
        return false;
    }
    for (i = sizeof(*head); i < size; i++) {
        if (migration.window[i] != chunk_byte(head, i)) {
            return false;
        }
    }
    return true;
}

/* --- saving --- */

static bool is_saving(void)
{
    return migration.state == PRE_COPY || migration.state == STOP_COPY;
}

/* Nobody reads what is in the FIFO: once open, it stays so */
bool fake_kernel_gate_opens(int ms)
{
    static int fd = -1;
    struct pollfd gate = { .events = POLLIN };

    if (fd < 0) {
        fd = open(getenv(FAKE_KERNEL_GATE) ?: "",
                  O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    }
    gate.fd = fd;
    return fd < 0 || poll(&gate, 1, ms) > 0;
}

/* The last chunk of the pre-copy has to wait for the gate */
static bool is_held_back(void)
{
    return migration.state == PRE_COPY &&
           migration.next[PRE_COPY] == NUM_PRE_COPY - 1 &&
           !fake_kernel_gate_opens(0);
}

bool fake_kernel_migration_takes_time(void)
{
    bool takes_time = migration.takes_time;

    migration.takes_time = false;
    return takes_time;
}

/* Whoever asks this has got what was prepared */
static uint64_t pending_bytes(void)
{
    uint64_t pending = 0;
    unsigned i;

    if (!is_saving()) {
        return 0;
    }
    if (migration.prepared && migration.size) {
        if (migration.read != migration.size &&
            !fake_kernel_behaviour.data_mappable) {
            fake_kernel_journal("BAD data: %u bytes of %u read",
                                migration.read, migration.size);
        }
        migration.next[migration.state]++;
    }
    migration.prepared = false;
    for (i = migration.next[migration.state];
         chunk_size(migration.state, i); i++) {
        pending += chunk_size(migration.state, i);
    }
    return migration.state == PRE_COPY && pending ? MUCH : pending;
}

/* While it is held back the device has no data, which the protocol allows */
static ssize_t prepare_chunk(void)
{
    ChunkHead head = {
        .magic = MAGIC,
        .state = migration.state,
        .number = migration.next[migration.state],
    };

    if (migration.prepared) {
        return 0;
    }
    migration.size = chunk_size(head.state, head.number);
    if (!migration.size) {
        return -EINVAL;
    }
    if (fake_kernel_behaviour.error_in_data && migration.state == STOP_COPY) {
        fake_kernel_behaviour.error_in_data = false;
        migration.state = ERROR;
        fake_kernel_journal("ERROR");
        return -EIO;
    }
    migration.prepared = true;
    migration.read = 0;
    if (is_held_back()) {
        migration.size = 0;
        migration.takes_time = true;
        return 0;
    }
    fill_chunk(&head, migration.size);
    fake_kernel_journal("SAVE %u/%u", head.state, head.number);
    if (head.state == PRE_COPY && head.number == 1) {
        fake_kernel_dma_fill(FAKE_KERNEL_PRE_COPY_PAGE,
                             FAKE_KERNEL_PRE_COPY_BYTE);
    }
    return 0;
}

static ssize_t read_data(void *data, size_t size, uint64_t offset)
{
    if (!is_saving() || !migration.prepared || offset != migration.read ||
        size > migration.size - migration.read) {
        fake_kernel_journal("BAD data read: %zu at %lu", size,
                            (unsigned long)offset);
        return -EINVAL;
    }
    memcpy(data, migration.window + offset, size);
    migration.read += size;
    return size;
}

/* --- loading --- */

/* One after the other, and from the start when the source began anew */
static ssize_t load_chunk(uint64_t size)
{
    ChunkHead head;

    memcpy(&head, migration.window, sizeof(head));
    if (migration.state != RESUMING || !is_chunk(&head, size) ||
        (head.number && head.number != migration.next[head.state])) {
        fake_kernel_journal("BAD chunk: %lu bytes in state %u",
                            (unsigned long)size, migration.state);
        return -EINVAL;
    }
    migration.next[head.state] = head.number + 1;
    fake_kernel_journal("LOAD %u/%u", head.state, head.number);
    return 0;
}

/* --- device_state --- */

static bool may_follow(uint32_t from, uint32_t to)
{
    return from == to || next_states[from] & 1 << to ||
           (fake_kernel_behaviour.may_cancel && from == PRE_COPY &&
            to == RUNNING);
}

static ssize_t change_state(uint32_t value)
{
    uint32_t to = value & STATE_BITS;

    if (value - to != fake_kernel_behaviour.reserved) {
        return -EINVAL;
    }
    if (migration.state == ERROR) {
        return -EIO;
    }
    if ((int)to == fake_kernel_behaviour.error_on) {
        fake_kernel_behaviour.error_on = -1;
        migration.state = ERROR;
        return -EIO;
    }
    if (!may_follow(migration.state, to)) {
        return -EINVAL;
    }
    if (migration.state == RESUMING && to == RUNNING &&
        migration.next[STOP_COPY] != NUM_STOP_COPY) {
        fake_kernel_journal("BAD end of the device data");
        return -EINVAL;
    }
    if (to == STOP_COPY) {
        fake_kernel_dma_fill(FAKE_KERNEL_STOP_COPY_PAGE,
                             FAKE_KERNEL_STOP_COPY_BYTE);
    }
    migration.state = to;
    begin_data();
    return 0;
}

static ssize_t write_state(uint32_t value)
{
    ssize_t ret = change_state(value);

    fake_kernel_journal("W %u%s", value & STATE_BITS, ret ? "!" : "");
    return ret;
}

static uint32_t read_state(void)
{
    fake_kernel_journal("R %u", migration.state);
    return migration.state | fake_kernel_behaviour.reserved;
}

/* --- the region --- */

static ssize_t read_register(uint64_t *value, size_t size, uint64_t offset)
{
    if (offset == REGISTER(device_state) && size == 4) {
        *value = read_state();
        return 0;
    }
    if (size != 8) {
        return -EINVAL;
    }
    switch (offset) {
    case REGISTER(pending_bytes):
        *value = pending_bytes();
        return 0;
    case REGISTER(data_offset):
        *value = FAKE_KERNEL_MIGRATION_DATA;
        if (migration.state == RESUMING) {
            memset(migration.window, 0, WINDOW_SIZE);
            return 0;
        }
        return is_saving() ? prepare_chunk() : -EINVAL;
    case REGISTER(data_size):
        *value = migration.size;
        return is_saving() && migration.prepared ? 0 : -EINVAL;
    }
    return -EINVAL;
}

ssize_t fake_kernel_migration_read(void *data, size_t size, uint64_t offset)
{
    uint64_t value = 0;
    ssize_t ret;

    if (offset >= FAKE_KERNEL_MIGRATION_DATA) {
        return read_data(data, size, offset - FAKE_KERNEL_MIGRATION_DATA);
    }
    ret = read_register(&value, size, offset);
    if (ret) {
        return ret;
    }
    memcpy(data, &value, size);
    return size;
}

ssize_t fake_kernel_migration_write(const void *data, size_t size,
                                    uint64_t offset)
{
    uint64_t value = 0;
    ssize_t ret = -EINVAL;

    if (offset >= FAKE_KERNEL_MIGRATION_DATA) {
        if (migration.state != RESUMING) {
            fake_kernel_journal("BAD data write in state %u", migration.state);
            return -EINVAL;
        }
        memcpy(migration.window + offset - FAKE_KERNEL_MIGRATION_DATA, data,
               size);
        return size;
    }
    if (size <= sizeof(value)) {
        memcpy(&value, data, size);
    }
    if (offset == REGISTER(device_state) && size == 4) {
        ret = write_state(value);
    } else if (offset == REGISTER(data_size) && size == 8) {
        ret = load_chunk(value);
    }
    return ret ?: (ssize_t)size;
}
