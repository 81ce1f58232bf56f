/*
 * Many devices, each with a server of its own, in one migration.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"

#define FIRST_SLOT 6
#define MOST_DEVICES 8

/* Servers of further devices, "dev1" and on, each with data of its own */
typedef struct Further {
    char *dir;
    unsigned number;
    Mock *mocks[MOST_DEVICES];
    char *options;
} Further;

static void further_config(MockConfig *mock, unsigned seed)
{
    mock_config_init(mock);
    mock->precopy_rounds = 2;
    mock->precopy_round_size = 32 * 1024;
    mock->migration_size = (300 + seed) * 1024;
    mock->seed = seed;
}

static Further *further_new(unsigned number, bool incoming)
{
    Further *further = g_new0(Further, 1);
    g_autoptr(GString) options = g_string_new("");
    unsigned i;

    further->dir = g_dir_make_tmp("vfio-user-test-XXXXXX", NULL);
    g_assert_nonnull(further->dir);
    further->number = number;
    for (i = 0; i < number; i++) {
        g_autofree char *name = g_strdup_printf("%u", i);
        g_autofree char *path = g_build_filename(further->dir, name, NULL);
        g_autoptr(GError) error = NULL;
        MockConfig mock;

        further_config(&mock, 10 + i + incoming * 100);
        further->mocks[i] = mock_new(&mock, &error);
        g_assert_no_error(error);
        mock_start(further->mocks[i], path, &error);
        g_assert_no_error(error);
        g_string_append_printf(options, " -device vfio-user-pci,id=dev%u,"
                               "addr=%x.0,socket=%s", i + 1, FIRST_SLOT + i,
                               path);
    }
    further->options = g_string_free(g_steal_pointer(&options), false);
    return further;
}

static void further_free(Further *further)
{
    unsigned i;

    for (i = 0; i < further->number; i++) {
        mock_free(further->mocks[i]);
    }
    g_assert_cmpint(rmdir(further->dir), ==, 0);
    g_free(further->dir);
    g_free(further->options);
    g_free(further);
}

static VFIOUserTestVM *start_many(Further *further, bool incoming)
{
    MockConfig mock;
    VFIOUserTestVMConfig config = {
        .name = incoming ? "destination" : "source",
        .mock = &mock,
        .options = further->options,
        .incoming = incoming,
    };

    further_config(&mock, 1 + incoming * 100);
    return vfio_user_test_vm_new(&config);
}

/* Was device data read before the guest stopped? */
static void assert_precopied(Mock *mock)
{
    MockPattern stop = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY);
    MockPattern chunk = MOCK_PATTERN_DATA(MOCK_REGION_READ);
    int stopped = mock_journal_wait(mock, 0, &stop, 1, 0);
    int first = mock_journal_wait(mock, 0, &chunk, 1, 0);

    g_assert_cmpint(first, >=, 0);
    g_assert_cmpint(first, <, stopped);
}

/*
 * Every device has its turn in pre-copy, though the first always has more to
 * give, and the bytes that are shown are those of this migration.
 */
static void test_many_migrate(const void *data)
{
    unsigned number = GPOINTER_TO_UINT(data), i;
    Further *here = further_new(number, false);
    Further *there = further_new(number, true);
    Further *beyond = further_new(number, false);
    VFIOUserTestVM *first = start_many(here, false);
    VFIOUserTestVM *second = start_many(there, true);
    VFIOUserTestVM *third = start_many(beyond, true);
    uint64_t bytes;

    bytes = vfio_user_test_migrate_to(first, second);
    for (i = 0; i < number; i++) {
        bytes -= vfio_user_test_assert_moved(here->mocks[i],
                                             there->mocks[i]);
        assert_precopied(here->mocks[i]);
    }
    g_assert_cmpuint(bytes, ==,
                     vfio_user_test_assert_moved(first->mock, second->mock));
    vfio_user_test_assert_states(first, "W3 W2 W0");
    vfio_user_test_assert_states(second, "W4 W1");
    vfio_user_test_vm_free(first);

    bytes = vfio_user_test_migrate_to(second, third);
    for (i = 0; i < number; i++) {
        bytes -= vfio_user_test_assert_moved(there->mocks[i],
                                             beyond->mocks[i]);
    }
    g_assert_cmpuint(bytes, ==,
                     vfio_user_test_assert_moved(second->mock, third->mock));
    vfio_user_test_assert_status(third, "running");
    vfio_user_test_vm_free(second);
    vfio_user_test_vm_free(third);
    further_free(here);
    further_free(there);
    further_free(beyond);
}

/* --- at the same moment --- */

static void further_add_rule(Further *further, const MockRule *rule)
{
    unsigned i;

    for (i = 0; i < further->number; i++) {
        mock_add_rules(further->mocks[i], rule, 1);
    }
}

/* Each of them holds a command back, at the same time. */
static void further_wait_held(Further *further)
{
    unsigned i;

    for (i = 0; i < further->number; i++) {
        if (!mock_wait_held(further->mocks[i], 1,
                            VFIO_USER_TEST_DEADLINE_MS)) {
            vfio_user_test_fail("dev%u is told nothing while others are not "
                                "done", i + 1);
        }
    }
}

static void further_release(Further *further)
{
    unsigned i;

    for (i = 0; i < further->number; i++) {
        mock_release(further->mocks[i]);
    }
}

static void hold_state(VFIOUserTestVM *vm, Further *further, uint32_t value)
{
    MockRule rule = {
        .where = MOCK_PATTERN_STATE_WRITE(value), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };

    mock_add_rules(vm->mock, &rule, 1);
    further_add_rule(further, &rule);
}

/* No server has answered, and all have been told. */
static void assert_all_held(VFIOUserTestVM *vm, Further *further)
{
    g_assert_true(mock_wait_held(vm->mock, 1, VFIO_USER_TEST_DEADLINE_MS));
    further_wait_held(further);
    mock_release(vm->mock);
    further_release(further);
}

static void test_many_together(const void *data)
{
    const MockPattern change = MOCK_PATTERN_ANY_STATE_WRITE();
    Further *here = further_new(MOST_DEVICES - 1, false);
    Further *there = further_new(MOST_DEVICES - 1, true);
    VFIOUserTestVM *source = start_many(here, false);
    VFIOUserTestVM *destination = start_many(there, true);
    g_autofree char *uri = g_strdup_printf("unix:%s",
                                           destination->migration_path);
    unsigned i;

    hold_state(source, here, MOCK_STATE_STOP_COPY);
    hold_state(source, here, MOCK_STATE_STOP);
    hold_state(destination, there, MOCK_STATE_RUNNING);
    vfio_user_test_qmp(source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    assert_all_held(source, here);
    assert_all_held(source, here);
    assert_all_held(destination, there);
    qobject_unref(vfio_user_test_wait_migration(source, "completed"));
    vfio_user_test_assert_status(destination, "running");
    vfio_user_test_assert_states(source, "W3 W2 W0");
    vfio_user_test_assert_states(destination, "W4 W1");
    vfio_user_test_assert_moved(source->mock, destination->mock);
    for (i = 0; i < here->number; i++) {
        vfio_user_test_assert_moved(here->mocks[i], there->mocks[i]);
        g_assert_cmpuint(mock_journal_count(here->mocks[i], 0, &change), ==,
                         3);
        g_assert_cmpuint(mock_journal_count(there->mocks[i], 0, &change), ==,
                         2);
    }
    vfio_user_test_vm_free(source);
    vfio_user_test_vm_free(destination);
    further_free(here);
    further_free(there);
}

/* One of them does not do it: the guest runs on, with all of them. */
static void test_many_together_refused(const void *data)
{
    uint32_t value = GPOINTER_TO_UINT(data);
    MockRule rule = {
        .where = MOCK_PATTERN_STATE_WRITE(value),
        .action = MOCK_ACTION_ERROR, .error = EIO,
    };
    Further *here = further_new(3, false);
    Further *there = further_new(3, true);
    VFIOUserTestVM *source = start_many(here, false);
    VFIOUserTestVM *destination = start_many(there, true);
    g_autofree char *uri = g_strdup_printf("unix:%s",
                                           destination->migration_path);
    unsigned i;

    mock_add_rules(here->mocks[1], &rule, 1);
    vfio_user_test_qmp(source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    qobject_unref(vfio_user_test_wait_migration(source, "failed"));
    vfio_user_test_assert_error_desc(source, "dev2: device_state: cannot be "
                                     "set to ");
    vfio_user_test_assert_status(source, "running");
    g_assert_true(mock_wait_device_state(source->mock, MOCK_STATE_RUNNING,
                                         VFIO_USER_TEST_DEADLINE_MS));
    for (i = 0; i < here->number; i++) {
        g_assert_true(mock_wait_device_state(here->mocks[i],
                                             MOCK_STATE_RUNNING,
                                             VFIO_USER_TEST_DEADLINE_MS));
    }
    vfio_user_test_vm_wait_exit(destination, 1);
    vfio_user_test_vm_free(source);
    vfio_user_test_vm_free(destination);
    further_free(here);
    further_free(there);
}

/* Each has to be waited for until the next: no server answers any sooner. */
static gpointer release_started(gpointer opaque)
{
    further_wait_held(opaque);
    further_release(opaque);
    return NULL;
}

/* At start, no device waits for what the server before it does with memory. */
static void test_many_start(const void *data)
{
    const MockRule hold = {
        .where = MOCK_PATTERN_COMMAND(MOCK_DMA_MAP), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };
    Further *here = further_new(MOST_DEVICES - 1, false);
    VFIOUserTestVMConfig config = {
        .name = "guest", .options = here->options, .no_device = true,
    };
    VFIOUserTestVM *vm;
    MockConfig mock;
    GThread *thread;
    unsigned i;

    mock_config_init(&mock);
    config.mock = &mock;
    further_add_rule(here, &hold);
    thread = g_thread_new("release", release_started, here);
    vm = vfio_user_test_vm_new(&config);
    g_thread_join(thread);
    for (i = 0; i < here->number; i++) {
        g_assert_cmpuint(mock_journal_count(here->mocks[i], 0, &hold.where),
                         >, 1);
    }
    vfio_user_test_vm_free(vm);
    further_free(here);
}

/* What was put off while they were stopped: each is told in its own thread. */
static void test_many_late(const void *data)
{
    const MockPattern reset = MOCK_PATTERN_COMMAND(MOCK_DEVICE_RESET);
    Further *here = further_new(MOST_DEVICES - 1, false);
    VFIOUserTestVM *vm = start_many(here, false);
    unsigned i, marks[MOST_DEVICES];

    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    for (i = 0; i < here->number; i++) {
        g_assert_true(mock_wait_device_state(here->mocks[i], MOCK_STATE_STOP,
                                             VFIO_USER_TEST_DEADLINE_MS));
        marks[i] = mock_journal_length(here->mocks[i]);
    }
    vfio_user_test_qmp(vm, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(vm->qts, "RESET");
    vfio_user_test_settle(vm);
    for (i = 0; i < here->number; i++) {
        g_assert_cmpuint(mock_journal_count(here->mocks[i], marks[i], &reset),
                         ==, 0);
    }
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    for (i = 0; i < here->number; i++) {
        g_assert_cmpuint(mock_device_state(here->mocks[i]), ==,
                         MOCK_STATE_RUNNING);
        g_assert_cmpuint(mock_journal_count(here->mocks[i], marks[i], &reset),
                         ==, 1);
        g_assert_cmpuint(mock_irq_count(here->mocks[i], MOCK_IRQ_INTX), ==, 1);
    }
    vfio_user_test_vm_free(vm);
    further_free(here);
}

static const struct {
    const char *path;
    void (*run)(const void *data);
    unsigned number;
} many_tests[] = {
    { "2-devices", test_many_migrate, 1 },
    { "8-devices", test_many_migrate, 7 },
    { "start", test_many_start },
    { "together", test_many_together },
    { "together/refused-stop-copy", test_many_together_refused,
      MOCK_STATE_STOP_COPY },
    { "together/late", test_many_late },
    { "together/refused-stop", test_many_together_refused, MOCK_STATE_STOP },
};

void vfio_user_test_add_many(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(many_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/many/%s",
                                                many_tests[i].path);

        vfio_user_test_add(path, many_tests[i].run,
                           GUINT_TO_POINTER(many_tests[i].number));
    }
}
