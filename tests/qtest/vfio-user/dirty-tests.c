/*
 * Pages that the device writes during a migration: none may be lost, whatever
 * the server says of them, or does not.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "steps.h"

#define MIB (1024 * 1024)

/* A page that is in the mapping from 0 on, which the PAM registers change */
#define LOW_PAGE 0x00010000

static const MockPattern dirty_get = MOCK_PATTERN_DIRTY(4);
static const MockPattern dirty_get_reply = {
    .direction = MOCK_S2C, .type = MOCK_TYPE_REPLY,
    .command = MOCK_DIRTY_PAGES, .match = MOCK_MATCH_OFFSET_FROM,
};

/* --- what the server refuses, as migrations that fail --- */

#define AT_DATA_SIZE_READ(n, what) \
    { .where = MOCK_PATTERN_REGION(MOCK_REGION_READ, MOCK_REGION_MIGRATION, \
                                   MOCK_MIG_DATA_SIZE), \
      .nth = (n), .act = (what) }
#define AT_STATE_WRITE(value, what) \
    { .where = MOCK_PATTERN_STATE_WRITE(value), .nth = 1, .act = (what) }
#define STATE(value) MOCK_STEP_ONE(MOCK_PATTERN_STATE_WRITE(value))
#define DIRTY(flags) MOCK_STEP_ONE(MOCK_PATTERN_DIRTY(flags))

static const MockPattern states_and_dirty_log[] = {
    MOCK_PATTERN_ANY_STATE_WRITE(),
    MOCK_PATTERN_COMMAND(MOCK_DIRTY_PAGES),
};

static const VFIOUserMigrationTest start_refused = {
    .source_rules[0] = { .where = MOCK_PATTERN_DIRTY(1),
                         .action = MOCK_ACTION_ERROR, .error = ENOMEM },
    .source_states = "W3 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_FAILED,
    .error = "DIRTY_PAGES: server error: Cannot allocate memory",
};

static const VFIOUserMigrationTest get_refused = {
    .source_rules[0] = { .where = MOCK_PATTERN_DIRTY(4), .nth = 1,
                         .action = MOCK_ACTION_ERROR, .error = ENOMEM },
    .source_states = "W3 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_FAILED,
    .error = "DIRTY_PAGES: server error: Cannot allocate memory",
};

/* libvfio-user's answer for a device that it knows to do no DMA */
static const VFIOUserMigrationTest no_bitmap = {
    .source_rules[0] = { .where = MOCK_PATTERN_DIRTY(4), .nth = 1,
                         .action = MOCK_ACTION_REPLY, .data = "",
                         .data_size = 0 },
    .source_states = "W3 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_FAILED,
    .error = "DIRTY_PAGES: the server has no bitmap",
};

/* --- pages that are written by message --- */

static void write_after_first_pass(VFIOUserTestPair *pair)
{
    vfio_user_test_dirty_page(pair, 0x01000000, 0xa1);
    vfio_user_test_dirty_page(pair, 0x01234000, 0xa2);
}

/* The state change waits for its answer, and the server for one of QEMU's */
static void write_before_stop(VFIOUserTestPair *pair)
{
    vfio_user_test_dirty_page(pair, LOW_PAGE, 0xb0);
    vfio_user_test_dirty_page(pair, 0x01234000, 0xb1);
    vfio_user_test_dirty_page(pair, VFIO_USER_TEST_RAM_SIZE - 64 * 1024, 0xb2);
}

/* The server has no log of what QEMU has written for it */
static const MockStep nothing_to_ask[] = {
    DIRTY(1), STATE(MOCK_STATE_PRE_COPY), STATE(MOCK_STATE_STOP_COPY),
    STATE(MOCK_STATE_STOP),
};

#define WRITTEN_BY_MESSAGE \
    .bandwidth = 1 * MIB, \
    .moments = { \
        AT_DATA_SIZE_READ(2, write_after_first_pass), \
        AT_STATE_WRITE(MOCK_STATE_STOP_COPY, write_before_stop), \
    }, \
    .source_states = "W3 W2 W0", \
    .source_dirty = VFIO_USER_TEST_SEQUENCE(states_and_dirty_log, \
                                            nothing_to_ask), \
    .destination_states = "W4 W1"

static const VFIOUserMigrationTest secure = {
    .device = "secure-dma=on", WRITTEN_BY_MESSAGE,
};

static const VFIOUserMigrationTest private_ram = {
    .private_ram = true, WRITTEN_BY_MESSAGE,
};

static const VFIOUserMigrationTest twin = {
    .device = "secure-dma=on", .twin_socket = true, WRITTEN_BY_MESSAGE,
};

/* One request after the other, and nothing is missing for that */
static const VFIOUserMigrationTest queued = {
    .device = "x-send-queued=on",
    .bandwidth = 1 * MIB,
    .moments = {
        AT_DATA_SIZE_READ(2, write_after_first_pass),
        AT_STATE_WRITE(MOCK_STATE_STOP_COPY, write_before_stop),
    },
    .source_states = "W3 W2 W0",
    .destination_states = "W4 W1",
};

/* --- migrations step by step --- */

/* A server that takes 300 ms for a bitmap, and two ranges of memory */
static void test_dirty_pipelined(const void *data)
{
    static const MockRule slow = {
        .where = MOCK_PATTERN_DIRTY(4), .nth = 1,
        .action = MOCK_ACTION_DELAY, .delay_ms = 300,
    };
    Migration migration;
    Mock *mock;
    int second, reply;

    migration_start(&migration, NULL, NULL);
    mock = migration.source->vm->mock;
    mock_add_rules(mock, &slow, 1);
    migration_run(&migration, 1024 * MIB);
    g_free(migration_wait(migration.source->vm, "completed"));
    second = mock_journal_wait(mock, 0, &dirty_get, 2, 0);
    reply = mock_journal_wait(mock, mock_journal_wait(mock, 0, &dirty_get, 1,
                                                      0),
                              &dirty_get_reply, 1, 0);
    g_assert_cmpint(second, >, 0);
    g_assert_cmpint(reply, >, second);
    migration_end(&migration);
}

/*
 * The last bitmaps are asked for as soon as the device has stopped: it is at
 * them while QEMU goes on, and QEMU does not ask once more.
 */
static void test_dirty_ahead(const void *data)
{
    static const MockPattern pending = MOCK_PATTERN_REGION(
        MOCK_REGION_READ, MOCK_REGION_MIGRATION, MOCK_MIG_PENDING_BYTES);
    static const MockRule rules[] = {
        { .where = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY),
          .action = MOCK_ACTION_HOLD },
        { .where = MOCK_PATTERN_DIRTY(4), .action = MOCK_ACTION_DEFER },
    };
    Migration migration;
    unsigned mark, asked;
    Mock *mock;

    migration_start(&migration, NULL, NULL);
    mock = migration.source->vm->mock;
    mock_add_rules(mock, &rules[0], 1);
    migration_run(&migration, 1024 * MIB);
    g_assert_true(mock_wait_held(mock, 1, VFIO_USER_TEST_DEADLINE_MS));
    migration_device_writes(&migration, LOW_PAGE, 0xc3);
    mock_add_rules(mock, &rules[1], 1);
    mark = mock_journal_length(mock);
    g_assert_cmpuint(mock_release(mock), ==, 1);

    g_assert_cmpint(mock_journal_wait(mock, mark, &pending, 1,
                                      VFIO_USER_TEST_DEADLINE_MS), >, 0);
    asked = mock_journal_count(mock, mark, &dirty_get);
    g_assert_cmpuint(asked, >, 0);
    mock_clear_rules(mock);
    g_assert_cmpuint(mock_release(mock), ==, asked);
    g_free(migration_wait(migration.source->vm, "completed"));
    g_assert_cmpuint(mock_journal_count(mock, mark, &dirty_get), ==, asked);
    migration_assert_arrived(&migration, LOW_PAGE, 0xc3);
    migration_end(&migration);
}

/* Config space is changed in another thread: it waits for the server. */
static gpointer show_shadow_ram(gpointer opaque)
{
    Guest *guest = opaque;
    g_autofree QPCIDevice *bridge = NULL;

    bridge = qpci_device_find(guest->bus, QPCI_DEVFN(0, 0));
    qpci_config_writeb(bridge, 0x91, 0x33);
    return NULL;
}

/*
 * The device writes a page when the unmap has arrived, and no bitmap is asked
 * for any more: the unmap itself has to bring it.
 */
static void test_dirty_unmap(const void *data)
{
    static const MockRule hold = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_UNMAP), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };
    Migration migration;
    MockConfig config;
    GThread *thread;
    Mock *mock;

    migration_slow_device(&config);
    migration_start(&migration, &config, NULL);
    mock = migration.source->vm->mock;
    migration_run_slowly(&migration);
    mock_add_rules(mock, &hold, 1);
    thread = g_thread_new("guest", show_shadow_ram, migration.source);
    g_assert_true(mock_wait_held(mock, 1, VFIO_USER_TEST_DEADLINE_MS));
    migration_device_writes(&migration, LOW_PAGE, 0xc1);
    g_assert_cmpuint(mock_release(mock), ==, 1);
    g_thread_join(thread);
    migration_finish(&migration);
    migration_assert_arrived(&migration, LOW_PAGE, 0xc1);
    migration_end(&migration);
}

/*
 * The same when the server has just been told to stop, so that it is not told
 * of the unmap before it has left the migration.
 */
static void test_dirty_unmap_stopped(const void *data)
{
    static const MockPattern unmap = MOCK_PATTERN_COMMAND(MOCK_DMA_UNMAP);
    Migration migration;
    MockConfig config;
    Mock *mock;

    migration_slow_device(&config);
    migration_start(&migration, &config,
                    "x-pre-copy-dirty-page-tracking=off");
    mock = migration.source->vm->mock;
    migration_run_slowly(&migration);
    migration_device_writes(&migration, LOW_PAGE, 0xc2);
    vfio_user_test_qmp(migration.source->vm, "{'execute': 'stop'}");
    show_shadow_ram(migration.source);
    migration_finish(&migration);
    g_assert_cmpuint(mock_journal_count(mock, migration.source->vm->mark,
                                        &unmap), ==, 0);
    migration_assert_arrived(&migration, LOW_PAGE, 0xc2);
    migration_end(&migration);
}

/* No bitmap of this memory fits into what the server can send. */
static void test_dirty_too_large(const void *data)
{
    g_autofree char *desc = NULL;
    Migration migration;
    MockConfig config;

    mock_config_init(&config);
    config.max_data_xfer_size = 4096;
    migration_start(&migration, &config, NULL);
    migration_run(&migration, 1024 * MIB);
    desc = migration_wait(migration.source->vm, "failed");
    g_assert_nonnull(desc);
    g_assert_nonnull(strstr(desc, "dev0: memory at 0x100000, size 0x7f00000, "
                            "is too large for the server's dirty log "
                            "(a bitmap of 4064 bytes, limit 4056)"));
    migration_end_failed(&migration);
}

/* A bitmap with too few bits is no bitmap, and the server not to be trusted. */
static void test_dirty_short(const void *data)
{
    static const MockRule truncate = {
        .where = MOCK_PATTERN_DIRTY(4), .nth = 1,
        .action = MOCK_ACTION_TRUNCATE, .bytes = 48,
    };
    g_autofree char *desc = NULL;
    Migration migration;

    migration_start(&migration, NULL, NULL);
    mock_add_rules(migration.source->vm->mock, &truncate, 1);
    migration_run(&migration, 1024 * MIB);
    desc = migration_wait(migration.source->vm, "failed");
    g_assert_nonnull(desc);
    g_assert_nonnull(strstr(desc, "DIRTY_PAGES"));
    migration_end_failed(&migration);
}

static const struct {
    const char *path;
    void (*run)(const void *data);
    const void *data;
} dirty_tests[] = {
    { "start-refused", vfio_user_test_migration, &start_refused },
    { "get-refused", vfio_user_test_migration, &get_refused },
    { "no-bitmap", vfio_user_test_migration, &no_bitmap },
    { "short-bitmap", test_dirty_short },
    { "too-large", test_dirty_too_large },
    { "by-message/secure", vfio_user_test_migration, &secure },
    { "by-message/private-ram", vfio_user_test_migration, &private_ram },
    { "by-message/twin-socket", vfio_user_test_migration, &twin },
    { "queued", vfio_user_test_migration, &queued },
    { "pipelined", test_dirty_pipelined },
    { "ahead", test_dirty_ahead },
    { "unmap", test_dirty_unmap },
    { "unmap/stopped", test_dirty_unmap_stopped },
};

void vfio_user_test_add_dirty(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(dirty_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/dirty/%s",
                                                dirty_tests[i].path);

        vfio_user_test_add(path, dirty_tests[i].run, dirty_tests[i].data);
    }
}
