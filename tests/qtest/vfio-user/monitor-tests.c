/*
 * While a stopped device's data is saved: the monitor answers, and what would
 * do harm to the migration waits or is refused.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"

#define MIB (1024 * 1024)
#define PAGE 0x00a00000
#define PATTERN 0x6d

/* The first read of a chunk that there is only when the device has stopped */
#define IN_STOP_COPY(act_, then_) \
    { .where = { .command = MOCK_REGION_READ, \
                 .match = MOCK_MATCH_REGION | MOCK_MATCH_OFFSET_FROM | \
                          MOCK_MATCH_COUNT, \
                 .region = MOCK_REGION_MIGRATION, .offset = MOCK_MIG_DATA, \
                 .count = MIB }, \
      .nth = 1, .act = (act_), .then = (then_) }

static void what_must_not_be_is_refused(VFIOUserTestPair *pair)
{
    VFIOUserTestVM *vm = pair->source;

    vfio_user_test_assert_status(vm, "finish-migrate");
    vfio_user_test_qmp_error(vm, "not finalized yet", "{'execute': 'cont'}");
}

static const VFIOUserMigrationTest answers = {
    .moments = { IN_STOP_COPY(what_must_not_be_is_refused, NULL) },
    .source_states = "W3 W2 W0",
    .destination_states = "W4 W1",
};

/* As a backend of some other device may, which knows nothing of migration */
static void memory_changes(VFIOUserTestPair *pair)
{
    size_t size = qemu_real_host_page_size();

    qtest_memset(pair->source->qts, PAGE, PATTERN, size);
    g_hash_table_insert(pair->pages, GSIZE_TO_POINTER(PAGE),
                        GUINT_TO_POINTER(PATTERN));
}

static const VFIOUserMigrationTest memory = {
    .moments = { IN_STOP_COPY(memory_changes, NULL) },
    .source_states = "W3 W2 W0",
    .destination_states = "W4 W1",
};

static void cancel(VFIOUserTestPair *pair)
{
    vfio_user_test_qmp(pair->source, "{'execute': 'migrate_cancel'}");
}

static const VFIOUserMigrationTest cancelled = {
    .moments = { IN_STOP_COPY(cancel, NULL) },
    .source_states = "W3 W2 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_CANCELLED,
};

static void reset_and_cancel(VFIOUserTestPair *pair)
{
    VFIOUserTestVM *vm = pair->source;
    QDict *event;

    vfio_user_test_qmp(vm, "{'execute': 'system_reset'}");
    vfio_user_test_settle(vm);
    event = qtest_qmp_event_ref(vm->qts, "RESET");
    if (event) {
        vfio_user_test_fail("the guest was reset while its device was saved");
    }
    cancel(pair);
}

static void reset_comes(VFIOUserTestPair *pair)
{
    MockPattern reset = MOCK_PATTERN_COMMAND(MOCK_DEVICE_RESET);

    g_assert_cmpint(mock_journal_wait(pair->source->mock, pair->source->mark,
                                      &reset, 1, VFIO_USER_TEST_DEADLINE_MS),
                    >=, 0);
    /* it may come more than once */
    vfio_user_test_settle(pair->source);
    vfio_user_test_fill_device(pair);
}

/* The guest starts anew, with a device that runs. */
static const VFIOUserMigrationTest reset_waits = {
    .moments = { IN_STOP_COPY(reset_and_cancel, reset_comes) },
    .source_states = "W3 W2 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_CANCELLED,
};

void vfio_user_test_add_monitor(void)
{
    static const struct {
        const char *name;
        const VFIOUserMigrationTest *test;
    } tests[] = {
        { "/vfio-user/monitor/answers", &answers },
        { "/vfio-user/monitor/cancel", &cancelled },
        { "/vfio-user/monitor/memory", &memory },
        { "/vfio-user/monitor/reset", &reset_waits },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(tests); i++) {
        vfio_user_test_add(tests[i].name, vfio_user_test_migration,
                           tests[i].test);
    }
}
