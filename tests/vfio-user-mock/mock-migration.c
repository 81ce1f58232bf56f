/*
 * Migration protocol v1: the device_state register with each behaviour's
 * transitions, and the registers and window through which data moves.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define STATE(x) (1u << MOCK_STATE_##x)
#define NUM_STATES 7

/* Bit n of element m: a write of n is accepted in state m */
static const uint8_t strict_transitions[NUM_STATES] = {
    [MOCK_STATE_STOP] = STATE(RUNNING),
    [MOCK_STATE_RUNNING] = STATE(STOP) | STATE(STOP_COPY) | STATE(PRE_COPY) |
                           STATE(RESUMING),
    [MOCK_STATE_STOP_COPY] = STATE(STOP) | STATE(RUNNING),
    [MOCK_STATE_PRE_COPY] = STATE(STOP_COPY),
    [MOCK_STATE_RESUMING] = STATE(RUNNING),
};

static const uint8_t lvu1_transitions[NUM_STATES] = {
    [MOCK_STATE_STOP] = STATE(STOP) | STATE(RUNNING),
    [MOCK_STATE_RUNNING] = STATE(STOP) | STATE(RUNNING) | STATE(STOP_COPY) |
                           STATE(PRE_COPY) | STATE(RESUMING) | STATE(ERROR),
    [MOCK_STATE_STOP_COPY] = STATE(STOP) | STATE(RUNNING) | STATE(STOP_COPY) |
                             STATE(ERROR),
    [MOCK_STATE_PRE_COPY] = STATE(STOP) | STATE(RUNNING) | STATE(STOP_COPY) |
                            STATE(ERROR),
    [MOCK_STATE_RESUMING] = STATE(RUNNING) | STATE(RESUMING) | STATE(ERROR),
};

static bool is_lvu1(const Mock *mock)
{
    return mock->config.behaviour == MOCK_BEHAVIOUR_LVU1;
}

static bool is_saving(uint32_t state)
{
    return state == MOCK_STATE_STOP_COPY || state == MOCK_STATE_PRE_COPY;
}

static bool is_stopped(uint32_t state)
{
    return state == MOCK_STATE_STOP || state == MOCK_STATE_STOP_COPY;
}

static void save_reset(Mock *mock)
{
    MockSave *save = &mock->migration.save;
    uint64_t generation = save->generation + 1;

    if (save->sum) {
        g_checksum_free(save->sum);
    }
    *save = (MockSave) {
        .generation = generation,
        .sum = mock->config.no_sum ? NULL : g_checksum_new(G_CHECKSUM_SHA256),
    };
}

bool mock_migration_init(Mock *mock, GError **error)
{
    MockMigration *migration = &mock->migration;

    migration->state = mock->config.initial_state;
    migration->fd = -1;
    mock_load_reset(mock);
    save_reset(mock);
    if (mock->config.no_migration) {
        return true;
    }
    migration->fd = mock_memory_new("mock-migration",
                                    MOCK_MIG_FILE_OFFSET + MOCK_MIG_DATA,
                                    mock->config.window_size,
                                    &migration->window);
    if (migration->fd < 0) {
        g_set_error(error, G_FILE_ERROR, g_file_error_from_errno(errno),
                    "no memory for the migration region: %s",
                    g_strerror(errno));
        return false;
    }
    return true;
}

void mock_migration_destroy(Mock *mock)
{
    MockMigration *migration = &mock->migration;

    if (migration->fd >= 0) {
        munmap(migration->window, mock->config.window_size);
        close(migration->fd);
    }
    g_clear_pointer(&migration->save.sum, g_checksum_free);
    g_clear_pointer(&migration->load.sum, g_checksum_free);
    g_free(migration->load.trouble);
    g_free(migration->load.trailer);
}

uint64_t mock_migration_region_size(const Mock *mock)
{
    return mock->config.no_migration ?
           0 : MOCK_MIG_DATA + mock->config.window_size;
}

bool mock_migration_allows(Mock *mock, uint16_t command)
{
    if (mock->config.no_migration || !mock->config.refuse_when_stopped ||
        !is_stopped(mock->migration.state)) {
        return true;
    }
    return command == MOCK_REGION_READ || command == MOCK_REGION_WRITE ||
           command == MOCK_DIRTY_PAGES;
}

bool mock_migration_allows_region(Mock *mock, uint32_t region)
{
    return mock->config.no_migration || !mock->config.refuse_when_stopped ||
           mock->migration.state != MOCK_STATE_STOP_COPY ||
           region == MOCK_REGION_MIGRATION;
}

/* --- saving --- */

/* The prepared chunk has reached the client */
static void save_delivered(Mock *mock)
{
    MockSave *save = &mock->migration.save;

    if (save->sum) {
        g_checksum_update(save->sum, mock->migration.window, save->chunk_size);
    }
    save->bytes += save->chunk_size;
    save->chunks++;
    save->position += save->chunk_size;
    if (mock->migration.state == MOCK_STATE_PRE_COPY) {
        save->round_left -= save->chunk_size;
    }
    save->chunk_delivered = true;
}

/* Reads through a mapping are not seen: what was prepared has been read */
static void save_settle(Mock *mock)
{
    if (mock->config.window_mmap &&
        mock->migration.iterator == MOCK_ITERATOR_PREPARED &&
        !mock->migration.save.chunk_delivered) {
        save_delivered(mock);
    }
}

static uint64_t save_pending(Mock *mock)
{
    const MockConfig *config = &mock->config;
    MockSave *save = &mock->migration.save;

    if (!config->migration_size) {
        return 0;
    }
    switch (mock->migration.state) {
    case MOCK_STATE_PRE_COPY:
        if (!save->round_left && save->rounds < config->precopy_rounds) {
            save->rounds++;
            save->round_left = config->precopy_round_size;
        }
        return save->round_left && config->precopy_pending ?
               config->precopy_pending : save->round_left;
    case MOCK_STATE_STOP_COPY:
        return save->total - save->position;
    default:
        return 0;
    }
}

static void save_prepare(Mock *mock)
{
    MockSave *save = &mock->migration.save;
    uint64_t left = save->round_left;

    save->chunk_read = 0;
    save->chunk_delivered = false;
    if (mock->migration.state == MOCK_STATE_STOP_COPY) {
        left = save->total - save->position - MOCK_STREAM_TAIL;
        if (!left) {
            save->chunk_size = MOCK_STREAM_TAIL;
            mock_stream_tail(mock, mock->migration.window);
            return;
        }
    }
    save->chunk_size = MIN(left, mock->config.chunk_size);
    mock_stream_generate(mock, save->position, mock->migration.window,
                         save->chunk_size);
}

static int read_pending(Mock *mock, uint64_t *value)
{
    MockMigration *migration = &mock->migration;

    save_settle(mock);
    switch (migration->iterator) {
    case MOCK_ITERATOR_FINISHED:
        if (is_lvu1(mock)) {
            *value = 0;
            return 0;
        }
        break;
    case MOCK_ITERATOR_STARTED:
        *value = migration->save.pending;
        return 0;
    default:
        break;
    }
    *value = migration->save.pending = save_pending(mock);
    migration->iterator = *value ? MOCK_ITERATOR_STARTED :
                                   MOCK_ITERATOR_FINISHED;
    return 0;
}

static int read_data_offset(Mock *mock, uint64_t *value)
{
    MockMigration *migration = &mock->migration;

    *value = MOCK_MIG_DATA;
    if (migration->state == MOCK_STATE_RESUMING) {
        return 0;
    }
    if (!is_saving(migration->state)) {
        return -EINVAL;
    }
    switch (migration->iterator) {
    case MOCK_ITERATOR_STARTED:
        save_prepare(mock);
        migration->iterator = MOCK_ITERATOR_PREPARED;
        return 0;
    case MOCK_ITERATOR_PREPARED:
        return 0;
    default:
        return -EINVAL;
    }
}

/* libvfio-user lets a read before data_offset through, with a stale size */
static int read_data_size(Mock *mock, uint64_t *value)
{
    MockMigration *migration = &mock->migration;

    if (migration->state == MOCK_STATE_RESUMING) {
        *value = 0;
        return 0;
    }
    if (!is_saving(migration->state) ||
        (migration->iterator != MOCK_ITERATOR_PREPARED &&
         !(is_lvu1(mock) && migration->iterator == MOCK_ITERATOR_STARTED))) {
        return -EINVAL;
    }
    *value = migration->save.chunk_size;
    return 0;
}

static int read_data(Mock *mock, uint64_t offset, uint8_t *data,
                     uint32_t count)
{
    MockMigration *migration = &mock->migration;
    MockSave *save = &migration->save;
    uint64_t size = save->chunk_size;

    if (!is_saving(migration->state) ||
        migration->iterator != MOCK_ITERATOR_PREPARED || offset > size ||
        count > size - offset) {
        return -EINVAL;
    }
    memcpy(data, migration->window + offset, count);
    if (offset <= save->chunk_read && offset + count > save->chunk_read) {
        save->chunk_read = offset + count;
    }
    if (save->chunk_read == size && !save->chunk_delivered &&
        !mock->config.window_mmap) {
        save_delivered(mock);
    }
    return 0;
}

int mock_migration_read(Mock *mock, uint64_t offset, uint8_t *data,
                        uint32_t count)
{
    uint64_t value = 0;
    int error;

    if (offset >= MOCK_MIG_DATA) {
        return read_data(mock, offset - MOCK_MIG_DATA, data, count);
    }
    if (count != (offset == MOCK_MIG_DEVICE_STATE ? 4 : 8)) {
        return -EINVAL;
    }
    switch (offset) {
    case MOCK_MIG_DEVICE_STATE:
        value = mock->migration.state;
        error = 0;
        break;
    case MOCK_MIG_PENDING_BYTES:
        error = read_pending(mock, &value);
        break;
    case MOCK_MIG_DATA_OFFSET:
        error = read_data_offset(mock, &value);
        break;
    case MOCK_MIG_DATA_SIZE:
        error = read_data_size(mock, &value);
        break;
    default:
        error = -EINVAL;
        break;
    }
    if (!error) {
        mock_store(data, value, count);
    }
    return error;
}

/* --- device_state --- */

static void set_state(Mock *mock, uint32_t state)
{
    mock->migration.state = state;
    mock->migration.iterator = MOCK_ITERATOR_INITIAL;
    g_cond_broadcast(&mock->changed);
}

/*
 * What the device does on a transition: begin or go on with a stream. A
 * redundant STOP_COPY fills its part of the stream again, as libvfio-user's
 * sample servers do.
 */
static void enter_state(Mock *mock, uint32_t old, uint32_t state)
{
    MockSave *save = &mock->migration.save;

    if (is_saving(state) && !is_saving(old)) {
        save_reset(mock);
    }
    if (state == MOCK_STATE_STOP_COPY) {
        if (old == MOCK_STATE_STOP_COPY) {
            save->position = save->stop_copy_start;
        } else {
            save->stop_copy_start = save->position;
            save->total = MAX(mock->config.migration_size,
                              save->position + MOCK_STREAM_TAIL);
        }
        save->round_left = 0;
    }
    if (state == MOCK_STATE_RESUMING) {
        mock_load_reset(mock);
    }
}

static int write_state(Mock *mock, uint32_t state)
{
    MockMigration *migration = &mock->migration;
    const uint8_t *table = is_lvu1(mock) ? lvu1_transitions :
                                           strict_transitions;
    uint32_t old = migration->state;

    if (state >= NUM_STATES || !(table[old] & (1u << state))) {
        return -EINVAL;
    }
    save_settle(mock);
    if (old == MOCK_STATE_RESUMING && state == MOCK_STATE_RUNNING) {
        if (mock_load_trouble(mock)) {
            return -EINVAL;
        }
        if (migration->load.trailer) {
            mock_stream_apply(mock, migration->load.trailer);
        }
    }
    enter_state(mock, old, state);
    set_state(mock, state);
    return 0;
}

static int write_data_size(Mock *mock, uint64_t size)
{
    MockMigration *migration = &mock->migration;

    if (migration->state != MOCK_STATE_RESUMING ||
        size > mock->config.window_size) {
        return -EINVAL;
    }
    if (size) {
        mock_stream_load(mock, migration->window, size);
    }
    return 0;
}

static int write_data(Mock *mock, uint64_t offset, const uint8_t *data,
                      uint32_t count)
{
    if (mock->migration.state != MOCK_STATE_RESUMING) {
        return -EINVAL;
    }
    memcpy(mock->migration.window + offset, data, count);
    return 0;
}

int mock_migration_write(Mock *mock, uint64_t offset, const uint8_t *data,
                         uint32_t count)
{
    if (offset >= MOCK_MIG_DATA) {
        return write_data(mock, offset - MOCK_MIG_DATA, data, count);
    }
    if (offset == MOCK_MIG_DEVICE_STATE && count == 4) {
        return write_state(mock, mock_load(data, 4));
    }
    if (offset == MOCK_MIG_DATA_SIZE && count == 8) {
        return write_data_size(mock, mock_load(data, 8));
    }
    return -EINVAL;
}

int mock_migration_reset(Mock *mock)
{
    MockBehaviour behaviour = mock->config.behaviour;
    uint32_t state = mock->migration.state;

    if (mock->config.no_migration || behaviour == MOCK_BEHAVIOUR_STRICT) {
        mock_device_reset(mock);
        set_state(mock, MOCK_STATE_RUNNING);
        return 0;
    }
    if (is_stopped(state)) {
        return -EINVAL;
    }
    mock_device_reset(mock);
    if (state == MOCK_STATE_ERROR) {
        return -EINVAL;
    }
    if (behaviour != MOCK_BEHAVIOUR_STATE_KEPT) {
        set_state(mock, MOCK_STATE_RUNNING);
    }
    g_cond_broadcast(&mock->changed);
    return 0;
}

/* libvfio-user leaves device_state alone when the guest resets the function */
void mock_migration_function_reset(Mock *mock)
{
    mock_device_reset(mock);
    if (mock->config.behaviour == MOCK_BEHAVIOUR_RESET_TO_RUNNING) {
        set_state(mock, MOCK_STATE_RUNNING);
    }
}

void mock_migration_reconnect(Mock *mock)
{
    if ((mock->config.behaviour == MOCK_BEHAVIOUR_LVU1 &&
         mock->migration.state != MOCK_STATE_ERROR) ||
        mock->config.behaviour == MOCK_BEHAVIOUR_RESET_TO_RUNNING) {
        set_state(mock, MOCK_STATE_RUNNING);
    }
}

uint32_t mock_device_state(Mock *mock)
{
    MOCK_LOCK_GUARD(mock);

    return mock->migration.state;
}

bool mock_wait_device_state(Mock *mock, uint32_t device_state,
                            unsigned timeout_ms)
{
    MOCK_LOCK_GUARD(mock);
    int64_t deadline = mock_deadline(timeout_ms);

    while (mock->migration.state != device_state) {
        if (!g_cond_wait_until(&mock->changed, &mock->lock, deadline)) {
            return false;
        }
    }
    return true;
}

static char *sum_string(const GChecksum *sum)
{
    g_autoptr(GChecksum) copy = sum ? g_checksum_copy(sum) : NULL;

    return copy ? g_strdup(g_checksum_get_string(copy)) : NULL;
}

char *mock_saved_sum(Mock *mock, uint64_t *bytes, unsigned *chunks)
{
    MOCK_LOCK_GUARD(mock);
    const MockSave *save = &mock->migration.save;

    if (bytes) {
        *bytes = save->bytes;
    }
    if (chunks) {
        *chunks = save->chunks;
    }
    return sum_string(save->sum);
}

char *mock_loaded_sum(Mock *mock, uint64_t *bytes, unsigned *chunks)
{
    MOCK_LOCK_GUARD(mock);
    const MockLoad *load = &mock->migration.load;

    if (bytes) {
        *bytes = load->bytes;
    }
    if (chunks) {
        *chunks = load->chunks;
    }
    return sum_string(load->sum);
}

bool mock_loaded_is_good(Mock *mock, char **why)
{
    MOCK_LOCK_GUARD(mock);
    const char *trouble = mock_load_trouble(mock);

    if (!trouble && !mock->migration.load.started) {
        trouble = "nothing was loaded";
    }
    if (trouble && why) {
        *why = g_strdup(trouble);
    }
    return !trouble;
}
