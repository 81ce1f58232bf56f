/*
 * Migration over the vfio-user client: what the server of a device sees on
 * either side, in order, and what the guest has got in the end.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"

#define KIB 1024
#define MIB (1024 * 1024)

/* --- steps of an expected journal --- */

#define REGISTER_READ(name) \
    MOCK_STEP_ONE(MOCK_PATTERN_REGION(MOCK_REGION_READ, \
                                      MOCK_REGION_MIGRATION, \
                                      MOCK_MIG_##name))
#define REGISTER_WRITE(name) \
    MOCK_STEP_ONE(MOCK_PATTERN_REGION(MOCK_REGION_WRITE, \
                                      MOCK_REGION_MIGRATION, \
                                      MOCK_MIG_##name))
#define STATE(value) MOCK_STEP_ONE(MOCK_PATTERN_STATE_WRITE(value))

#define PATTERN_DATA(command_, count_) \
    { .command = (command_), \
      .match = MOCK_MATCH_REGION | MOCK_MATCH_OFFSET_FROM | MOCK_MATCH_COUNT, \
      .region = MOCK_REGION_MIGRATION, .offset = MOCK_MIG_DATA, \
      .count = (count_) }
#define DATA_READ(count) \
    MOCK_STEP_ONE(PATTERN_DATA(MOCK_REGION_READ, count))
#define DATA_WRITES(number, count) \
    MOCK_STEP_SOME(number, number, PATTERN_DATA(MOCK_REGION_WRITE, count))

/* QEMU asks anew each time it looks whether to go on with the pre-copy */
#define PRECOPY_POLLS \
    MOCK_STEP_SOME(1, MOCK_ANY_NUMBER, \
                   MOCK_PATTERN_REGION(MOCK_REGION_READ, \
                                       MOCK_REGION_MIGRATION, \
                                       MOCK_MIG_PENDING_BYTES))
#define DIRTY_START MOCK_STEP_ONE(MOCK_PATTERN_DIRTY(1))
#define DIRTY_STOP MOCK_STEP_ONE(MOCK_PATTERN_DIRTY(2))
#define DIRTY_GETS(at_least) \
    MOCK_STEP_SOME(at_least, MOCK_ANY_NUMBER, MOCK_PATTERN_DIRTY(4))

static const MockPattern migration_region[] = {
    { .command = MOCK_REGION_READ, .match = MOCK_MATCH_REGION,
      .region = MOCK_REGION_MIGRATION },
    { .command = MOCK_REGION_WRITE, .match = MOCK_MATCH_REGION,
      .region = MOCK_REGION_MIGRATION },
};

static const MockPattern states_and_dirty_log[] = {
    MOCK_PATTERN_ANY_STATE_WRITE(),
    MOCK_PATTERN_COMMAND(MOCK_DIRTY_PAGES),
};

/* --- the regular migration --- */

static const MockStep source_data[] = {
    STATE(MOCK_STATE_PRE_COPY),
    PRECOPY_POLLS, REGISTER_READ(DATA_OFFSET), REGISTER_READ(DATA_SIZE),
    DATA_READ(64 * KIB),
    PRECOPY_POLLS, REGISTER_READ(DATA_OFFSET), REGISTER_READ(DATA_SIZE),
    DATA_READ(64 * KIB),
    PRECOPY_POLLS, REGISTER_READ(DATA_OFFSET), REGISTER_READ(DATA_SIZE),
    DATA_READ(64 * KIB),
    PRECOPY_POLLS,
    STATE(MOCK_STATE_STOP_COPY),
    REGISTER_READ(PENDING_BYTES), REGISTER_READ(DATA_OFFSET),
    REGISTER_READ(DATA_SIZE), DATA_READ(MIB), DATA_READ(512 * KIB),
    REGISTER_READ(PENDING_BYTES), REGISTER_READ(DATA_OFFSET),
    REGISTER_READ(DATA_SIZE), DATA_READ(256),
    REGISTER_READ(PENDING_BYTES),
    STATE(MOCK_STATE_STOP),
};

/* Where the window is mapped, the registers are all that the server sees. */
static const MockStep source_mapped[] = {
    STATE(MOCK_STATE_PRE_COPY),
    PRECOPY_POLLS, REGISTER_READ(DATA_OFFSET), REGISTER_READ(DATA_SIZE),
    PRECOPY_POLLS, REGISTER_READ(DATA_OFFSET), REGISTER_READ(DATA_SIZE),
    PRECOPY_POLLS, REGISTER_READ(DATA_OFFSET), REGISTER_READ(DATA_SIZE),
    PRECOPY_POLLS,
    STATE(MOCK_STATE_STOP_COPY),
    REGISTER_READ(PENDING_BYTES), REGISTER_READ(DATA_OFFSET),
    REGISTER_READ(DATA_SIZE),
    REGISTER_READ(PENDING_BYTES), REGISTER_READ(DATA_OFFSET),
    REGISTER_READ(DATA_SIZE),
    REGISTER_READ(PENDING_BYTES),
    STATE(MOCK_STATE_STOP),
};

static const MockStep destination_mapped[] = {
    STATE(MOCK_STATE_RESUMING),
    REGISTER_READ(DATA_OFFSET), REGISTER_WRITE(DATA_SIZE),
    REGISTER_READ(DATA_OFFSET), REGISTER_WRITE(DATA_SIZE),
    REGISTER_READ(DATA_OFFSET), REGISTER_WRITE(DATA_SIZE),
    REGISTER_READ(DATA_OFFSET), REGISTER_WRITE(DATA_SIZE),
    REGISTER_READ(DATA_OFFSET), REGISTER_WRITE(DATA_SIZE),
    STATE(MOCK_STATE_RUNNING),
};

static const MockStep source_dirty[] = {
    DIRTY_START, DIRTY_GETS(0), STATE(MOCK_STATE_PRE_COPY), DIRTY_GETS(2),
    STATE(MOCK_STATE_STOP_COPY), DIRTY_GETS(1), STATE(MOCK_STATE_STOP),
};

static const MockStep destination_data[] = {
    STATE(MOCK_STATE_RESUMING),
    REGISTER_READ(DATA_OFFSET), DATA_WRITES(2, 32 * KIB),
    REGISTER_WRITE(DATA_SIZE),
    REGISTER_READ(DATA_OFFSET), DATA_WRITES(2, 32 * KIB),
    REGISTER_WRITE(DATA_SIZE),
    REGISTER_READ(DATA_OFFSET), DATA_WRITES(2, 32 * KIB),
    REGISTER_WRITE(DATA_SIZE),
    REGISTER_READ(DATA_OFFSET), DATA_WRITES(48, 32 * KIB),
    REGISTER_WRITE(DATA_SIZE),
    REGISTER_READ(DATA_OFFSET), DATA_WRITES(1, 256),
    REGISTER_WRITE(DATA_SIZE),
    STATE(MOCK_STATE_RUNNING),
};

/*
 * QEMU reads device data only when a pass over guest memory is done, so by
 * now every page has been sent once. A device that is about to stop may write
 * until it has stopped.
 */
static void write_after_first_pass(VFIOUserTestPair *pair)
{
    vfio_user_test_dirty_page(pair, 0x01000000, 0xa1);
    vfio_user_test_dirty_page(pair, 0x01234000, 0xa2);
}

static void write_before_stop(VFIOUserTestPair *pair)
{
    vfio_user_test_dirty_page(pair, 0x01234000, 0xb1);
    vfio_user_test_dirty_page(pair, 0x02000000, 0xb2);
    vfio_user_test_dirty_page(pair, VFIO_USER_TEST_RAM_SIZE - 64 * KIB, 0xb3);
}

#define AT_DATA_SIZE_READ(n, what) \
    { .where = MOCK_PATTERN_REGION(MOCK_REGION_READ, MOCK_REGION_MIGRATION, \
                                   MOCK_MIG_DATA_SIZE), \
      .nth = (n), .act = (what) }
#define AT_STATE_WRITE(value, what) \
    { .where = MOCK_PATTERN_STATE_WRITE(value), .nth = 1, .act = (what) }

/*
 * The bandwidth makes the pass over guest memory take several of QEMU's
 * periods of 100 ms, after which it knows a bandwidth; before, it does not
 * look for dirty pages during the pre-copy.
 */
static const VFIOUserMigrationTest precopy = {
    .bandwidth = 1 * MIB,
    .moments = {
        AT_DATA_SIZE_READ(2, write_after_first_pass),
        AT_STATE_WRITE(MOCK_STATE_STOP_COPY, write_before_stop),
    },
    .source_states = "W3 W2 W0",
    .source_data = VFIO_USER_TEST_SEQUENCE(migration_region, source_data),
    .source_dirty = VFIO_USER_TEST_SEQUENCE(states_and_dirty_log,
                                            source_dirty),
    .destination_states = "W4 W1",
    .destination_data = VFIO_USER_TEST_SEQUENCE(migration_region,
                                                destination_data),
};

static const VFIOUserMigrationTest precopy_mapped = {
    .mapped = true,
    .source_states = "W3 W2 W0",
    .source_data = VFIO_USER_TEST_SEQUENCE(migration_region, source_mapped),
    .destination_states = "W4 W1",
    .destination_data = VFIO_USER_TEST_SEQUENCE(migration_region,
                                                destination_mapped),
};

/* The control: a redundant write that is there is found */
static const VFIOUserMigrationTest precopy_uncached = {
    .device = "x-cache-device-state=off",
    .bandwidth = 1 * MIB,
    .moments = {
        AT_DATA_SIZE_READ(2, write_after_first_pass),
        AT_STATE_WRITE(MOCK_STATE_STOP_COPY, write_before_stop),
    },
    .source_states = "R W3 R W2 R W2 R W0",
    .redundant_writes = 1,
    .destination_states = "R W4 R W1",
};

static const VFIOUserMigrationTest precopy_strict = {
    .behaviour = MOCK_BEHAVIOUR_STRICT,
    .source_states = "W3 W2 W0",
    .source_data = VFIO_USER_TEST_SEQUENCE(migration_region, source_data),
    .destination_states = "W4 W1",
};

/* --- migrations that do not begin --- */

static const VFIOUserMigrationTest unreachable = {
    .uri = "unix:/nonexistent/migration",
    .source_states = "",
    .result = VFIO_USER_TEST_FAILED,
    .error = "/nonexistent/migration",
};

/* What would leave the device behind is refused before it is told anything */
static const VFIOUserMigrationTest postcopy = {
    .uri = "exec:cat > /dev/null",
    .capability = "postcopy-ram",
    .source_states = "",
    .result = VFIO_USER_TEST_FAILED,
    .error = "dev0: postcopy, background snapshots and COLO do not work",
};

static const VFIOUserMigrationTest no_migration_region = {
    .no_migration = true,
    .uri = "unix:/nonexistent/migration",
    .source_states = "",
    .result = VFIO_USER_TEST_REFUSED,
    .error = "dev0",
};

/* --- migrations that are given up --- */

static void cancel(VFIOUserTestPair *pair)
{
    vfio_user_test_qmp(pair->source, "{'execute': 'migrate_cancel'}");
}

static const MockStep cancelled_dirty[] = {
    DIRTY_START, DIRTY_GETS(0), STATE(MOCK_STATE_PRE_COPY), DIRTY_GETS(0),
    DIRTY_STOP, STATE(MOCK_STATE_RUNNING),
};

static const VFIOUserMigrationTest cancel_in_precopy = {
    .moments = { AT_DATA_SIZE_READ(2, cancel) },
    .source_states = "W3 W1",
    .source_dirty = VFIO_USER_TEST_SEQUENCE(states_and_dirty_log,
                                            cancelled_dirty),
    .destination_states = "W4",
    .result = VFIO_USER_TEST_CANCELLED,
};

/* The step from 3 to 1 is not in the specification */
static const VFIOUserMigrationTest cancel_in_precopy_strict = {
    .behaviour = MOCK_BEHAVIOUR_STRICT,
    .moments = { AT_DATA_SIZE_READ(2, cancel) },
    .source_states = "W3 W1! R W2 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_CANCELLED,
};

static void kill_destination(VFIOUserTestPair *pair)
{
    vfio_user_test_vm_kill(pair->destination);
}

static const VFIOUserMigrationTest destination_dies_at_stop = {
    .moments = { AT_STATE_WRITE(MOCK_STATE_STOP_COPY, kill_destination) },
    .source_states = "W3 W2 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_FAILED,
};

/* Number 4 is the first one after the stop */
static const VFIOUserMigrationTest destination_dies_in_stop_copy = {
    .moments = { AT_DATA_SIZE_READ(4, kill_destination) },
    .source_states = "W3 W2 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_FAILED,
};

static const VFIOUserMigrationTest destination_dies_after_data = {
    .moments = { AT_STATE_WRITE(MOCK_STATE_STOP, kill_destination) },
    .source_states = "W3 W2 W0 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_FAILED,
};

/* The tail, behind which the source sends no more before its device stops */
#define LAST_CHUNK \
    { .command = MOCK_REGION_WRITE, \
      .match = MOCK_MATCH_REGION | MOCK_MATCH_OFFSET | MOCK_MATCH_VALUE, \
      .region = MOCK_REGION_MIGRATION, .offset = MOCK_MIG_DATA_SIZE, \
      .value = 256 }

static const VFIOUserMigrationTest destination_device_refuses_data = {
    .destination_rule = { .where = LAST_CHUNK, .action = MOCK_ACTION_ERROR,
                          .error = EIO },
    .return_path = true,
    .source_states = "W3 W2 W0 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_FAILED,
};

static const VFIOUserMigrationTest destination_server_goes_away = {
    .destination_rule = { .where = LAST_CHUNK,
                          .action = MOCK_ACTION_CLOSE_BEFORE },
    .return_path = true,
    .source_states = "W3 W2 W0 W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_FAILED,
};

/* The stop comes twice, with the guest's and before the last data: a retry */
static const VFIOUserMigrationTest source_refuses_stop = {
    .source_rules = {
        { .where = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY),
          .action = MOCK_ACTION_ERROR, .error = EIO },
    },
    .source_states = "W3 W2! R W2! R W1",
    .destination_states = "W4",
    .result = VFIO_USER_TEST_FAILED,
    .error = "dev0: device_state",
};

/* --- several messages under way --- */

/* The offset is held back, and the size has been asked for. */
static void size_is_asked_for(VFIOUserTestPair *pair)
{
    MockPattern size = MOCK_PATTERN_REGION(MOCK_REGION_READ,
                                           MOCK_REGION_MIGRATION,
                                           MOCK_MIG_DATA_SIZE);

    g_assert_cmpint(mock_journal_wait(pair->source->mock, pair->source->mark,
                                      &size, 1, VFIO_USER_TEST_DEADLINE_MS),
                    >=, 0);
}

/* One piece is held back, and the next one has been asked for. */
static void next_piece_is_asked_for(VFIOUserTestPair *pair)
{
    MockPattern next = PATTERN_DATA(MOCK_REGION_READ, 512 * KIB);

    g_assert_cmpint(mock_journal_wait(pair->source->mock, pair->source->mark,
                                      &next, 1, VFIO_USER_TEST_DEADLINE_MS),
                    >=, 0);
}

/* The destination has the first piece of the two: half a MiB is under way. */
static void others_are_told(VFIOUserTestPair *pair)
{
    Mock *mock = pair->destination->mock;
    MockPattern write = PATTERN_DATA(MOCK_REGION_WRITE, 32 * KIB);

    g_assert_true(mock_wait_held(mock, 1, VFIO_USER_TEST_DEADLINE_MS));
    g_assert_cmpint(mock_journal_wait(mock, pair->destination->mark, &write,
                                      6 + 16, VFIO_USER_TEST_DEADLINE_MS),
                    >=, 0);
    g_assert_cmpuint(mock_release(mock), ==, 1);
}

static const VFIOUserMigrationTest data_pipelined = {
    .moments = {
        { .where = MOCK_PATTERN_REGION(MOCK_REGION_READ,
                                       MOCK_REGION_MIGRATION,
                                       MOCK_MIG_DATA_OFFSET), .nth = 1,
          .act = size_is_asked_for },
        { .where = PATTERN_DATA(MOCK_REGION_READ, MIB), .nth = 1,
          .act = next_piece_is_asked_for },
        { .where = PATTERN_DATA(MOCK_REGION_READ, 512 * KIB), .nth = 1,
          .act = others_are_told },
    },
    .destination_rule = { .where = PATTERN_DATA(MOCK_REGION_WRITE, 32 * KIB),
                          .nth = 7, .action = MOCK_ACTION_HOLD },
    .source_states = "W3 W2 W0",
    .destination_states = "W4 W1",
};

/* --- no migration at all --- */

static void test_migration_cold_boot(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest", .options = "-S" };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);

    vm->mark = 0;
    vfio_user_test_assert_states(vm, "R");
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    vfio_user_test_assert_states(vm, "");
}

static void test_migration_stop_cont(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest" };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);

    vm->mark = 0;
    vfio_user_test_assert_states(vm, "R");
    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_states(vm, "W0");
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    vfio_user_test_assert_states(vm, "W1");
}

static void assert_properties(VFIOUserTestVM *vm, const char *state,
                              const char *writes, const char *skipped)
{
    vfio_user_test_settle(vm);
    vfio_user_test_assert_property(vm, "device-state", state);
    vfio_user_test_assert_property(vm, "device-state-writes", writes);
    vfio_user_test_assert_property(vm, "device-state-writes-skipped",
                                   skipped);
}

/* The boot is the one event so far at which there was nothing to write. */
static void test_migration_properties(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest" };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);

    assert_properties(vm, "running", "0", "1");
    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    assert_properties(vm, "stop", "1", "1");
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    assert_properties(vm, "running", "2", "1");
}

static const struct {
    const char *path;
    const VFIOUserMigrationTest *test;
} migration_tests[] = {
    { "precopy", &precopy },
    { "pipelined", &data_pipelined },
    { "precopy/mapped", &precopy_mapped },
    { "precopy/uncached", &precopy_uncached },
    { "precopy/strict", &precopy_strict },
    { "unreachable", &unreachable },
    { "no-migration-region", &no_migration_region },
    { "postcopy", &postcopy },
    { "cancel", &cancel_in_precopy },
    { "cancel/strict", &cancel_in_precopy_strict },
    { "destination-dies/at-stop", &destination_dies_at_stop },
    { "destination-dies/in-stop-copy", &destination_dies_in_stop_copy },
    { "destination-dies/after-data", &destination_dies_after_data },
    { "destination-fails/device", &destination_device_refuses_data },
    { "destination-fails/server", &destination_server_goes_away },
    { "source-refuses-stop", &source_refuses_stop },
};

void vfio_user_test_add_migration(void)
{
    size_t i;

    vfio_user_test_add("/vfio-user/migration/cold-boot",
                       test_migration_cold_boot, NULL);
    vfio_user_test_add("/vfio-user/migration/stop-cont",
                       test_migration_stop_cont, NULL);
    vfio_user_test_add("/vfio-user/migration/properties",
                       test_migration_properties, NULL);
    for (i = 0; i < G_N_ELEMENTS(migration_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/migration/%s",
                                                migration_tests[i].path);

        vfio_user_test_add(path, vfio_user_test_migration,
                           migration_tests[i].test);
    }
}
