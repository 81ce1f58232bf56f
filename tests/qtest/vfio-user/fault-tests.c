/*
 * Servers that lie about device data, refuse to give it or go away in the
 * middle, and guests that are stopped there: the migration says what was
 * wrong, the guest runs on, and the next migration succeeds.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/syscall.h>
#include "framework.h"
#include "qapi/qmp/qdict.h"

#define KIB 1024
#define WINDOW (3 * 512 * KIB)          /* as the pair's servers have it */

/* --- rules for the registers of the source's server --- */

#define REGISTER(name) \
    MOCK_PATTERN_REGION(MOCK_REGION_READ, MOCK_REGION_MIGRATION, \
                        MOCK_MIG_##name)

/* The answer to a read of a register, as it is on the wire */
typedef struct QEMU_PACKED Answer {
    uint64_t offset;
    uint32_t region;
    uint32_t count;
    uint64_t value;
} Answer;

#define LIE(name, number, value_) \
    { .where = REGISTER(name), .nth = (number), .action = MOCK_ACTION_REPLY, \
      .data = &(const Answer) { MOCK_MIG_##name, MOCK_REGION_MIGRATION, 8, \
                                (value_) }, \
      .data_size = sizeof(Answer) }

#define REFUSE(where_, number) \
    { .where = where_, .nth = (number), .action = MOCK_ACTION_ERROR, \
      .error = EIO }

/* Data without end, 4 KiB at a time */
typedef struct QEMU_PACKED DataAnswer {
    uint64_t offset;
    uint32_t region;
    uint32_t count;
    uint8_t data[4 * KIB];
} DataAnswer;

static const DataAnswer endless_data = {
    .offset = MOCK_MIG_DATA, .region = MOCK_REGION_MIGRATION,
    .count = 4 * KIB,
};

#define ENDLESS_DATA \
    { .where = MOCK_PATTERN_DATA(MOCK_REGION_READ), \
      .action = MOCK_ACTION_REPLY, .data = &endless_data, \
      .data_size = sizeof(endless_data) }

/*
 * Three chunks come in pre-copy. The fourth is the first one in stop-and-copy,
 * the fifth the last.
 */
#define FOURTH 4
#define FIFTH 5

static void refuse_pending(VFIOUserTestPair *pair)
{
    MockRule rule = REFUSE(REGISTER(PENDING_BYTES), 1);

    mock_add_rules(pair->source->mock, &rule, 1);
}

#define AT_STOP_COPY(what) \
    { { .where = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY), .nth = 1, \
        .act = (what) } }

/* The migration fails in stop-and-copy, with an error that begins with dev0 */
#define FAILS(text) \
    .source_states = "W3 W2 W1", .destination_states = "W4", \
    .result = VFIO_USER_TEST_FAILED, .error = "dev0: " text

#define LIES_IN_PRECOPY \
    .source_rules = { LIE(DATA_OFFSET, 2, 1ull << 40) }, \
    .source_states = "W3 W1! R W2 W1", .destination_states = "W4", \
    .result = VFIO_USER_TEST_FAILED, \
    .error = "dev0: data_offset: outside the migration region"

/* What a destination says of a stream that ends early */
#define ENDS_EARLY "load of migration failed: "

/* --- guests that are stopped in the middle of a chunk --- */

/* Until QEMU's main thread waits for a lock, as far as that can be seen */
static void wait_until_blocked(VFIOUserTestVM *vm)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
    g_autofree char *path = g_strdup_printf("/proc/%d/syscall", vm->pid);
    g_autofree char *futex = g_strdup_printf("%d ", (int)SYS_futex);
    bool blocked = false;

    while (!blocked && g_get_monotonic_time() < deadline) {
        g_autofree char *syscall = NULL;

        /* a host may keep this to itself: then the test is a matter of luck */
        blocked = !g_file_get_contents(path, &syscall, NULL, NULL) ||
                  g_str_has_prefix(syscall, futex);
        g_thread_yield();
    }
    g_assert_true(blocked);
}

/* QEMU answers when the device has been told, which it will be after this */
static void begin_stop(VFIOUserTestPair *pair)
{
    MockPattern write = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY);

    qtest_qmp_send(pair->source->qts, "{'execute': 'stop'}");
    wait_until_blocked(pair->source);
    g_assert_cmpuint(mock_journal_count(pair->source->mock, 0, &write), ==, 0);
}

static void end_stop(VFIOUserTestPair *pair)
{
    QDict *answer = qtest_qmp_receive(pair->source->qts);

    g_assert_true(qdict_haskey(answer, "return"));
    qobject_unref(answer);
}

#define STOPPED_AT(where_) \
    .moments = { { .where = where_, .nth = 2, .act = begin_stop, \
                   .then = end_stop } }, \
    .source_states = "W3 W2 W0", .destination_states = "W4 W1", \
    .stopped = true

/* --- destinations that go away in the middle of a chunk --- */

static void kill_destination(VFIOUserTestPair *pair)
{
    vfio_user_test_vm_kill(pair->destination);
}

typedef struct FaultTest {
    const char *path;
    bool all_behaviours;
    VFIOUserMigrationTest test;
} FaultTest;

static const FaultTest migrations[] = {
    { "lie/offset-in-registers",
      .test = { .source_rules = { LIE(DATA_OFFSET, FOURTH, 16) },
                FAILS("data_offset: outside the migration region") } },
    { "lie/offset-outside",
      .test = { .source_rules = { LIE(DATA_OFFSET, FOURTH, 1ull << 40) },
                FAILS("data_offset: outside the migration region") } },
    { "lie/offset-huge",
      .test = { .source_rules = { LIE(DATA_OFFSET, FOURTH, UINT64_MAX) },
                FAILS("data_offset: outside the migration region") } },
    { "lie/size-outside",
      .test = { .source_rules = { LIE(DATA_SIZE, FOURTH, WINDOW + 1) },
                FAILS("data_size: beyond the end of the migration region") } },
    { "lie/size-huge",
      .test = { .source_rules = { LIE(DATA_SIZE, FOURTH, UINT64_MAX) },
                FAILS("data_size: beyond the end of the migration region") } },
    { "lie/empty-chunk",
      .test = { .source_rules = { LIE(DATA_SIZE, FOURTH, 0) },
                FAILS("data_size: no data although some is pending") } },
    { "lie/endless",
      .test = { .device = "x-bulk-timeout=1000",
                .source_rules = { LIE(PENDING_BYTES, 0, 4 * KIB),
                                  LIE(DATA_OFFSET, 0, MOCK_MIG_DATA),
                                  LIE(DATA_SIZE, 0, 4 * KIB), ENDLESS_DATA },
                FAILS("pending_bytes: does not become less") } },
    { "lie/too-much",
      .test = { .device = "x-max-device-state=2M",
                .source_rules = { LIE(DATA_SIZE, FIFTH, WINDOW) },
                FAILS("data_size: more data than x-max-device-state "
                      "allows") } },
    { "lie/in-precopy", .all_behaviours = true,
      .test = { LIES_IN_PRECOPY } },
    { "return-path/in-precopy", .all_behaviours = true,
      .test = { LIES_IN_PRECOPY, .return_path = true,
                .destination_error = ENDS_EARLY } },
    { "return-path/in-stop-copy", .all_behaviours = true,
      .test = { .source_rules = { LIE(DATA_SIZE, FOURTH, 0) },
                .return_path = true, .destination_error = ENDS_EARLY,
                FAILS("data_size: no data although some is pending") } },
    { "lie/at-the-destination",
      .test = { .destination_rule = LIE(DATA_OFFSET, FOURTH, 1ull << 40),
                .return_path = true,
                .source_states = "W3 W2 W1", .destination_states = "W4",
                .result = VFIO_USER_TEST_FAILED,
                .destination_error = "dev0: data_offset: outside the "
                                     "migration region" } },

    { "refuse/pending",
      .test = { .moments = AT_STOP_COPY(refuse_pending),
                FAILS("pending_bytes: read failed") } },
    { "refuse/offset",
      .test = { .source_rules = { REFUSE(REGISTER(DATA_OFFSET), FOURTH) },
                FAILS("data_offset: read failed") } },
    { "refuse/size",
      .test = { .source_rules = { REFUSE(REGISTER(DATA_SIZE), FOURTH) },
                FAILS("data_size: read failed") } },
    { "refuse/data",
      .test = { .source_rules = {
                    REFUSE(MOCK_PATTERN_DATA(MOCK_REGION_READ), FOURTH) },
                FAILS("data: read failed") } },

    { "destination-dies", .all_behaviours = true,
      .test = { .moments = { { .where = REGISTER(DATA_SIZE), .nth = FOURTH,
                               .act = kill_destination } },
                .source_states = "W3 W2 W1", .destination_states = "W4",
                .result = VFIO_USER_TEST_FAILED } },

    { "stop-in-chunk/before-size", .all_behaviours = true,
      .test = { STOPPED_AT(REGISTER(DATA_SIZE)) } },
    { "stop-in-chunk/before-data", .all_behaviours = true,
      .test = { STOPPED_AT(MOCK_PATTERN_DATA(MOCK_REGION_READ)) } },
};

/* --- servers that are gone --- */

#define TOLD_STOP_COPY MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY)

typedef struct LossTest {
    const char *path;
    const char *device;
    MockRule rule;              /* of the source's server */
    const char *error;          /* what error-desc begins with */
    bool or_reason;             /* or has the reason: two threads find it */
    const char *reason;         /* part of the line that says dev0 is lost */
    const char *states;
    bool return_path;
} LossTest;

static const LossTest losses[] = {
    { "in-precopy",
      .rule = { .where = REGISTER(DATA_SIZE), .nth = 2,
                .action = MOCK_ACTION_CLOSE_BEFORE },
      .error = "dev0: data_size: read failed: ", .or_reason = true,
      .reason = "REGION_READ: server closed the connection",
      .states = "W3" },
    { "timeout", .device = "x-state-timeout=300",
      .rule = { .where = TOLD_STOP_COPY, .action = MOCK_ACTION_NO_REPLY },
      .error = "dev0: device_state: cannot be set to stop-copy: ",
      .reason = "REGION_WRITE: no reply within 300 ms",
      .states = "W3 W2" },
    { "at-stop-copy",
      .rule = { .where = TOLD_STOP_COPY, .action = MOCK_ACTION_CLOSE_BEFORE },
      .error = "dev0: device_state: cannot be set to stop-copy: ",
      .reason = "REGION_WRITE: server closed the connection",
      .states = "W3 W2" },
    { "half-an-answer",
      .rule = { .where = TOLD_STOP_COPY, .action = MOCK_ACTION_CUT,
                .bytes = 20 },
      .error = "dev0: device_state: cannot be set to stop-copy: ",
      .reason = "server closed the connection",
      .states = "W3 W2" },
    { "in-stop-copy",
      .rule = { .where = REGISTER(DATA_SIZE), .nth = FOURTH,
                .action = MOCK_ACTION_CLOSE_BEFORE },
      .error = "dev0: data_size: read failed: ", .or_reason = true,
      .reason = "REGION_READ: server closed the connection",
      .states = "W3 W2" },
};

/* The guest lives on without its device, which nothing migrates */
static void assert_lives_on(VFIOUserTestVM *vm)
{
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    vfio_user_test_assert_property(vm, "device-state", "unknown");
    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    vfio_user_test_assert_status(vm, "paused");
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    vfio_user_test_qmp_error(vm, "dev0: ", "{'execute': 'migrate',"
                             " 'arguments': {'uri': 'exec:cat'}}");
}

/* Lines of @text that contain @what */
static unsigned count_lines(const char *text, const char *what)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
    unsigned count = 0;
    char **line;

    for (line = lines; *line; line++) {
        count += strstr(*line, what) != NULL;
    }
    return count;
}

static void test_fault_loss(const void *data)
{
    const LossTest *test = data;
    MockConfig mock;
    VFIOUserTestVMConfig here = { .name = "source", .mock = &mock,
                                  .device = test->device,
                                  .keep_errors = true };
    VFIOUserTestVMConfig there = { .name = "destination", .incoming = true,
                                   .keep_errors = true };
    g_autoptr(VFIOUserTestVM) source = NULL, destination = NULL;
    g_autofree char *uri = NULL, *errors = NULL;
    const char *error, *lost;
    QDict *info;

    mock_config_init(&mock);
    mock.precopy_pending = 1ull << 40;
    source = vfio_user_test_vm_new(&here);
    destination = vfio_user_test_vm_new(&there);
    mock_add_rules(source->mock, &test->rule, 1);
    vfio_user_test_set_capability(source, "return-path", test->return_path);
    uri = g_strdup_printf("unix:%s", destination->migration_path);
    vfio_user_test_qmp(source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    info = vfio_user_test_wait_migration(source, "failed");
    error = qdict_get_str(info, "error-desc");
    if (!g_str_has_prefix(error, test->error) &&
        !(test->or_reason && strstr(error, test->reason))) {
        vfio_user_test_fail("error-desc does not begin with \"%s\": %s",
                            test->error, error);
    }
    qobject_unref(info);
    vfio_user_test_vm_wait_exit(destination, 1);
    vfio_user_test_assert_said(destination, ENDS_EARLY);
    assert_lives_on(source);
    vfio_user_test_assert_states(source, test->states);
    errors = vfio_user_test_errors(source);
    g_test_message("%s", errors);
    g_assert_cmpuint(count_lines(errors, "dev0: lost: "), ==, 1);
    lost = strstr(errors, "dev0: lost: ");
    g_assert_nonnull(g_strstr_len(lost, strcspn(lost, "\n"), test->reason));
    if (!test->or_reason) {
        g_assert_cmpuint(count_lines(errors, test->reason), ==, 1);
    }
    g_assert_cmpuint(count_lines(errors, "Unable to write"), ==, 0);
}

/*
 * The source is through with its device, whose guest the destination may start
 * at any moment: it must not run here as well.
 */
static void test_fault_loss_when_saved(const void *data)
{
    /* the last chunk is the smallest one */
    MockRule hold = {
        .where = { .command = MOCK_REGION_WRITE,
                   .match = MOCK_MATCH_REGION | MOCK_MATCH_OFFSET |
                            MOCK_MATCH_VALUE,
                   .region = MOCK_REGION_MIGRATION,
                   .offset = MOCK_MIG_DATA_SIZE, .value = 256 },
        .nth = 1, .action = MOCK_ACTION_HOLD,
    };
    VFIOUserTestVMConfig here = { .name = "source" };
    VFIOUserTestVMConfig there = { .name = "destination", .incoming = true };
    g_autoptr(VFIOUserTestVM) source = vfio_user_test_vm_new(&here);
    g_autoptr(VFIOUserTestVM) destination = vfio_user_test_vm_new(&there);
    g_autofree char *uri = g_strdup_printf("unix:%s",
                                           destination->migration_path);

    mock_add_rules(destination->mock, &hold, 1);
    vfio_user_test_set_capability(source, "return-path", true);
    vfio_user_test_qmp(source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    g_assert_true(mock_wait_held(destination->mock, 1,
                                 VFIO_USER_TEST_DEADLINE_MS));
    g_assert_true(mock_wait_device_state(source->mock, MOCK_STATE_STOP,
                                         VFIO_USER_TEST_DEADLINE_MS));
    mock_disconnect(source->mock);
    qtest_qmp_eventwait(source->qts, "VFIO_USER_DISCONNECTED");
    vfio_user_test_settle(source);
    mock_release(destination->mock);
    qobject_unref(vfio_user_test_wait_migration(source, "completed"));
    vfio_user_test_assert_status(destination, "running");
    vfio_user_test_assert_status(source, "postmigrate");
    vfio_user_test_assert_moved(source->mock, destination->mock);
}

/* True if the device was there before its config space was read @nth times */
static bool plug_and_lose(VFIOUserTestVM *vm, unsigned nth)
{
    MockRule lose = {
        .where = { .command = MOCK_REGION_READ, .match = MOCK_MATCH_REGION,
                   .region = MOCK_REGION_CONFIG },
        .nth = nth, .action = MOCK_ACTION_CLOSE_BEFORE,
    };
    QDict *answer;
    bool there;

    mock_add_rules(vm->mock, &lose, 1);
    answer = qtest_qmp(vm->qts, "{'execute': 'device_add', 'arguments': {"
                       "'driver': 'vfio-user-pci', 'id': 'dev0',"
                       "'socket': %s}}", vm->socket_path);
    there = qdict_haskey(answer, "return");
    qobject_unref(answer);
    mock_clear_rules(vm->mock);
    return there;
}

/* Whichever read of config space it is that the server does not live to see */
static void test_fault_loss_when_plugged(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest", .machine = "pc",
                                    .no_device = true };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    unsigned nth = 1;

    while (!plug_and_lose(vm, nth)) {
        vfio_user_test_assert_status(vm, "running");
        nth++;
    }
    g_test_message("%u reads of config space", nth - 1);
    g_assert_cmpuint(nth, >, 2);
}

/* No migration, no server: stop and cont are the guest's alone */
static void test_fault_stop_without_server(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest", .keep_errors = true };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    g_autofree char *errors = NULL;

    mock_disconnect(vm->mock);
    vfio_user_test_settle(vm);
    assert_lives_on(vm);
    vfio_user_test_assert_states(vm, "");
    errors = vfio_user_test_errors(vm);
    g_assert_cmpuint(count_lines(errors, ": "), ==, 1);
    g_assert_cmpuint(count_lines(errors, "dev0: lost: "), ==, 1);
}

/* --- a device that does not run --- */

/*
 * Whatever it is refused for, the guest does not run with a device that does
 * not, one line says why, and cont tries again.
 */
static void test_fault_cont_refused(const void *data)
{
    MockRule refuse = REFUSE(MOCK_PATTERN_STATE_WRITE(MOCK_STATE_RUNNING), 1);
    MockConfig mock;
    VFIOUserTestVMConfig config = { .name = "guest", .mock = &mock,
                                    .keep_errors = true };
    g_autoptr(VFIOUserTestVM) vm = NULL;
    g_autofree char *errors = NULL;

    mock_config_init(&mock);
    mock.behaviour = GPOINTER_TO_UINT(data);
    vm = vfio_user_test_vm_new(&config);
    mock_add_rules(vm->mock, &refuse, 1);
    vfio_user_test_qmp(vm, "{'execute': 'stop'}");
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "io-error");
    vfio_user_test_assert_states(vm, "W0 W1! R");
    errors = vfio_user_test_errors(vm);
    g_test_message("%s", errors);
    g_assert_cmpuint(count_lines(errors, ": "), ==, 1);
    g_assert_cmpuint(count_lines(errors, "dev0: device_state: cannot be set "
                                 "to running"), ==, 1);
    vfio_user_test_qmp(vm, "{'execute': 'cont'}");
    vfio_user_test_settle(vm);
    vfio_user_test_assert_status(vm, "running");
    vfio_user_test_assert_states(vm, "W1");
}

static void test_fault_destination_refuses(const void *data)
{
    MockRule refuse = REFUSE(MOCK_PATTERN_STATE_WRITE(MOCK_STATE_RUNNING), 0);
    MockConfig mock;
    VFIOUserTestVMConfig here = { .name = "source", .mock = &mock };
    VFIOUserTestVMConfig there = { .name = "destination", .mock = &mock,
                                   .incoming = true, .keep_errors = true };
    g_autoptr(VFIOUserTestVM) source = NULL, destination = NULL;
    g_autofree char *uri = NULL, *errors = NULL;

    mock_config_init(&mock);
    mock.behaviour = GPOINTER_TO_UINT(data);
    source = vfio_user_test_vm_new(&here);
    destination = vfio_user_test_vm_new(&there);
    mock_add_rules(destination->mock, &refuse, 1);
    uri = g_strdup_printf("unix:%s", destination->migration_path);
    vfio_user_test_qmp(source, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    qobject_unref(vfio_user_test_wait_migration(source, "completed"));
    qobject_unref(vfio_user_test_wait_migration(destination, "completed"));
    vfio_user_test_settle(destination);
    vfio_user_test_assert_status(destination, "io-error");
    vfio_user_test_assert_states(destination, "W4 W1! R");
    errors = vfio_user_test_errors(destination);
    g_test_message("%s", errors);
    g_assert_cmpuint(count_lines(errors, ": "), ==, 1);
    g_assert_cmpuint(count_lines(errors, "dev0: device_state: cannot be set "
                                 "to running"), ==, 1);

    mock_clear_rules(destination->mock);
    vfio_user_test_qmp(destination, "{'execute': 'cont'}");
    vfio_user_test_settle(destination);
    vfio_user_test_assert_status(destination, "running");
    vfio_user_test_assert_states(destination, "W1");
    vfio_user_test_assert_moved(source->mock, destination->mock);
}

/* --- registration --- */

/* The one step that depends on the server here */
static void adapt(VFIOUserMigrationTest *test, MockBehaviour behaviour)
{
    test->behaviour = behaviour;
    if (behaviour == MOCK_BEHAVIOUR_LVU1 &&
        g_str_equal(test->source_states, "W3 W1! R W2 W1")) {
        test->source_states = "W3 W1";
    }
}

static void add_migration(const FaultTest *fault)
{
    MockBehaviour behaviour, end = fault->all_behaviours ?
                                   MOCK_NUM_BEHAVIOURS :
                                   MOCK_BEHAVIOUR_LVU1 + 1;

    for (behaviour = MOCK_BEHAVIOUR_LVU1; behaviour < end; behaviour++) {
        /* for as long as the tests run */
        VFIOUserMigrationTest *test = g_new(VFIOUserMigrationTest, 1);
        g_autofree char *path = g_strdup_printf("/vfio-user/fault/%s/%s",
                                                fault->path,
                                            mock_behaviour_name(behaviour));

        *test = fault->test;
        adapt(test, behaviour);
        vfio_user_test_add(path, vfio_user_test_migration, test);
    }
}

static void add_loss(const LossTest *loss, bool return_path)
{
    /* for as long as the tests run */
    LossTest *test = g_memdup2(loss, sizeof(*loss));
    g_autofree char *path = NULL;

    path = g_strdup_printf("/vfio-user/fault/%s/%s", return_path ?
                           "return-path/lost" : "lost", loss->path);
    test->return_path = return_path;
    vfio_user_test_add(path, test_fault_loss, test);
}

static void add_to_all(const char *name, void (*run)(const void *data))
{
    MockBehaviour behaviour;

    for (behaviour = 0; behaviour < MOCK_NUM_BEHAVIOURS; behaviour++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/fault/%s/%s", name,
                                            mock_behaviour_name(behaviour));

        vfio_user_test_add(path, run, GUINT_TO_POINTER(behaviour));
    }
}

void vfio_user_test_add_fault(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(migrations); i++) {
        add_migration(&migrations[i]);
    }
    for (i = 0; i < G_N_ELEMENTS(losses); i++) {
        add_loss(&losses[i], false);
        add_loss(&losses[i], true);
    }
    vfio_user_test_add("/vfio-user/fault/lost/when-saved",
                       test_fault_loss_when_saved, NULL);
    vfio_user_test_add("/vfio-user/fault/lost/when-plugged",
                       test_fault_loss_when_plugged, NULL);
    vfio_user_test_add("/vfio-user/fault/stop-without-server",
                       test_fault_stop_without_server, NULL);
    add_to_all("cont-refused", test_fault_cont_refused);
    add_to_all("destination-refuses", test_fault_destination_refuses);
}
