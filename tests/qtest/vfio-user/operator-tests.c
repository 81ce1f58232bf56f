/*
 * What those who run QEMU see of a device's migration: QOM properties, QMP
 * events, and the bytes in query-migrate.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "framework.h"
#include "qapi/qmp/qdict.h"

#define DATA_SIZE (1024 * 1024)
#define RAM_SIZE (16 * 1024 * 1024)

static VFIOUserTestVM *start(const char *name, const char *device,
                             MockBehaviour behaviour, bool incoming)
{
    MockConfig mock;
    VFIOUserTestVMConfig config = { .name = name, .mock = &mock,
                                    .device = device, .ram_size = RAM_SIZE,
                                    .incoming = incoming };

    mock_config_init(&mock);
    mock.behaviour = behaviour;
    mock.migration_size = DATA_SIZE;
    mock.seed = incoming ? 2 : 1;
    return vfio_user_test_vm_new(&config);
}

/* Returns the bytes of device data that query-migrate shows, -1 for none. */
static int64_t migrate(VFIOUserTestVM *source, VFIOUserTestVM *destination)
{
    g_autofree char *uri = g_strdup_printf("unix:%s",
                                           destination->migration_path);
    int64_t bytes = -1;
    QDict *info;

    vfio_user_test_qmp(source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    info = vfio_user_test_wait_migration(source, "completed");
    if (qdict_haskey(info, "vfio")) {
        bytes = qdict_get_int(qdict_get_qdict(info, "vfio"), "transferred");
    }
    qobject_unref(info);
    /* to wait for an event would drop those of the device */
    qobject_unref(vfio_user_test_wait_migration(destination, "completed"));
    vfio_user_test_settle(destination);
    vfio_user_test_settle(source);
    return bytes;
}

static void command(VFIOUserTestVM *vm, const char *name)
{
    vfio_user_test_qmp(vm, "{'execute': %s}", name);
    vfio_user_test_settle(vm);
}

/* --- properties --- */

static void assert_properties(VFIOUserTestVM *vm, const char *state,
                              const char *writes, const char *skipped)
{
    vfio_user_test_assert_property(vm, "device-state", state);
    vfio_user_test_assert_property(vm, "device-state-writes", writes);
    vfio_user_test_assert_property(vm, "device-state-writes-skipped",
                                   skipped);
}

/*
 * No need to tell the source: RUNNING at boot; STOP_COPY, for the rest of the
 * data, after the guest has stopped; STOP, when saving is over. Nor the
 * destination: RESUMING, when loading is over.
 */
static void test_operator_properties(const void *data)
{
    g_autoptr(VFIOUserTestVM) source = start("source", NULL,
                                             MOCK_BEHAVIOUR_STRICT, false);
    g_autoptr(VFIOUserTestVM) destination = start("destination", NULL,
                                                  MOCK_BEHAVIOUR_STRICT, true);

    assert_properties(source, "running", "0", "1");
    assert_properties(destination, "running", "0", "0");
    migrate(source, destination);
    assert_properties(source, "stop", "3", "3");
    assert_properties(destination, "running", "2", "1");
    command(source, "cont");
    assert_properties(source, "running", "4", "3");
    command(source, "stop");
    assert_properties(source, "stop", "5", "3");
}

static void test_operator_properties_uncached(const void *data)
{
    const char *device = "x-cache-device-state=off";
    g_autoptr(VFIOUserTestVM) source = start("source", device,
                                             MOCK_BEHAVIOUR_LVU1, false);
    g_autoptr(VFIOUserTestVM) destination = start("destination", device,
                                                  MOCK_BEHAVIOUR_LVU1, true);

    assert_properties(source, "running", "1", "0");
    migrate(source, destination);
    assert_properties(source, "stop", "5", "0");
    assert_properties(destination, "running", "2", "0");
}

/* The three that a client may read and nobody may set */
static void test_operator_properties_fixed(const void *data)
{
    static const char *const names[] = {
        "device-state", "device-state-writes", "device-state-writes-skipped",
    };
    g_autoptr(VFIOUserTestVM) vm = start("guest", NULL, MOCK_BEHAVIOUR_LVU1,
                                         false);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(names); i++) {
        vfio_user_test_qmp_error(vm, names[i], "{'execute': 'qom-set',"
                                 " 'arguments': {"
                                 "  'path': '/machine/peripheral/dev0',"
                                 "  'property': %s, 'value': 7}}", names[i]);
    }
}

/* --- events --- */

/* The next events are these, and there are no more of them. */
static void assert_events(VFIOUserTestVM *vm, const char *expected)
{
    g_auto(GStrv) states = g_strsplit(expected, " ", 0);
    QDict *event;
    char **state;

    for (state = states; *state; state++) {
        QDict *data;

        event = qtest_qmp_eventwait_ref(vm->qts, "VFIO_MIGRATION");
        data = qdict_get_qdict(event, "data");
        g_assert_cmpstr(qdict_get_str(data, "device-state"), ==, *state);
        g_assert_cmpstr(qdict_get_str(data, "device-id"), ==, "dev0");
        g_assert_cmpstr(qdict_get_str(data, "qom-path"), ==,
                        "/machine/peripheral/dev0");
        g_assert_cmpuint(qdict_size(data), ==, 3);
        qobject_unref(event);
    }
    vfio_user_test_settle(vm);
    event = qtest_qmp_event_ref(vm->qts, "VFIO_MIGRATION");
    if (event) {
        vfio_user_test_fail("%s: one event too many: %s", vm->name,
                            qdict_get_str(qdict_get_qdict(event, "data"),
                                          "device-state"));
    }
}

static void test_operator_events(const void *data)
{
    g_autoptr(VFIOUserTestVM) source = start("source", "migration-events=on",
                                             MOCK_BEHAVIOUR_STRICT, false);
    g_autoptr(VFIOUserTestVM) destination = start("destination",
                                                  "migration-events=on",
                                                  MOCK_BEHAVIOUR_STRICT, true);

    assert_events(source, "");
    migrate(source, destination);
    assert_events(source, "pre-copy stop-copy stop");
    assert_events(destination, "resuming running");
    command(source, "cont");
    assert_events(source, "running");
}

/* A step on the way is told, what was refused is not. */
static void test_operator_events_of_cancel(const void *data)
{
    MockRule hold = {
        .where = MOCK_PATTERN_DATA(MOCK_REGION_READ), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };
    g_autoptr(VFIOUserTestVM) source = start("source", "migration-events=on",
                                             MOCK_BEHAVIOUR_STRICT, false);
    g_autoptr(VFIOUserTestVM) destination = start("destination", NULL,
                                                  MOCK_BEHAVIOUR_STRICT, true);
    g_autofree char *uri = g_strdup_printf("unix:%s",
                                           destination->migration_path);

    mock_add_rules(source->mock, &hold, 1);
    vfio_user_test_qmp(source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    g_assert_true(mock_wait_held(source->mock, 1,
                                 VFIO_USER_TEST_DEADLINE_MS));
    vfio_user_test_qmp(source, "{'execute': 'migrate_cancel'}");
    g_assert_cmpuint(mock_release(source->mock), ==, 1);
    qobject_unref(vfio_user_test_wait_migration(source, "cancelled"));
    assert_events(source, "pre-copy stop-copy running");
    vfio_user_test_assert_states(source, "W3 W1! R W2 W1");
    vfio_user_test_vm_wait_exit(destination, 1);
}

static void test_operator_no_events(const void *data)
{
    g_autoptr(VFIOUserTestVM) source = start("source", NULL,
                                             MOCK_BEHAVIOUR_LVU1, false);
    g_autoptr(VFIOUserTestVM) destination = start("destination", NULL,
                                                  MOCK_BEHAVIOUR_LVU1, true);

    migrate(source, destination);
    vfio_user_test_settle(source);
    g_assert_null(qtest_qmp_event_ref(source->qts, "VFIO_MIGRATION"));
    g_assert_null(qtest_qmp_event_ref(destination->qts, "VFIO_MIGRATION"));
}

/* --- bytes --- */

/* What is shown is this migration's, however many came before. */
static void test_operator_bytes(const void *data)
{
    g_autoptr(VFIOUserTestVM) source = start("source", NULL,
                                             MOCK_BEHAVIOUR_LVU1, false);
    int i;

    for (i = 0; i < 3; i++) {
        g_autoptr(VFIOUserTestVM) destination =
            start("destination", NULL, MOCK_BEHAVIOUR_LVU1, true);
        int64_t bytes = migrate(source, destination);

        g_assert_cmpint(bytes, ==, DATA_SIZE);
        g_assert_cmpint(vfio_user_test_assert_moved(source->mock,
                                                    destination->mock),
                        ==, DATA_SIZE);
        command(source, "cont");
    }
}

/* One event, and that soon; what the guest does to the device brings none. */
static void test_operator_disconnected(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest", .keep_errors = true };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    QDict *event, *details;

    mock_disconnect(vm->mock);
    event = qtest_qmp_eventwait_ref(vm->qts, "VFIO_USER_DISCONNECTED");
    details = qdict_get_qdict(event, "data");
    g_assert_cmpstr(qdict_get_str(details, "device-id"), ==, "dev0");
    g_assert_cmpstr(qdict_get_str(details, "qom-path"), ==,
                    "/machine/peripheral/dev0");
    g_assert_nonnull(strstr(qdict_get_str(details, "reason"),
                            "server closed the connection"));
    qobject_unref(event);
    command(vm, "system_reset");
    qtest_qmp_eventwait(vm->qts, "RESET");
    vfio_user_test_settle(vm);
    g_assert_null(qtest_qmp_event_ref(vm->qts, "VFIO_USER_DISCONNECTED"));
    vfio_user_test_assert_status(vm, "running");
}

static const struct {
    const char *path;
    void (*run)(const void *data);
} operator_tests[] = {
    { "properties", test_operator_properties },
    { "properties/uncached", test_operator_properties_uncached },
    { "properties/fixed", test_operator_properties_fixed },
    { "events", test_operator_events },
    { "events/cancel", test_operator_events_of_cancel },
    { "events/off", test_operator_no_events },
    { "bytes", test_operator_bytes },
    { "disconnected", test_operator_disconnected },
};

void vfio_user_test_add_operator(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(operator_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/operator/%s",
                                                operator_tests[i].path);

        vfio_user_test_add(path, operator_tests[i].run, NULL);
    }
}
