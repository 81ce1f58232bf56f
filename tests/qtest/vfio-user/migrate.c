/*
 * The one way in which all migration tests run: two VMs, a script, a
 * migration, and the comparison with what is expected of it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"
#include "qapi/qmp/qdict.h"

/* Guest memory that the guest itself wrote, before the migration */
#define GUEST_PAGE 0x00800000
#define GUEST_VALUE 0x5a17e57000c0ffeeull

#define SCRATCH_VALUE(i) (0xdecafbad00000000ull + (i))

static const char *const result_status[] = {
    [VFIO_USER_TEST_COMPLETED] = "completed",
    [VFIO_USER_TEST_FAILED] = "failed",
    [VFIO_USER_TEST_CANCELLED] = "cancelled",
};

void vfio_user_test_dirty_page(VFIOUserTestPair *pair, uint64_t address,
                               uint8_t pattern)
{
    size_t size = qemu_real_host_page_size();
    g_autofree uint8_t *bytes = g_malloc(size);
    Mock *mock = pair->source->mock;
    int error;

    memset(bytes, pattern, size);
    error = mock_dma_write(mock, address, bytes, size);
    if (error == -ENODEV) {
        error = mock_dma_write_by_message(mock, address, bytes, size,
                                          VFIO_USER_TEST_DEADLINE_MS);
    }
    g_assert_cmpint(error, ==, 0);
    g_hash_table_insert(pair->pages, GSIZE_TO_POINTER(address),
                        GUINT_TO_POINTER(pattern));
}

/* --- the two ends --- */

static VFIOUserTestVM *start_vm(const VFIOUserMigrationTest *test,
                                const char *name, bool incoming)
{
    VFIOUserTestVMConfig config = {
        .name = name,
        .device = test->device,
        .incoming = incoming,
        .keep_errors = incoming && test->destination_error,
        .private_ram = test->private_ram,
    };
    const MockRule *rules = incoming ? &test->destination_rule :
                                       test->source_rules;
    size_t most = incoming ? 1 : VFIO_USER_TEST_MAX_RULES, number = 0;
    VFIOUserTestVM *vm;
    MockConfig mock;

    mock_config_init(&mock);
    mock.behaviour = test->behaviour;
    mock.no_migration = test->no_migration && !incoming;
    mock.twin_socket = test->twin_socket;
    mock.window_mmap = test->mapped;
    /* three chunks in pre-copy, a large one and the tail after it */
    mock.precopy_rounds = 3;
    mock.precopy_round_size = 64 * 1024;
    mock.precopy_pending = 1ull << 40;
    mock.chunk_size = mock.window_size = 3 * 512 * 1024;
    mock.migration_size = mock.precopy_rounds * mock.precopy_round_size +
                          mock.chunk_size + 256;
    mock.seed = incoming ? 2 : 1;
    config.mock = &mock;
    vm = vfio_user_test_vm_new(&config);
    while (number < most && rules[number].action != MOCK_ACTION_NONE) {
        number++;
    }
    mock_add_rules(vm->mock, rules, number);
    return vm;
}

void vfio_user_test_fill_device(VFIOUserTestPair *pair)
{
    unsigned i;

    for (i = 0; i < MOCK_NUM_SCRATCH; i++) {
        mock_scratch_set(pair->source->mock, i, SCRATCH_VALUE(i));
    }
}

void vfio_user_test_set_capability(VFIOUserTestVM *vm, const char *name,
                                   bool on)
{
    vfio_user_test_qmp(vm, "{'execute': 'migrate-set-capabilities',"
                       " 'arguments': {'capabilities':"
                       " [{'capability': %s, 'state': %i}]}}", name, on);
}

static void start_source(VFIOUserTestPair *pair,
                         const VFIOUserMigrationTest *test)
{
    pair->source = start_vm(test, "source", false);
    vfio_user_test_set_capability(pair->source, "events", true);
    vfio_user_test_set_capability(pair->source, "return-path",
                                  test->return_path);
    if (test->bandwidth) {
        vfio_user_test_qmp(pair->source, "{'execute': 'migrate-set-parameters',"
                           " 'arguments': {'max-bandwidth': %" PRIu64 "}}",
                           test->bandwidth);
    }
    vfio_user_test_fill_device(pair);
    qtest_writeq(pair->source->qts, GUEST_PAGE, GUEST_VALUE);
    pair->fds = vfio_user_test_count_fds(pair->source->pid);
    pair->threads = vfio_user_test_count_threads(pair->source->pid);
}

static void add_moments(VFIOUserTestPair *pair,
                        const VFIOUserMigrationTest *test)
{
    int i;

    for (i = 0; i < VFIO_USER_TEST_MAX_MOMENTS && test->moments[i].act; i++) {
        MockRule rule = {
            .where = test->moments[i].where,
            .nth = test->moments[i].nth,
            .action = MOCK_ACTION_HOLD,
        };

        mock_add_rules(pair->source->mock, &rule, 1);
    }
}

static void live_through_moments(VFIOUserTestPair *pair,
                                 const VFIOUserMigrationTest *test)
{
    Mock *mock = pair->source->mock;
    int i;

    for (i = 0; i < VFIO_USER_TEST_MAX_MOMENTS && test->moments[i].act; i++) {
        g_assert_true(mock_wait_held(mock, 1, VFIO_USER_TEST_DEADLINE_MS));
        test->moments[i].act(pair);
        g_assert_cmpuint(mock_release(mock), ==, 1);
        if (test->moments[i].then) {
            test->moments[i].then(pair);
        }
    }
}

static void migrate(VFIOUserTestPair *pair, const VFIOUserMigrationTest *test)
{
    g_autofree char *uri = NULL;

    uri = test->uri ? g_strdup(test->uri) :
          g_strdup_printf("unix:%s", pair->destination->migration_path);
    add_moments(pair, test);
    if (test->result == VFIO_USER_TEST_REFUSED) {
        vfio_user_test_qmp_error(pair->source, test->error,
                                 "{'execute': 'migrate',"
                                 " 'arguments': {'uri': %s}}", uri);
        return;
    }
    vfio_user_test_qmp(pair->source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    live_through_moments(pair, test);
}

/* --- the end of a migration --- */

static bool is_final(const char *status)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(result_status); i++) {
        if (!strcmp(status, result_status[i])) {
            return true;
        }
    }
    return false;
}

static void wait_status(VFIOUserTestVM *vm, const char *expected)
{
    g_autofree char *status = NULL;

    do {
        QDict *event = qtest_qmp_eventwait_ref(vm->qts, "MIGRATION");

        g_free(status);
        status = g_strdup(qdict_get_str(qdict_get_qdict(event, "data"),
                                        "status"));
        g_test_message("%s: migration: %s", vm->name, status);
        qobject_unref(event);
    } while (!is_final(status));
    g_assert_cmpstr(status, ==, expected);
}

void vfio_user_test_set_speed(VFIOUserTestVM *vm, int64_t bandwidth,
                              int64_t downtime)
{
    vfio_user_test_qmp(vm, "{'execute': 'migrate-set-parameters', 'arguments':"
                       " {'max-bandwidth': %" PRId64 ","
                       "  'downtime-limit': %" PRId64 "}}", bandwidth,
                       downtime);
}

QDict *vfio_user_test_wait_migration(VFIOUserTestVM *vm, const char *status)
{
    for (;;) {
        QDict *answer = qtest_qmp(vm->qts, "{'execute': 'query-migrate'}");
        QDict *info = qdict_get_qdict(answer, "return");
        const char *now = qdict_get_try_str(info, "status");

        if (now && is_final(now)) {
            g_test_message("%s: migration: %s: %s", vm->name, now,
                           qdict_get_try_str(info, "error-desc") ?: "");
            g_assert_cmpstr(now, ==, status);
            qobject_ref(info);
            qobject_unref(answer);
            return info;
        }
        qobject_unref(answer);
    }
}

int64_t vfio_user_test_migrate_to(VFIOUserTestVM *source,
                                  VFIOUserTestVM *destination)
{
    g_autofree char *uri = g_strdup_printf("unix:%s",
                                           destination->migration_path);
    int64_t bytes;
    QDict *info;

    vfio_user_test_qmp(source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    info = vfio_user_test_wait_migration(source, "completed");
    bytes = qdict_get_int(qdict_get_qdict(info, "vfio"), "transferred");
    qobject_unref(info);
    /* it comes before the devices are told */
    qtest_qmp_eventwait(destination->qts, "RESUME");
    vfio_user_test_settle(destination);
    vfio_user_test_settle(source);
    return bytes;
}

void vfio_user_test_assert_error_desc(VFIOUserTestVM *vm, const char *text)
{
    QDict *answer = qtest_qmp(vm->qts, "{'execute': 'query-migrate'}");
    const char *desc = qdict_get_try_str(qdict_get_qdict(answer, "return"),
                                         "error-desc");

    g_test_message("%s: error-desc: %s", vm->name, desc ?: "(none)");
    if (!desc || !strstr(desc, text)) {
        vfio_user_test_fail("%s: error-desc does not contain \"%s\": %s",
                            vm->name, text, desc ?: "(none)");
    }
    qobject_unref(answer);
}

static void assert_running(VFIOUserTestVM *vm)
{
    g_assert_true(mock_wait_device_state(vm->mock, MOCK_STATE_RUNNING,
                                         VFIO_USER_TEST_DEADLINE_MS));
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    g_assert_cmpuint(mock_device_state(vm->mock), ==, MOCK_STATE_RUNNING);
}

uint64_t vfio_user_test_assert_moved(Mock *from, Mock *to)
{
    g_autofree char *saved = NULL, *loaded = NULL, *why = NULL;
    uint64_t bytes, loaded_bytes;

    saved = mock_saved_sum(from, &bytes, NULL);
    loaded = mock_loaded_sum(to, &loaded_bytes, NULL);
    g_assert_cmpuint(bytes, ==, loaded_bytes);
    g_assert_cmpstr(saved, ==, loaded);
    if (!mock_loaded_is_good(to, &why)) {
        vfio_user_test_fail("the device data has not come over: %s", why);
    }
    return bytes;
}

static void assert_same_device(VFIOUserTestPair *pair)
{
    unsigned i;

    vfio_user_test_assert_moved(pair->source->mock, pair->destination->mock);
    for (i = 0; i < MOCK_NUM_SCRATCH; i++) {
        g_assert_cmphex(mock_scratch_get(pair->destination->mock, i), ==,
                        SCRATCH_VALUE(i));
    }
}

static void assert_same_page(VFIOUserTestVM *vm, uint64_t address,
                             uint8_t pattern)
{
    size_t size = qemu_real_host_page_size(), i;
    g_autofree uint8_t *bytes = g_malloc(size);

    qtest_memread(vm->qts, address, bytes, size);
    for (i = 0; i < size; i++) {
        if (bytes[i] != pattern) {
            vfio_user_test_fail("%s: page 0x%" PRIx64 " is stale: byte %zu is "
                                "0x%02x, the source's device wrote 0x%02x",
                                vm->name, address, i, bytes[i], pattern);
        }
    }
}

static void assert_same_memory(VFIOUserTestPair *pair)
{
    gpointer address, pattern;
    GHashTableIter iter;

    g_assert_cmphex(qtest_readq(pair->destination->qts, GUEST_PAGE), ==,
                    GUEST_VALUE);
    g_hash_table_iter_init(&iter, pair->pages);
    while (g_hash_table_iter_next(&iter, &address, &pattern)) {
        assert_same_page(pair->destination, GPOINTER_TO_SIZE(address),
                         GPOINTER_TO_UINT(pattern));
    }
}

/* A guest that was stopped in between is so at the destination, too. */
static void check_completed(VFIOUserTestPair *pair, bool stopped)
{
    if (stopped) {
        /* there is no event for a destination that stays stopped */
        qobject_unref(vfio_user_test_wait_migration(pair->destination,
                                                    "completed"));
        vfio_user_test_assert_status(pair->destination, "paused");
        g_assert_cmpuint(mock_device_state(pair->destination->mock), ==,
                         MOCK_STATE_RESUMING);
        vfio_user_test_qmp(pair->destination, "{'execute': 'cont'}");
    }
    assert_running(pair->destination);
    vfio_user_test_settle(pair->source);
    vfio_user_test_assert_status(pair->source, "postmigrate");
    g_assert_cmpuint(mock_device_state(pair->source->mock), ==,
                     MOCK_STATE_STOP);
    assert_same_device(pair);
    assert_same_memory(pair);
}

void vfio_user_test_assert_said(VFIOUserTestVM *vm, const char *text)
{
    g_autofree char *errors = vfio_user_test_errors(vm);

    g_test_message("%s: %s", vm->name, errors);
    if (!strstr(errors, text)) {
        vfio_user_test_fail("%s: nothing said contains \"%s\": %s", vm->name,
                            text, errors);
    }
}

static void check_not_completed(VFIOUserTestPair *pair,
                                const VFIOUserMigrationTest *test)
{
    if (test->result == VFIO_USER_TEST_FAILED && test->error) {
        vfio_user_test_assert_error_desc(pair->source, test->error);
    }
    assert_running(pair->source);
    g_assert_true(vfio_user_test_wait_fds(pair->source, pair->fds));
    g_assert_true(vfio_user_test_wait_threads(pair->source, pair->threads));
    if (pair->destination && pair->destination->qts &&
        test->result != VFIO_USER_TEST_REFUSED) {
        vfio_user_test_vm_wait_exit(pair->destination, 1);
    }
    if (test->destination_error) {
        vfio_user_test_assert_said(pair->destination, test->destination_error);
    }
}

/* Whatever went wrong, it must not have hurt: migrate for good. */
static void migrate_again(VFIOUserTestPair *pair,
                          const VFIOUserMigrationTest *first)
{
    VFIOUserMigrationTest test = {
        .behaviour = first->behaviour,
        .device = first->device,
        .private_ram = first->private_ram,
    };

    mock_clear_rules(pair->source->mock);
    vfio_user_test_vm_free(pair->destination);
    pair->destination = start_vm(&test, "new destination", true);
    migrate(pair, &test);
    wait_status(pair->source, "completed");
    check_completed(pair, false);
    vfio_user_test_assert_states(pair->source, "W3 W2 W0");
    vfio_user_test_assert_states(pair->destination, "W4 W1");
}

void vfio_user_test_migration(const void *data)
{
    const VFIOUserMigrationTest *test = data;
    VFIOUserTestPair pair = { .pages = g_hash_table_new(NULL, NULL) };
    unsigned from[2] = { 0, 0 };

    start_source(&pair, test);
    from[0] = pair.source->mark;
    if (test->destination_states) {
        pair.destination = start_vm(test, "destination", true);
        from[1] = pair.destination->mark;
    }
    if (test->capability) {
        vfio_user_test_set_capability(pair.source, test->capability, true);
    }
    migrate(&pair, test);
    if (test->result != VFIO_USER_TEST_REFUSED) {
        wait_status(pair.source, result_status[test->result]);
    }
    if (test->capability) {
        vfio_user_test_set_capability(pair.source, test->capability, false);
    }
    if (test->result == VFIO_USER_TEST_COMPLETED) {
        check_completed(&pair, test->stopped);
    } else {
        check_not_completed(&pair, test);
    }

    vfio_user_test_assert_states(pair.source, test->source_states);
    vfio_user_test_assert_sequence(pair.source, from[0], &test->source_data);
    vfio_user_test_assert_sequence(pair.source, from[0], &test->source_dirty);
    g_assert_cmpuint(vfio_user_test_redundant_writes(pair.source, from[0],
                                                     MOCK_STATE_RUNNING),
                     ==, test->redundant_writes);
    if (test->destination_states) {
        vfio_user_test_assert_states(pair.destination,
                                     test->destination_states);
        vfio_user_test_assert_sequence(pair.destination, from[1],
                                       &test->destination_data);
    }
    if (test->result == VFIO_USER_TEST_FAILED ||
        test->result == VFIO_USER_TEST_CANCELLED) {
        migrate_again(&pair, test);
    }
    vfio_user_test_vm_free(pair.destination);
    vfio_user_test_vm_free(pair.source);
    g_hash_table_unref(pair.pages);
}
