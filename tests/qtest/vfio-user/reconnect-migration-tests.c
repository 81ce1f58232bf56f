/*
 * Migration and the property reconnect: a device that is lost while it migrates
 * comes back when that has failed, and migrates then.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/un.h>
#include "reconnect.h"
#include "steps.h"

#define BANDWIDTH (1024 * 1024 * 1024)
#define PAGE_ADDRESS 0x01234000

static const MockPattern dirty_start = MOCK_PATTERN_DIRTY(1);

/* A device that has data in pre-copy, too */
static void configure(MockConfig *mock, MockBehaviour behaviour)
{
    mock_config_init(mock);
    mock->behaviour = behaviour;
    mock->precopy_pending = 1ull << 40;
}

/* Migrate, with a page that the device writes when all others have been sent */
static void migrate_with_page(Migration *migration, uint8_t pattern)
{
    const MockRule hold = {
        .where = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };
    VFIOUserTestVM *vm = migration->source->vm;

    mock_add_rules(vm->mock, &hold, 1);
    migration_run(migration, BANDWIDTH);
    g_assert_true(mock_wait_held(vm->mock, 1, VFIO_USER_TEST_DEADLINE_MS));
    migration_device_writes(migration, PAGE_ADDRESS, pattern);
    g_assert_cmpuint(mock_release(vm->mock), ==, 1);
    migration_assert_arrived(migration, PAGE_ADDRESS, pattern);
    g_free(migration_wait(vm, "completed"));
    vfio_user_test_assert_moved(vm->mock, migration->destination->mock);
}

/* --- the source's device is lost --- */

typedef struct Loss {
    const char *path;
    MockRule rule;
    /* accesses to device_state then: of servers that run again; that do not */
    const char *states[2];
} Loss;

static const Loss losses[] = {
    { "precopy",
      .rule = { .where = MOCK_PATTERN_REGION(MOCK_REGION_READ,
                                             MOCK_REGION_MIGRATION,
                                             MOCK_MIG_DATA_SIZE),
                .nth = 2, .action = MOCK_ACTION_CLOSE_BEFORE },
      .states = { "R", "R W1! R W2 W1" } },
    { "stop-copy",
      .rule = { .where = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY),
                .nth = 1, .action = MOCK_ACTION_CLOSE_AFTER },
      .states = { "R", "R W1" } },
};

typedef struct LossTest {
    const Loss *loss;
    MockBehaviour behaviour;
} LossTest;

/* The states before and behind the loss are in one journal. */
static char *states_behind_loss(VFIOUserTestVM *vm)
{
    static const MockPattern version = MOCK_PATTERN_COMMAND(MOCK_VERSION);
    int again = mock_journal_wait(vm->mock, 0, &version, 2,
                                  VFIO_USER_TEST_DEADLINE_MS);

    g_assert_cmpint(again, >, 0);
    return vfio_user_test_states(vm, again);
}

static void test_reconnect_loss(const void *data)
{
    const LossTest *test = data;
    bool keeps = test->behaviour == MOCK_BEHAVIOUR_STRICT ||
                 test->behaviour == MOCK_BEHAVIOUR_STATE_KEPT;
    MockConfig mock;
    VFIOUserTestVMConfig config = { .device = RECONNECT_DEVICE, .mock = &mock };
    VFIOUserTestVMConfig again = { .name = "destination", .incoming = true };
    g_autofree char *error = NULL, *states = NULL;
    Migration migration;
    VFIOUserTestVM *vm;

    configure(&mock, test->behaviour);
    migration_start_vms(&migration, &config);
    vm = migration.source->vm;
    mock_add_rules(vm->mock, &test->loss->rule, 1);
    migration_run(&migration, BANDWIDTH);
    reconnect_wait_lost(vm);
    error = migration_wait(vm, "failed");
    g_assert_true(g_str_has_prefix(error, "dev0: "));
    vfio_user_test_vm_wait_exit(migration.destination, 1);
    vfio_user_test_vm_free(migration.destination);

    reconnect_wait_back(vm);
    states = states_behind_loss(vm);
    g_assert_cmpstr(states, ==, test->loss->states[keeps]);
    g_assert_cmpuint(mock_device_state(vm->mock), ==, MOCK_STATE_RUNNING);
    vfio_user_test_assert_status(vm, "running");

    migration.destination = vfio_user_test_vm_new(&again);
    migrate_with_page(&migration, 0xa5);
    migration_end(&migration);
}

/* --- the destination's is --- */

static void start_pair(Migration *migration, MockConfig *mock,
                       const char *options)
{
    VFIOUserTestVMConfig config = {
        .device = RECONNECT_DEVICE, .mock = mock, .options = options,
    };

    configure(mock, MOCK_BEHAVIOUR_LVU1);
    migration_start_vms(migration, &config);
}

/* Before a migration has come in */
static void test_reconnect_incoming(const void *data)
{
    Migration migration;
    MockConfig mock;

    start_pair(&migration, &mock, NULL);
    reconnect_lose(migration.destination);
    reconnect_return(migration.destination, NULL);
    vfio_user_test_assert_states(migration.destination, "R");
    migrate_with_page(&migration, 0x3c);
    vfio_user_test_assert_states(migration.destination, "W4 W1");
    migration_end(&migration);
}

/* After that: what was loaded is lost, and the guest begins with a new one. */
static void test_reconnect_loaded(const void *data)
{
    Migration migration;
    VFIOUserTestVM *vm;
    MockConfig mock;

    start_pair(&migration, &mock, "-S");
    vm = migration.destination;
    vfio_user_test_qmp(migration.source->vm, "{'execute': 'cont'}");
    migrate_with_page(&migration, 0x77);
    vfio_user_test_assert_states(vm, "W4");
    reconnect_lose(vm);
    reconnect_return(vm, NULL);
    vfio_user_test_assert_states(vm, "R");
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_assert_status(vm, "running");
    vfio_user_test_assert_states(vm, "");
    g_assert_cmpuint(mock_device_state(vm->mock), ==, MOCK_STATE_RUNNING);
    migration_end(&migration);
}

/* --- what has to wait --- */

#define WAITS "waits for the end of a migration"

static VFIOUserTestVMConfig traced(const char *name)
{
    return (VFIOUserTestVMConfig) {
        .name = name, .device = RECONNECT_DEVICE, .keep_errors = true,
        .early_options = "-trace vfio_user_reconnect",
    };
}

static int connect_stream(VFIOUserTestVM *vm)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_assert_cmpuint(strlen(vm->migration_path), <, sizeof(name.sun_path));
    strcpy(name.sun_path, vm->migration_path);
    g_assert_cmpint(connect(fd, (void *)&name, sizeof(name)), ==, 0);
    return fd;
}

static void assert_not_tried(VFIOUserTestVM *vm)
{
    static const MockPattern version = MOCK_PATTERN_COMMAND(MOCK_VERSION);

    mock_stop(vm->mock);
    vfio_user_test_vm_restart_mock(vm, NULL);
    reconnect_wait_errors(vm, WAITS, 2);
    g_assert_cmpuint(mock_journal_count(vm->mock, 0, &version), ==, 0);
}

/* While one is loaded: here from a stream in which nothing comes */
static void test_reconnect_loading(const void *data)
{
    VFIOUserTestVMConfig config = traced("destination");
    g_autoptr(VFIOUserTestVM) vm = NULL;
    int fd;

    config.incoming = true;
    vm = vfio_user_test_vm_new(&config);
    fd = connect_stream(vm);
    assert_not_tried(vm);
    close(fd);
    vfio_user_test_vm_wait_exit(vm, 1);
}

/*
 * While one stands still with the guest stopped, and does not see that it has
 * failed
 */
static void test_reconnect_switching(const void *data)
{
    VFIOUserTestVMConfig config = traced(NULL);
    Migration migration;
    VFIOUserTestVM *vm;

    migration_start_vms(&migration, &config);
    vm = migration.source->vm;
    vfio_user_test_set_capability(vm, "pause-before-switchover", true);
    migration_run(&migration, BANDWIDTH);
    g_free(migration_wait(vm, "pre-switchover"));
    assert_not_tried(vm);
    vfio_user_test_qmp(vm, "{'execute': 'migrate-continue',"
                       " 'arguments': {'state': 'pre-switchover'}}");
    g_free(migration_wait(vm, "failed"));
    reconnect_wait_back(vm);
    vfio_user_test_assert_states(vm, "R");
    migration_end_failed(&migration);
}

/* --- dirty pages, and no migration --- */

/* The command crashes QEMU 7.2 without KVM. */
static void test_reconnect_dirty_rate(const void *data)
{
    static const MockPattern map = MOCK_PATTERN_COMMAND(MOCK_DMA_MAP);
    VFIOUserTestVMConfig config = {
        .name = "guest", .device = RECONNECT_DEVICE, .kvm = true,
    };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    int started;

    vfio_user_test_qmp(vm, "{'execute': 'calc-dirty-rate', 'arguments':"
                       " {'calc-time': 60, 'mode': 'dirty-bitmap'}}");
    g_assert_cmpint(mock_journal_wait(vm->mock, 0, &dirty_start, 1,
                                      VFIO_USER_TEST_DEADLINE_MS), >=, 0);
    reconnect_lose(vm);
    reconnect_return(vm, NULL);
    g_assert_true(mock_dirty_is_logging(vm->mock));
    started = mock_journal_wait(vm->mock, 0, &dirty_start, 1, 0);
    g_assert_cmpint(started, >=, 0);
    g_assert_cmpuint(mock_journal_count(vm->mock, 0, &map), >, 0);
    g_assert_cmpuint(mock_journal_count(vm->mock, started, &map), ==, 0);
}

/* --- registration --- */

static void add_loss(const Loss *loss)
{
    MockBehaviour behaviour;

    for (behaviour = 0; behaviour < MOCK_NUM_BEHAVIOURS; behaviour++) {
        /* for as long as the tests run */
        LossTest *test = g_new(LossTest, 1);
        g_autofree char *path =
            g_strdup_printf("/vfio-user/reconnect/migration/%s/%s",
                            loss->path, mock_behaviour_name(behaviour));

        *test = (LossTest) { loss, behaviour };
        vfio_user_test_add(path, test_reconnect_loss, test);
    }
}

void vfio_user_test_add_reconnect_migration(void)
{
    static const char prefix[] = "/vfio-user/reconnect/migration/";
    static const struct {
        const char *path;
        void (*run)(const void *data);
    } tests[] = {
        { "incoming", test_reconnect_incoming },
        { "loaded", test_reconnect_loaded },
        { "loading", test_reconnect_loading },
        { "switching", test_reconnect_switching },
        { "dirty-rate", test_reconnect_dirty_rate },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(losses); i++) {
        add_loss(&losses[i]);
    }
    for (i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat(prefix, tests[i].path, NULL);

        vfio_user_test_add(path, tests[i].run, NULL);
    }
}
