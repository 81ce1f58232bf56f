/*
 * Unit tests of the cached device_state: events in, accesses of the register
 * out, on servers that keep to the protocol, bend it, or fail.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/vfio/migration-state.h"

#define START       VFIO_MIGRATION_EVENT_VM_START
#define START_SAVE  VFIO_MIGRATION_EVENT_VM_START_SAVE
#define STOP        VFIO_MIGRATION_EVENT_VM_STOP
#define STOP_SAVE   VFIO_MIGRATION_EVENT_VM_STOP_SAVE
#define SETUP       VFIO_MIGRATION_EVENT_SAVE_SETUP
#define STOPPED     VFIO_MIGRATION_EVENT_SAVE_STOPPED
#define DONE        VFIO_MIGRATION_EVENT_SAVE_DONE
#define CLEANUP     VFIO_MIGRATION_EVENT_SAVE_CLEANUP
#define LOAD        VFIO_MIGRATION_EVENT_LOAD_SETUP
#define LOADED      VFIO_MIGRATION_EVENT_LOAD_CLEANUP
#define UNPLUG      VFIO_MIGRATION_EVENT_UNPLUG
#define ROLLBACK    VFIO_MIGRATION_EVENT_ROLLBACK

/* Not events of the module: what else happens to the device */
#define RESET           (VFIO_MIGRATION_EVENT__MAX + 1)
#define END             (VFIO_MIGRATION_EVENT__MAX + 2)

#define MAX_EVENTS 8

/* The device: its register, and a log of what was done to it */
typedef struct Device {
    uint32_t value;
    bool accepts_3_to_1;
    bool accepts_self;
    bool reset_runs;        /* a reset leads to RUNNING */
    int fail_write;         /* how many more writes until one is refused */
    bool error_on_fail;     /* that one puts the device into ERROR */
    bool dead;              /* nothing is answered any more */
    unsigned skips;
    unsigned failures;
    GString *log;
} Device;

/* What the specification allows, typed from its list of transitions. */
static bool device_allows(const Device *device, uint32_t to)
{
    static const char *const allowed[] = {
        "1", "0 2 3 4", "0 1", "2", "1", "", "",
    };
    char digit[] = { '0' + to, '\0' };

    return (device->accepts_3_to_1 && device->value == 3 && to == 1) ||
           (device->accepts_self && device->value == to) ||
           (device->value < ARRAY_SIZE(allowed) &&
            strstr(allowed[device->value], digit));
}

static int device_read(void *opaque, uint32_t *value)
{
    Device *device = opaque;

    g_string_append_printf(device->log, "%sR", device->log->len ? " " : "");
    *value = device->value;
    return device->dead ? -ENOTCONN : 0;
}

static int device_write(void *opaque, uint32_t value)
{
    Device *device = opaque;

    g_string_append_printf(device->log, "%sW%u", device->log->len ? " " : "",
                           value);
    if (device->dead) {
        return -ENOTCONN;
    }
    if (device->fail_write && !--device->fail_write) {
        device->value = device->error_on_fail ? 6 : device->value;
        return -EIO;
    }
    if (!device_allows(device, value)) {
        return -EINVAL;
    }
    device->value = value;
    return 0;
}

/* What a device that may be stopped is asked for, not QEMU's own reset */
static int device_late_reset(void *opaque)
{
    Device *device = opaque;

    g_string_append(device->log, " RESET");
    if (device->reset_runs) {
        device->value = 1;
    }
    return 0;
}

static void device_resume(void *opaque)
{
    Device *device = opaque;

    g_string_append(device->log, " RESUME");
}

static void device_skip(void *opaque, uint32_t value, const char *reason)
{
    Device *device = opaque;

    if (g_str_equal(reason, "there already")) {
        g_assert_cmpuint(value, ==, device->value);
        device->skips++;
    }
}

static void device_forget(void *opaque, const char *cause)
{
}

static void device_fail(void *opaque, uint32_t value, int ret)
{
    Device *device = opaque;

    device->failures++;
}

static const VFIOMigrationStateOps device_ops = {
    .read = device_read,
    .write = device_write,
    .reset = device_late_reset,
    .resume = device_resume,
    .skip = device_skip,
    .forget = device_forget,
    .fail = device_fail,
};

typedef struct Scenario {
    const char *name;
    bool running;           /* the VM runs from the start */
    bool uncached;
    bool refuses_3_to_1;
    bool reset_runs;
    bool kernel;            /* refuses nothing while it is stopped */
    int fail_write;
    bool error_on_fail;
    int events[MAX_EVENTS]; /* ends with END */
    const char *log;        /* accesses after realize */
    uint32_t value;         /* where the device ends */
    int ret;                /* of the last event */
} Scenario;

static const Scenario scenarios[] = {
    { "cold-boot", .events = { START, END }, .log = "", .value = 1 },
    { "boot-then-stop", .events = { START, STOP, END },
      .log = "W0", .value = 0 },
    { "stop-cont", .running = true, .events = { STOP, START, END },
      .log = "W0 W1 RESUME", .value = 1 },
    { "source", .running = true,
      .events = { SETUP, STOP, STOPPED, DONE, END },
      .log = "W3 W2 W0", .value = 0 },
    { "source-then-cont", .running = true,
      .events = { SETUP, STOP, STOPPED, DONE, START, END },
      .log = "W3 W2 W0 W1 RESUME", .value = 1 },
    { "destination", .events = { LOAD, START, END },
      .log = "W4 W1", .value = 1 },
    { "cancel", .running = true, .events = { SETUP, ROLLBACK, ROLLBACK, END },
      .log = "W3 W1", .value = 1 },
    { "cancel-strict", .running = true, .refuses_3_to_1 = true,
      .events = { SETUP, ROLLBACK, END },
      .log = "W3 W1 R W2 W1 RESUME", .value = 1 },
    { "cancel-strict-twice", .running = true, .refuses_3_to_1 = true,
      .events = { SETUP, ROLLBACK, SETUP, ROLLBACK, END },
      .log = "W3 W1 R W2 W1 RESUME W3 W2 W1 RESUME", .value = 1 },
    { "unreachable", .running = true, .events = { ROLLBACK, END },
      .log = "", .value = 1 },
    { "unreachable-paused", .running = true,
      .events = { STOP, ROLLBACK, END }, .log = "W0", .value = 0 },
    { "failure-at-stop-copy", .running = true,
      .events = { SETUP, STOP, STOPPED, START, ROLLBACK, END },
      .log = "W3 W2 W1 RESUME", .value = 1 },
    { "failure-after-stop-copy", .running = true,
      .events = { SETUP, STOP, STOPPED, DONE, START, ROLLBACK, END },
      .log = "W3 W2 W0 W1 RESUME", .value = 1 },
    { "paused", .running = true,
      .events = { STOP, SETUP, STOPPED, DONE, END },
      .log = "W0 W1 RESUME W2 W0", .value = 0 },
    { "paused-failure", .running = true,
      .events = { STOP, SETUP, STOPPED, ROLLBACK, END },
      .log = "W0 W1 RESUME W2 W0", .value = 0 },
    { "never-started", .events = { SETUP, STOPPED, DONE, END },
      .log = "W2 W0", .value = 0 },
    { "never-started-failure", .events = { SETUP, STOPPED, ROLLBACK, END },
      .log = "W2 W1 RESUME", .value = 1 },
    { "stop-in-precopy", .running = true,
      .events = { SETUP, STOP, STOPPED, DONE, END },
      .log = "W3 W2 W0", .value = 0 },
    { "stop-cont-in-precopy", .running = true,
      .events = { SETUP, STOP, START_SAVE, STOP, STOPPED, DONE, END },
      .log = "W3 W2 W1 RESUME W3 W2 W0", .value = 0 },
    { "reset-in-precopy-falls", .running = true, .reset_runs = true,
      .events = { SETUP, RESET, STOP, STOPPED, DONE, END },
      .log = "W3 RESET R W3 W2 W0", .value = 0 },
    { "reset-in-precopy-kept", .running = true,
      .events = { SETUP, RESET, STOP, STOPPED, DONE, END },
      .log = "W3 RESET R W2 W0", .value = 0 },
    { "reset-when-running", .running = true, .events = { RESET, END },
      .log = "RESET", .value = 1 },
    { "savevm", .running = true,
      .events = { STOP_SAVE, SETUP, STOPPED, DONE, CLEANUP, START, END },
      .log = "W2 W0 W1 RESUME", .value = 1 },
    { "savevm-paused-fails", .running = true,
      .events = { STOP, SETUP, CLEANUP, END },
      .log = "W0 W1 RESUME W2 W0", .value = 0 },
    { "loadvm", .running = true,
      .events = { STOP, RESET, LOAD, LOADED, START, END },
      .log = "W0 W1 RESET RESUME W4 W1", .value = 1 },
    { "loadvm-again", .running = true,
      .events = { STOP, LOAD, LOADED, RESET, LOAD, LOADED, END },
      .log = "W0 W1 RESUME W4 W1 RESET W4", .value = 4 },
    { "reset-when-stopped", .running = true,
      .events = { STOP, RESET, START, END },
      .log = "W0 W1 RESET RESUME", .value = 1 },
    { "reset-when-stopped-kernel", .running = true, .kernel = true,
      .reset_runs = true, .events = { STOP, RESET, START, END },
      .log = "W0 RESET R W0 W1", .value = 1 },
    { "reset-when-stopped-in-precopy", .running = true,
      .events = { SETUP, STOP, RESET, STOPPED, DONE, END },
      .log = "W3 W2 W1 RESUME RESET W2 W0", .value = 0 },
    { "reset-when-loading", .events = { LOAD, RESET, LOADED, START, END },
      .log = "W4 W1", .value = 1 },
    { "reset-when-loaded", .events = { LOAD, LOADED, RESET, START, END },
      .log = "W4 W1 RESET", .value = 1 },
    { "reset-after-error", .running = true, .reset_runs = true,
      .fail_write = 1, .error_on_fail = true,
      .events = { SETUP, CLEANUP, RESET, END },
      .log = "W3 R RESET R", .value = 1 },
    { "migrate-after-a-refused-cancel", .running = true, .fail_write = 2,
      .events = { SETUP, ROLLBACK, SETUP, END },
      .log = "W3 W1 R W2 W1 RESUME W3", .value = 3 },
    { "start-refused-when-loaded", .fail_write = 2,
      .events = { LOAD, LOADED, START, STOP, START, END },
      .log = "W4 W1 R W1", .value = 1 },
    { "unplug-when-stopped", .running = true, .events = { STOP, UNPLUG, END },
      .log = "W0 W1 RESUME", .value = 1 },
    { "refused-stop-copy-is-tried-again", .running = true, .fail_write = 2,
      .events = { SETUP, STOP, STOPPED, DONE, END },
      .log = "W3 W2 R W2 W0", .value = 0 },
    { "refused-stop-copy-and-back", .running = true, .fail_write = 2,
      .events = { SETUP, STOP, START, ROLLBACK, END },
      .log = "W3 W2 R W1", .value = 1 },
    { "error-is-final", .running = true, .fail_write = 2,
      .error_on_fail = true, .events = { SETUP, STOP, START, ROLLBACK, END },
      .log = "W3 W2 R", .value = 6, .ret = -EIO },
    { "uncached-reset", .running = true, .uncached = true,
      .events = { STOP, RESET, END }, .log = "R W0 RESET", .value = 0 },
    { "uncached-cold-boot", .uncached = true, .events = { START, END },
      .log = "R W1", .value = 1 },
    { "uncached-source", .running = true, .uncached = true,
      .events = { SETUP, STOP, STOPPED, DONE, END },
      .log = "R W3 R W2 R W2 R W0", .value = 0 },
    { "uncached-stop-twice", .running = true, .uncached = true,
      .events = { STOP, STOP, END }, .log = "R W0", .value = 0 },
    { "uncached-destination", .uncached = true, .events = { LOAD, START, END },
      .log = "R W4 R W1", .value = 1 },
};

/* As a bus does it; what is put off, the module sees to later. */
static int device_reset(VFIOMigrationState *state, Device *device)
{
    if (vfio_migration_state_reset_begin(state) == VFIO_MIGRATION_RESET_NOW) {
        device_late_reset(device);
    }
    return vfio_migration_state_reset_end(state);
}

static void state_init(VFIOMigrationState *state, Device *device, bool cache,
                       bool refuses, bool running)
{
    VFIOMigrationStateConfig config = {
        .ops = &device_ops,
        .opaque = device,
        .cache = cache,
        .refuses = refuses,
        .vm_running = running,
    };

    device->log = g_string_new(NULL);
    vfio_migration_state_init(state, &config);
}

static void state_destroy(VFIOMigrationState *state, Device *device)
{
    vfio_migration_state_destroy(state);
    g_string_free(device->log, true);
}

static void test_state_scenario(const void *data)
{
    const Scenario *scenario = data;
    Device device = {
        .value = 1,
        .accepts_3_to_1 = !scenario->refuses_3_to_1,
        .accepts_self = scenario->uncached,
        .reset_runs = scenario->reset_runs,
    };
    VFIOMigrationState state;
    int i, ret = 0;

    state_init(&state, &device, !scenario->uncached, !scenario->kernel,
               scenario->running);
    g_assert_cmpint(vfio_migration_state_sync(&state), ==, 0);
    g_assert_cmpstr(device.log->str, ==, "R");
    g_string_truncate(device.log, 0);
    device.fail_write = scenario->fail_write;
    device.error_on_fail = scenario->error_on_fail;

    for (i = 0; scenario->events[i] != END; i++) {
        ret = scenario->events[i] == RESET ?
              device_reset(&state, &device) :
              vfio_migration_state_event(&state, scenario->events[i]);
    }
    g_assert_cmpstr(g_strchug(device.log->str), ==, scenario->log);
    g_assert_cmpuint(device.value, ==, scenario->value);
    g_assert_cmpint(ret, ==, scenario->ret);
    state_destroy(&state, &device);
}

/* Whatever state the device is found in, realize leads it to RUNNING. */
static void test_state_sync_from_any(void)
{
    static const char *const logs[] = {
        "R W1 RESUME", "R", "R W1 RESUME", "R W1", "R W1",
    };
    uint32_t found;

    for (found = 0; found < ARRAY_SIZE(logs); found++) {
        Device device = {
            .value = found,
            .accepts_3_to_1 = true,
        };
        VFIOMigrationState state;

        state_init(&state, &device, true, true, false);
        g_assert_cmpint(vfio_migration_state_sync(&state), ==, 0);
        g_assert_cmpstr(device.log->str, ==, logs[found]);
        g_assert_cmpuint(device.value, ==, 1);
        state_destroy(&state, &device);
    }
}

static void test_state_sync_failures(void)
{
    Device device = { .value = 6 };
    VFIOMigrationState state;

    state_init(&state, &device, true, true, false);
    g_assert_cmpint(vfio_migration_state_sync(&state), ==, -EIO);
    device.dead = true;
    g_assert_cmpint(vfio_migration_state_sync(&state), ==, -ENOTCONN);
    g_assert_cmpstr(device.log->str, ==, "R RESET R R");
    state_destroy(&state, &device);
}

/* A lost device is left alone, and none of it counts as done. */
static void test_state_lost_device(void)
{
    Device device = { .value = 1 };
    VFIOMigrationState state;

    state_init(&state, &device, true, true, true);
    vfio_migration_state_sync(&state);
    device.dead = true;
    g_assert_cmpint(vfio_migration_state_event(&state, SETUP), ==, -ENOTCONN);
    g_assert_cmpint(vfio_migration_state_event(&state, ROLLBACK), ==,
                    -ENOTCONN);
    g_assert_cmpstr(device.log->str, ==, "R W3");
    g_assert_cmpuint(device.skips, ==, 0);
    state_destroy(&state, &device);
}

/* The backend says so: nothing is tried that cannot be answered. */
static void test_state_lose(void)
{
    Device device = { .value = 1 };
    VFIOMigrationState state;

    state_init(&state, &device, true, true, true);
    vfio_migration_state_sync(&state);
    g_assert_true(vfio_migration_state_lose(&state));
    g_assert_false(state.known);
    g_assert_cmpint(vfio_migration_state_event(&state, STOP), ==, -ENOTCONN);
    g_assert_cmpint(vfio_migration_state_event(&state, START), ==, -ENOTCONN);
    g_assert_true(vfio_migration_state_may_run(&state));
    g_assert_cmpstr(device.log->str, ==, "R");
    g_assert_cmpint(vfio_migration_state_sync(&state), ==, 0);
    g_assert_true(state.known);
    state_destroy(&state, &device);
}

/*
 * A device that has come back is another one: it is not due a reset for the
 * one that was lost, nor does it hold what that one has loaded.
 */
static void test_state_sync_again(void)
{
    Device device = { .value = 1 };
    VFIOMigrationState state;

    state_init(&state, &device, true, true, true);
    vfio_migration_state_sync(&state);
    vfio_migration_state_event(&state, STOP);
    device_reset(&state, &device);
    vfio_migration_state_lose(&state);
    device.value = 1;
    g_assert_cmpint(vfio_migration_state_sync(&state), ==, 0);
    g_assert_cmpstr(device.log->str, ==, "R W0 R W0");
    g_string_truncate(device.log, 0);
    vfio_migration_state_event(&state, START);
    g_assert_cmpstr(device.log->str, ==, "W1 RESUME");

    g_string_truncate(device.log, 0);
    vfio_migration_state_event(&state, LOAD);
    vfio_migration_state_event(&state, LOADED);
    vfio_migration_state_lose(&state);
    device.value = 1;
    g_assert_cmpint(vfio_migration_state_sync(&state), ==, 0);
    g_assert_cmpstr(device.log->str, ==, "W4 R");
    g_assert_true(vfio_migration_state_may_run(&state));
    state_destroy(&state, &device);
}

/* What has been saved may go: the migration has it. */
static void test_state_lose_saved(void)
{
    Device device = { .value = 1 };
    VFIOMigrationState state;

    state_init(&state, &device, true, true, true);
    vfio_migration_state_sync(&state);
    vfio_migration_state_event(&state, SETUP);
    g_assert_true(vfio_migration_state_lose(&state));
    vfio_migration_state_event(&state, DONE);
    g_assert_false(vfio_migration_state_lose(&state));
    vfio_migration_state_event(&state, START);
    g_assert_true(vfio_migration_state_lose(&state));
    state_destroy(&state, &device);
}

/* Bits beyond the state belong to the device: they go back as they came. */
static void test_state_reserved_bits(void)
{
    Device device = { .value = 0x101 };
    VFIOMigrationState state;

    state_init(&state, &device, true, true, true);
    g_assert_cmpint(vfio_migration_state_sync(&state), ==, 0);
    vfio_migration_state_event(&state, STOP);
    g_assert_cmpstr(device.log->str, ==, "R W256 R");
    state_destroy(&state, &device);
}

static void test_state_counts(void)
{
    Device device = { .value = 1 };
    VFIOMigrationState state;

    state_init(&state, &device, true, true, true);
    vfio_migration_state_sync(&state);
    vfio_migration_state_event(&state, SETUP);
    vfio_migration_state_event(&state, STOP);
    vfio_migration_state_event(&state, STOPPED);
    vfio_migration_state_event(&state, DONE);
    g_assert_cmpuint(state.writes, ==, 3);
    g_assert_cmpuint(state.writes_skipped, ==, 1);
    g_assert_cmpuint(device.skips, ==, 1);
    state_destroy(&state, &device);
}

static void test_state_names(void)
{
    static const char *const names[] = {
        "stop", "running", "stop-copy", "pre-copy", "resuming", "unknown",
        "error", "unknown", "stop",
    };
    uint32_t i;

    for (i = 0; i < ARRAY_SIZE(names); i++) {
        g_assert_cmpstr(vfio_migration_state_name(i), ==, names[i]);
    }
}

int main(int argc, char **argv)
{
    size_t i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < ARRAY_SIZE(scenarios); i++) {
        g_autofree char *path = g_strdup_printf("/vfio/migration-state/%s",
                                                scenarios[i].name);

        g_test_add_data_func(path, &scenarios[i], test_state_scenario);
    }
    g_test_add_func("/vfio/migration-state/sync/from-any",
                    test_state_sync_from_any);
    g_test_add_func("/vfio/migration-state/sync/again", test_state_sync_again);
    g_test_add_func("/vfio/migration-state/sync/failures",
                    test_state_sync_failures);
    g_test_add_func("/vfio/migration-state/lost-device",
                    test_state_lost_device);
    g_test_add_func("/vfio/migration-state/lose", test_state_lose);
    g_test_add_func("/vfio/migration-state/lose/saved", test_state_lose_saved);
    g_test_add_func("/vfio/migration-state/reserved-bits",
                    test_state_reserved_bits);
    g_test_add_func("/vfio/migration-state/counts", test_state_counts);
    g_test_add_func("/vfio/migration-state/names", test_state_names);
    return g_test_run();
}
