/*
 * Lives through a scenario, compares what the servers saw, and keeps it for
 * the table of all scenarios.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "scenario.h"
#include "libqos/pci.h"
#include "libqos/pci-pc.h"
#include "qapi/qmp/qdict.h"
#include "standard-headers/linux/pci_regs.h"

#define SLOW (1024 * 1024)
#define PENDING (1ull << 34)
#define DATA_SIZE (256 * 1024)
#define RAM_SIZE (16 * 1024 * 1024)
#define FILLED_FROM (2 * 1024 * 1024)

typedef struct Stage {
    const Scenario *scenario;
    MockBehaviour behaviour;
    VFIOUserTestVM *here;
    VFIOUserTestVM *there;
    unsigned there_from;
    char *disk;                 /* path of a snapshot's disk, or NULL */
    bool expect_data;           /* the device data must have come over */
} Stage;

bool scenario_resets_function(const Scenario *scenario)
{
    int i;

    for (i = 0; i < SCENARIO_MAX_STEPS; i++) {
        if (scenario->steps[i] == SCENARIO_FLR ||
            scenario->steps[i] == SCENARIO_WAKE) {
            return true;
        }
    }
    return false;
}

/* --- the two ends --- */

/*
 * A server that refuses all that a stopped one may, and that has data to give
 * in pre-copy for as long as that lasts. When its guest is stopped there it has
 * not; then the guest's memory, which takes long to send, keeps the migration
 * from completing.
 */
static VFIOUserTestVM *start(Stage *stage, bool there)
{
    const Scenario *scenario = stage->scenario;
    const MockRule *rules = there ? &scenario->there_rule : scenario->rules;
    size_t most = there ? 1 : G_N_ELEMENTS(scenario->rules), number = 0;
    bool paused = there ? scenario->there_paused : scenario->paused;
    g_autofree char *device = NULL;
    MockConfig mock;
    VFIOUserTestVMConfig config = {
        .name = there ? "destination" : "source",
        .mock = &mock,
        .machine = scenario->machine,
        .ram_size = RAM_SIZE,
        .incoming = there,
        .options = paused ? "-S" : NULL,
    };
    VFIOUserTestVM *vm;

    device = g_strdup_printf("%s%s%s",
                             scenario->stock ? "x-cache-device-state=off" : "",
                             scenario->stock && scenario->device ? "," : "",
                             scenario->device ?: "");
    config.device = *device ? device : NULL;
    mock_config_init(&mock);
    mock.behaviour = stage->behaviour;
    mock.refuse_when_stopped = true;
    mock.function_reset = scenario_resets_function(scenario);
    mock.precopy_rounds = G_MAXINT;
    mock.precopy_round_size = 16 * 1024;
    mock.precopy_pending = PENDING;
    mock.migration_size = mock.chunk_size = mock.window_size = DATA_SIZE;
    mock.seed = there ? 2 : 1;
    vm = vfio_user_test_vm_new(&config);
    while (number < most && rules[number].action != MOCK_ACTION_NONE) {
        number++;
    }
    mock_add_rules(vm->mock, rules, number);
    mock_scratch_set(vm->mock, 0, there ? 0 : 0x5ce0a610);
    return vm;
}

static void fill_memory(VFIOUserTestVM *vm)
{
    qtest_memset(vm->qts, FILLED_FROM, 0x5a, RAM_SIZE - FILLED_FROM);
}

/*
 * QEMU asks for device data only where memory leaves bandwidth for it, so
 * memory is to be sent again once that has been seen.
 */
static void begin(Stage *stage, bool paused)
{
    VFIOUserTestVM *here = stage->here;
    MockPattern chunk = MOCK_PATTERN_DATA(MOCK_REGION_READ);
    MockPattern told = MOCK_PATTERN_ANY_STATE_WRITE();
    unsigned from = mock_journal_length(here->mock);
    g_autofree char *uri = NULL;

    stage->there = start(stage, true);
    stage->there_from = stage->there->mark;
    uri = g_strdup_printf("unix:%s", stage->there->migration_path);
    fill_memory(here);
    vfio_user_test_set_speed(here, paused ? SLOW : 0, 1);
    vfio_user_test_qmp(here, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
    g_assert_cmpint(mock_journal_wait(here->mock, from,
                                      paused ? &told : &chunk, paused ? 1 : 2,
                                      VFIO_USER_TEST_DEADLINE_MS), >=, 0);
    g_assert_cmpint(mock_journal_wait(stage->there->mock, stage->there_from,
                                      &told, 1, VFIO_USER_TEST_DEADLINE_MS),
                    >=, 0);
    if (!paused) {
        vfio_user_test_set_speed(here, SLOW, 1);
        fill_memory(here);
    }
}

static void wait_migration(VFIOUserTestVM *vm, const char *status,
                           const char *error)
{
    qobject_unref(vfio_user_test_wait_migration(vm, status));
    if (error) {
        vfio_user_test_assert_error_desc(vm, error);
    }
    vfio_user_test_settle(vm);
}

static void complete(Stage *stage)
{
    /* pre-copy ends when what is left can be sent within the downtime */
    vfio_user_test_set_speed(stage->here, 0, 2000000);
    wait_migration(stage->here, "completed", NULL);
    if (!stage->scenario->there_paused &&
        !g_str_equal(stage->scenario->there_status, "paused") &&
        !g_str_equal(stage->scenario->there_status, "prelaunch")) {
        qtest_qmp_eventwait(stage->there->qts, "RESUME");
    }
    vfio_user_test_settle(stage->there);
    stage->expect_data = true;
}

static void lose_at(Stage *stage, uint32_t value)
{
    MockRule hold = {
        .where = MOCK_PATTERN_STATE_WRITE(value), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };

    mock_add_rules(stage->here->mock, &hold, 1);
    vfio_user_test_set_speed(stage->here, 0, 2000000);
    g_assert_true(mock_wait_held(stage->here->mock, 1,
                                 VFIO_USER_TEST_DEADLINE_MS));
    vfio_user_test_vm_kill(stage->there);
    g_assert_cmpuint(mock_release(stage->here->mock), ==, 1);
    wait_migration(stage->here, "failed", NULL);
}

/* --- snapshots --- */

/* Wait until the job has done its work, and let go what it holds. */
static void finish_job(VFIOUserTestVM *vm, const char *id)
{
    bool done = false;

    while (!done) {
        QDict *event = qtest_qmp_eventwait_ref(vm->qts, "JOB_STATUS_CHANGE");
        QDict *data = qdict_get_qdict(event, "data");

        done = g_str_equal(qdict_get_str(data, "id"), id) &&
               g_str_equal(qdict_get_str(data, "status"), "concluded");
        qobject_unref(event);
    }
    vfio_user_test_qmp(vm, "{'execute': 'job-dismiss',"
                       " 'arguments': {'id': %s}}", id);
}

static void add_disk(Stage *stage)
{
    VFIOUserTestVM *vm = stage->here;

    if (stage->disk) {
        return;
    }
    stage->disk = g_strdup_printf("%s.qcow2", vm->dir);
    vfio_user_test_qmp(vm, "{'execute': 'blockdev-create', 'arguments': {"
                       "'job-id': 'file', 'options': {'driver': 'file',"
                       " 'filename': %s, 'size': 0}}}", stage->disk);
    finish_job(vm, "file");
    vfio_user_test_qmp(vm, "{'execute': 'blockdev-add', 'arguments': {"
                       "'driver': 'file', 'node-name': 'file',"
                       "'filename': %s}}", stage->disk);
    vfio_user_test_qmp(vm, "{'execute': 'blockdev-create', 'arguments': {"
                       "'job-id': 'disk', 'options': {'driver': 'qcow2',"
                       " 'file': 'file', 'size': 1048576}}}");
    finish_job(vm, "disk");
    vfio_user_test_qmp(vm, "{'execute': 'blockdev-add', 'arguments': {"
                       "'driver': 'qcow2', 'node-name': 'disk',"
                       "'file': 'file'}}");
}

/* A device that is told STOP_COPY again gives all its data again. */
static void assert_saved_once(Stage *stage)
{
    uint64_t bytes;

    g_free(mock_saved_sum(stage->here->mock, &bytes, NULL));
    if (stage->scenario->stock) {
        g_assert_cmpuint(bytes, >, DATA_SIZE);
    } else {
        g_assert_cmpuint(bytes, ==, DATA_SIZE);
    }
}

static void snapshot(Stage *stage, const char *command, bool fails)
{
    g_autofree char *answer = NULL;

    add_disk(stage);
    answer = qtest_hmp(stage->here->qts, "%s snapshot", command);
    g_test_message("%s: %s", command, answer);
    if (fails != (*answer != '\0')) {
        vfio_user_test_fail("%s: %s", command, *answer ? answer : "succeeded");
    }
    vfio_user_test_settle(stage->here);
    if (!fails && g_str_equal(command, "savevm")) {
        assert_saved_once(stage);
    }
}

/* --- steps --- */

static void reset(VFIOUserTestVM *vm)
{
    vfio_user_test_qmp(vm, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(vm->qts, "RESET");
    vfio_user_test_settle(vm);
}

/* The guest resets the function, in one of two ways. */
static void function_level_reset(VFIOUserTestVM *vm, bool wake)
{
    QPCIBus *bus = qpci_new_pc(vm->qts, NULL);
    QPCIDevice *device = qpci_device_find(bus,
        QPCI_DEVFN(VFIO_USER_TEST_DEVICE_SLOT, 0));
    uint8_t capability = qpci_find_capability(device, wake ? PCI_CAP_ID_PM :
                                                             PCI_CAP_ID_AF, 0);

    g_assert_cmpuint(capability, !=, 0);
    if (wake) {
        qpci_config_writew(device, capability + PCI_PM_CTRL, 3);
        qpci_config_writew(device, capability + PCI_PM_CTRL, 0);
    } else {
        qpci_config_writeb(device, capability + PCI_AF_CTRL, PCI_AF_CTRL_FLR);
    }
    g_free(device);
    qpci_free_pc(bus);
}

static void command(VFIOUserTestVM *vm, const char *name)
{
    vfio_user_test_qmp(vm, "{'execute': %s}", name);
    vfio_user_test_settle(vm);
}

static void cancel(Stage *stage)
{
    command(stage->here, "migrate_cancel");
    wait_migration(stage->here, "cancelled", NULL);
    vfio_user_test_vm_wait_exit(stage->there, 1);
}

static void unreachable(Stage *stage)
{
    vfio_user_test_qmp(stage->here, "{'execute': 'migrate', 'arguments':"
                       " {'uri': 'unix:/nonexistent/migration'}}");
    wait_migration(stage->here, "failed", "/nonexistent/migration");
}

static void fail(Stage *stage)
{
    vfio_user_test_set_speed(stage->here, 0, 2000000);
    wait_migration(stage->here, "failed", stage->scenario->error);
    vfio_user_test_vm_wait_exit(stage->there, 1);
}

static void lose(Stage *stage)
{
    vfio_user_test_vm_kill(stage->there);
    wait_migration(stage->here, "failed", NULL);
}

static void unplug(Stage *stage)
{
    qpci_unplug_acpi_device_test(stage->here->qts, "dev0",
                                 VFIO_USER_TEST_DEVICE_SLOT);
    g_assert_true(mock_wait_connected(stage->here->mock, false,
                                      VFIO_USER_TEST_DEADLINE_MS));
}

static void take_migration_step(Stage *stage, ScenarioStep step)
{
    switch (step) {
    case SCENARIO_BEGIN:
    case SCENARIO_BEGIN_PAUSED:
        begin(stage, step == SCENARIO_BEGIN_PAUSED);
        break;
    case SCENARIO_COMPLETE:
        complete(stage);
        break;
    case SCENARIO_CANCEL:
        cancel(stage);
        break;
    case SCENARIO_LOSE:
        lose(stage);
        break;
    case SCENARIO_LOSE_AT_STOP_COPY:
        lose_at(stage, MOCK_STATE_STOP_COPY);
        break;
    case SCENARIO_LOSE_AT_STOP:
        lose_at(stage, MOCK_STATE_STOP);
        break;
    case SCENARIO_FAIL:
        fail(stage);
        break;
    case SCENARIO_UNREACHABLE:
        unreachable(stage);
        break;
    default:
        g_assert_not_reached();
    }
}

static void take_step(Stage *stage, ScenarioStep step)
{
    switch (step) {
    case SCENARIO_CONT:
        command(stage->here, "cont");
        break;
    case SCENARIO_STOP:
        command(stage->here, "stop");
        break;
    case SCENARIO_RESET:
        reset(stage->here);
        break;
    case SCENARIO_SAVEVM:
    case SCENARIO_SAVEVM_FAILS:
        snapshot(stage, "savevm", step == SCENARIO_SAVEVM_FAILS);
        break;
    case SCENARIO_LOADVM:
    case SCENARIO_LOADVM_FAILS:
        snapshot(stage, "loadvm", step == SCENARIO_LOADVM_FAILS);
        break;
    case SCENARIO_UNPLUG:
        unplug(stage);
        break;
    case SCENARIO_FLR:
    case SCENARIO_WAKE:
        function_level_reset(stage->here, step == SCENARIO_WAKE);
        break;
    case SCENARIO_RAISE:
        g_assert_cmpint(mock_raise_irq(stage->here->mock, MOCK_IRQ_INTX, 0),
                        ==, 0);
        break;
    case SCENARIO_THERE_CONT:
        command(stage->there, "cont");
        break;
    case SCENARIO_THERE_RESET:
        reset(stage->there);
        break;
    default:
        take_migration_step(stage, step);
    }
}

/* --- the end --- */

static void assert_data(Stage *stage)
{
    g_autofree char *why = NULL;

    if (!stage->expect_data) {
        return;
    }
    if (!mock_loaded_is_good(stage->there->mock, &why)) {
        vfio_user_test_fail("the device data has not come over: %s", why);
    }
}

/*
 * A migration has failed before all has been told to the devices, and QEMU
 * does not say when that is done. Wait for it, and for what must not follow.
 */
static void wait_story(VFIOUserTestVM *vm, unsigned from, const char *expected)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
    bool told = false;

    while (vm->qts && !told && g_get_monotonic_time() < deadline) {
        g_autofree char *story = vfio_user_test_story(vm, from);

        told = g_str_equal(story, expected);
        vfio_user_test_settle(vm);
    }
}

/* What the server saw, which is compared; to be freed with g_free(). */
static char *assert_story(Stage *stage, VFIOUserTestVM *vm, unsigned from,
                          const char *expected)
{
    const char *mark;
    unsigned refusals = 0;
    char *story;

    wait_story(vm, from, expected);
    story = vfio_user_test_story(vm, from);
    g_test_message("%s: %s", vm->name, story);
    g_assert_cmpstr(story, ==, expected);
    for (mark = story; (mark = strchr(mark, '!')); mark++) {
        refusals++;
    }
    /* nothing else was refused: a stopped device was left alone */
    if (!stage->scenario->stock) {
        g_assert_cmpuint(vfio_user_test_count_refusals(vm, from), <=,
                         refusals);
    }
    return story;
}

void scenario_run(const Scenario *scenario, MockBehaviour behaviour)
{
    Stage stage = { .scenario = scenario, .behaviour = behaviour };
    g_autofree char *source = NULL, *destination = NULL;
    const ScenarioStep *step;
    unsigned from;

    stage.here = start(&stage, false);
    from = stage.here->mark;
    for (step = scenario->steps; *step; step++) {
        take_step(&stage, *step);
    }
    vfio_user_test_assert_status(stage.here, scenario->status);
    if (stage.there && stage.there->qts) {
        vfio_user_test_assert_status(stage.there, scenario->there_status);
    }
    assert_data(&stage);
    source = assert_story(&stage, stage.here, from,
                          scenario->sources[behaviour] ?: scenario->source);
    if (stage.there) {
        destination = assert_story(&stage, stage.there, stage.there_from,
                                   scenario->destination);
    }
    scenario_note(scenario, mock_behaviour_name(behaviour), source,
                  destination);
    vfio_user_test_vm_free(stage.there);
    vfio_user_test_vm_free(stage.here);
    if (stage.disk) {
        unlink(stage.disk);
        g_free(stage.disk);
    }
}

typedef struct ScenarioCase {
    const Scenario *scenario;
    MockBehaviour behaviour;
} ScenarioCase;

static void scenario_run_case(const void *data)
{
    const ScenarioCase *this = data;

    scenario_run(this->scenario, this->behaviour);
}

void scenario_add(const char *area, const Scenario *scenarios, size_t number)
{
    MockBehaviour behaviour;
    size_t i;

    for (i = 0; i < number; i++) {
        for (behaviour = 0; behaviour < MOCK_NUM_BEHAVIOURS; behaviour++) {
            g_autofree char *path = NULL;
            ScenarioCase *this;

            if (scenarios[i].stock && behaviour != MOCK_BEHAVIOUR_LVU1) {
                continue;
            }
            this = g_new(ScenarioCase, 1); /* for as long as the tests run */
            *this = (ScenarioCase) { &scenarios[i], behaviour };
            path = g_strdup_printf("/vfio-user/%s/%s/%s", area,
                                   scenarios[i].path,
                                   mock_behaviour_name(behaviour));
            vfio_user_test_add(path, scenario_run_case, this);
        }
    }
}
