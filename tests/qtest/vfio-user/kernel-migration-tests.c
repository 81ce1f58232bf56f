/*
 * device_state of a kernel device, told by the one that was told: what QEMU
 * reads and writes when the VM stops, migrates and resets, with kernels that
 * change the state by themselves.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "kernel-framework.h"
#include "qapi/qmp/qdict.h"

/* Guest memory that the guest itself wrote, before the migration */
#define GUEST_PAGE 0x00800000
#define GUEST_VALUE 0x5a17e57000c0ffeeull

typedef struct KernelTest KernelTest;

typedef struct Pair {
    const KernelTest *test;
    KernelTestVM *source;
    KernelTestVM *destination;  /* NULL where there is none */
} Pair;

/*
 * One thing that happens, and what follows of it. What the two kernels see has
 * to be exactly this; a step waits until it is there.
 */
typedef struct Step {
    void (*act)(Pair *pair);
    const char *source;         /* the journal goes on with; NULL: nothing */
    const char *destination;    /* Optional: the same at the destination */
    const char *status;         /* Optional: the source's runstate */
    const char *error;          /* Optional: in query-migrate's error-desc */
} Step;

#define MAX_STEPS 6

struct KernelTest {
    const char *path;
    /* Script */
    const char *kernel;         /* Optional: behaviour, see fake-kernel.h */
    const char *device;         /* Optional: properties, on both sides */
    bool gate;                  /* the pre-copy lasts until it is let end */
    bool paused;                /* the source has not started yet */
    /* Expected journal and result, step by step */
    const char *start;          /* Optional: NULL takes "R 1, RESET" */
    Step steps[MAX_STEPS];
};

/* --- what can happen --- */

static void stop(Pair *pair)
{
    kernel_test_qmp(pair->source, "{'execute': 'stop'}");
}

static void cont(Pair *pair)
{
    kernel_test_qmp(pair->source, "{'execute': 'cont'}");
}

static void reset(Pair *pair)
{
    kernel_test_qmp(pair->source, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(pair->source->qts, "RESET");
}

static void start_destination(Pair *pair)
{
    KernelTestVMConfig config = {
        .name = "destination",
        .behaviour = pair->test->kernel,
        .device = pair->test->device,
        .incoming = true,
    };

    kernel_test_vm_free(pair->destination);
    pair->destination = kernel_test_vm_new(&config);
}

/* The migration begins; behind the gate it stays in pre-copy. */
static void migrate(Pair *pair)
{
    g_autofree char *uri = NULL;

    start_destination(pair);
    uri = g_strdup_printf("unix:%s", pair->destination->migration);
    kernel_test_qmp(pair->source, "{'execute': 'migrate', 'arguments':"
                    " {'uri': %s}}", uri);
}

static bool is_final(const char *status)
{
    return !strcmp(status, "completed") || !strcmp(status, "failed") ||
           !strcmp(status, "cancelled");
}

static void wait_result(Pair *pair, const char *expected)
{
    g_autofree char *status = NULL;

    do {
        QDict *event = qtest_qmp_eventwait_ref(pair->source->qts, "MIGRATION");

        g_free(status);
        status = g_strdup(qdict_get_str(qdict_get_qdict(event, "data"),
                                        "status"));
        qobject_unref(event);
    } while (!is_final(status));
    g_assert_cmpstr(status, ==, expected);
}

static void assert_page(KernelTestVM *vm, uint64_t address, uint8_t byte)
{
    size_t size = qemu_real_host_page_size(), i;
    g_autofree uint8_t *bytes = g_malloc(size);

    qtest_memread(vm->qts, address, bytes, size);
    for (i = 0; i < size; i++) {
        if (bytes[i] != byte) {
            kernel_test_fail("%s: page 0x%" PRIx64 " is stale: byte %zu is "
                             "0x%02x, the source's device wrote 0x%02x",
                             vm->name, address, i, bytes[i], byte);
        }
    }
}

/* What the device wrote comes over only if it is in the log of dirty pages. */
static void complete(Pair *pair)
{
    KernelTestVM *vm = pair->destination;

    wait_result(pair, "completed");
    kernel_test_wait_status(vm, "running");
    g_assert_cmphex(qtest_readq(vm->qts, GUEST_PAGE), ==, GUEST_VALUE);
    assert_page(vm, FAKE_KERNEL_PRE_COPY_PAGE, FAKE_KERNEL_PRE_COPY_BYTE);
    assert_page(vm, FAKE_KERNEL_STOP_COPY_PAGE, FAKE_KERNEL_STOP_COPY_BYTE);
}

static void open_gate_and_complete(Pair *pair)
{
    kernel_test_open_gate(pair->source);
    complete(pair);
}

static void migrate_and_complete(Pair *pair)
{
    migrate(pair);
    complete(pair);
}

/* The destination's guest is where the source's was, and does not run. */
static void complete_stopped(Pair *pair)
{
    wait_result(pair, "completed");
    kernel_test_wait_status(pair->destination,
                            pair->test->paused ? "prelaunch" : "paused");
    assert_page(pair->destination, FAKE_KERNEL_STOP_COPY_PAGE,
                FAKE_KERNEL_STOP_COPY_BYTE);
}

static void migrate_stopped(Pair *pair)
{
    migrate(pair);
    complete_stopped(pair);
}

static void stop_and_complete(Pair *pair)
{
    stop(pair);
    complete_stopped(pair);
}

static void cont_destination(Pair *pair)
{
    kernel_test_qmp(pair->destination, "{'execute': 'cont'}");
}

static void migrate_and_fail(Pair *pair)
{
    migrate(pair);
    wait_result(pair, "failed");
    kernel_test_vm_wait_exit(pair->destination, 1);
}

static void cancel(Pair *pair)
{
    kernel_test_qmp(pair->source, "{'execute': 'migrate_cancel'}");
    wait_result(pair, "cancelled");
    kernel_test_vm_wait_exit(pair->destination, 1);
    kernel_test_open_gate(pair->source);
}

static void migrate_is_refused(Pair *pair)
{
    QDict *answer = qtest_qmp(pair->source->qts, "{'execute': 'migrate',"
                              " 'arguments': {'uri': 'exec:true'}}");
    const char *desc;

    g_assert_true(qdict_haskey(answer, "error"));
    desc = qdict_get_str(qdict_get_qdict(answer, "error"), "desc");
    g_assert_nonnull(strstr(desc, KERNEL_TEST_DEVICE));
    qobject_unref(answer);
}

/* --- the tests --- */

#define SAVE_PRE_COPY "SAVE 3/0, SAVE 3/1, SAVE 3/2"
#define SAVE_STOP_COPY "SAVE 2/0, SAVE 2/1"
#define LOAD_PRE_COPY "LOAD 3/0, LOAD 3/1, LOAD 3/2"
#define LOAD_STOP_COPY "LOAD 2/0, LOAD 2/1"

#define SAVED "W 3, " SAVE_PRE_COPY ", W 2, " SAVE_STOP_COPY ", W 0"
#define LOADED "W 4, " LOAD_PRE_COPY ", " LOAD_STOP_COPY ", W 1"
#define UP_TO_THE_GATE "W 3, SAVE 3/0, SAVE 3/1"
#define FROM_THE_GATE "SAVE 3/2, W 2, " SAVE_STOP_COPY ", W 0"

static const KernelTest tests[] = {
    {
        .path = "cold-boot",
        .paused = true,
        .steps = { { cont, .status = "running" } },
    }, {
        .path = "cold-boot/uncached",
        .device = "x-cache-device-state=off",
        .paused = true,
        .steps = { { cont, "R 1, W 1", .status = "running" } },
    }, {
        .path = "stop-cont",
        .steps = { { stop, "W 0", .status = "paused" },
                   { cont, "W 1", .status = "running" } },
    }, {
        .path = "stop-cont/uncached",
        .device = "x-cache-device-state=off",
        .start = "R 1, RESET, R 1, W 1",
        .steps = { { stop, "R 1, W 0", .status = "paused" },
                   { cont, "R 0, W 1", .status = "running" } },
    }, {
        .path = "stop-cont/reserved-bits",
        .kernel = "reserved=0xa5a5a5a0",
        .steps = { { stop, "W 0", .status = "paused" },
                   { cont, "W 1", .status = "running" } },
    }, {
        .path = "precopy",
        .steps = { { migrate_and_complete, SAVED, LOADED,
                     .status = "postmigrate" } },
    }, {
        .path = "precopy/mapped-data",
        .kernel = "data-mappable",
        .steps = { { migrate_and_complete, SAVED, LOADED,
                     .status = "postmigrate" } },
    }, {
        /* the control: a redundant write that is there is found */
        .path = "precopy/uncached",
        .device = "x-cache-device-state=off",
        .start = "R 1, RESET, R 1, W 1",
        .steps = { { migrate_and_complete,
                     "R 1, W 3, " SAVE_PRE_COPY ", R 3, W 2, R 2, W 2, "
                     SAVE_STOP_COPY ", R 2, W 0",
                     "R 1, W 4, " LOAD_PRE_COPY ", " LOAD_STOP_COPY
                     ", R 4, W 1", .status = "postmigrate" } },
    }, {
        /* the step from 0 to 2 is not in the specification */
        .path = "paused",
        .steps = { { stop, "W 0", .status = "paused" },
                   { migrate_stopped, "W 1, W 2, " SAVE_STOP_COPY ", W 0",
                     "W 4, " LOAD_STOP_COPY, .status = "postmigrate" },
                   { cont_destination, NULL, "W 1" } },
    }, {
        .path = "never-started",
        .paused = true,
        .steps = { { migrate_stopped, "W 2, " SAVE_STOP_COPY ", W 0",
                     "W 4, " LOAD_STOP_COPY, .status = "postmigrate" },
                   { cont_destination, NULL, "W 1" } },
    }, {
        /* in the middle of a chunk, which the device then does not have */
        .path = "stop-in-precopy",
        .gate = true,
        .steps = { { migrate, UP_TO_THE_GATE, "W 4, LOAD 3/0, LOAD 3/1" },
                   { stop_and_complete, "W 2, " SAVE_STOP_COPY ", W 0",
                     LOAD_STOP_COPY, .status = "postmigrate" },
                   { cont_destination, NULL, "W 1" } },
    }, {
        .path = "no-migration-region",
        .kernel = "no-migration",
        .start = "RESET",
        .steps = { { migrate_is_refused, .status = "running" } },
    }, {
        .path = "cancel",
        .kernel = "may-cancel",
        .gate = true,
        .steps = { { migrate, UP_TO_THE_GATE, .status = "running" },
                   { cancel, "W 1", .status = "running" },
                   { migrate_and_complete, SAVED, LOADED,
                     .status = "postmigrate" } },
    }, {
        .path = "cancel/strict",
        .gate = true,
        .steps = { { migrate, UP_TO_THE_GATE, .status = "running" },
                   { cancel, "W 1!, R 3, W 2, W 1", .status = "running" },
                   { migrate_and_complete, SAVED, LOADED,
                     .status = "postmigrate" } },
    }, {
        /* the data begins anew, for the destination, too */
        .path = "reset-in-precopy/leads-to-running",
        .gate = true,
        .steps = { { migrate, UP_TO_THE_GATE, "W 4, LOAD 3/0, LOAD 3/1" },
                   { reset, "RESET, R 1, " UP_TO_THE_GATE,
                     "LOAD 3/0, LOAD 3/1", .status = "running" },
                   { open_gate_and_complete, FROM_THE_GATE,
                     "LOAD 3/2, " LOAD_STOP_COPY ", W 1",
                     .status = "postmigrate" } },
    }, {
        .path = "reset-in-precopy/keeps-state",
        .kernel = "reset-keeps-state",
        .gate = true,
        .steps = { { migrate, UP_TO_THE_GATE, "W 4, LOAD 3/0, LOAD 3/1" },
                   { reset, "RESET, R 3", .status = "running" },
                   { open_gate_and_complete, FROM_THE_GATE,
                     "LOAD 3/2, " LOAD_STOP_COPY ", W 1",
                     .status = "postmigrate" } },
    }, {
        .path = "reset-in-stop/leads-to-running",
        .steps = { { stop, "W 0", .status = "paused" },
                   { reset, "RESET, R 1, W 0", .status = "prelaunch" },
                   { cont, "W 1", .status = "running" } },
    }, {
        .path = "reset-in-stop/keeps-state",
        .kernel = "reset-keeps-state",
        .steps = { { stop, "W 0", .status = "paused" },
                   { reset, "RESET, R 0", .status = "prelaunch" },
                   { cont, "W 1", .status = "running" } },
    }, {
        .path = "reset-in-stop/of-the-bus",
        .kernel = "bus-reset-only",
        .start = "R 1, BUS RESET",
        .steps = { { stop, "W 0", .status = "paused" },
                   /* the device's own reset did nothing, which nobody knows */
                   { reset, "R 0, BUS RESET, R 1, W 0",
                     .status = "prelaunch" },
                   { cont, "W 1", .status = "running" },
                   { reset, "BUS RESET", .status = "running" } },
    }, {
        /* the guest must not run with such a device, until it is reset */
        .path = "error/when-told-to-stop",
        .kernel = "error-on=2",
        .steps = { { migrate_and_fail, "W 3, " SAVE_PRE_COPY ", W 2!, R 6",
                     "W 4, " LOAD_PRE_COPY, .status = "io-error",
                     .error = KERNEL_TEST_DEVICE ": device_state: " },
                   { reset, "RESET, R 1, W 0", .status = "prelaunch" },
                   { cont, "W 1", .status = "running" },
                   { migrate_and_complete, SAVED, LOADED,
                     .status = "postmigrate" } },
    }, {
        .path = "error/in-data",
        .kernel = "error-in-data",
        .steps = { { migrate_and_fail,
                     "W 3, " SAVE_PRE_COPY ", W 2, ERROR, W 1!, R 6",
                     "W 4, " LOAD_PRE_COPY, .status = "io-error",
                     .error = KERNEL_TEST_DEVICE ": data_offset: " },
                   { reset, "RESET, R 1, W 0", .status = "prelaunch" },
                   { cont, "W 1", .status = "running" },
                   { migrate_and_complete, SAVED, LOADED,
                     .status = "postmigrate" } },
    }, {
        .path = "error/when-told-to-run",
        .kernel = "error-on=1",
        .steps = { { stop, "W 0", .status = "paused" },
                   { cont, "W 1!, R 6", .status = "io-error" },
                   { reset, "RESET, R 1, W 0", .status = "prelaunch" },
                   { cont, "W 1", .status = "running" } },
    },
};

/* --- the one way in which they run --- */

static void assert_error(KernelTestVM *vm, const char *text)
{
    QDict *answer = qtest_qmp(vm->qts, "{'execute': 'query-migrate'}");
    const char *desc = qdict_get_try_str(qdict_get_qdict(answer, "return"),
                                         "error-desc");

    if (!desc || !strstr(desc, text)) {
        kernel_test_fail("%s: error-desc does not contain \"%s\": %s",
                         vm->name, text, desc ?: "(none)");
    }
    qobject_unref(answer);
}

static void run_step(Pair *pair, const Step *step)
{
    step->act(pair);
    kernel_test_assert_journal(pair->source, step->source ?: "");
    if (step->destination) {
        kernel_test_assert_journal(pair->destination, step->destination);
    }
    if (step->status) {
        kernel_test_wait_status(pair->source, step->status);
    }
    if (step->error) {
        assert_error(pair->source, step->error);
    }
}

static void run(const void *data)
{
    const KernelTest *test = data;
    KernelTestVMConfig config = {
        .name = "source",
        .behaviour = test->kernel,
        .device = test->device,
        .gate = test->gate,
        .paused = test->paused,
        .start = test->start,
    };
    Pair pair = { .test = test };
    int i;

    pair.source = kernel_test_vm_new(&config);
    kernel_test_qmp(pair.source, "{'execute': 'migrate-set-capabilities',"
                    " 'arguments': {'capabilities': ["
                    "{'capability': 'events', 'state': true}]}}");
    qtest_writeq(pair.source->qts, GUEST_PAGE, GUEST_VALUE);
    for (i = 0; i < MAX_STEPS && test->steps[i].act; i++) {
        run_step(&pair, &test->steps[i]);
    }
    kernel_test_vm_free(pair.destination);
    kernel_test_vm_free(pair.source);
}

void kernel_test_add_migration(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-kernel/migration/%s",
                                                tests[i].path);

        kernel_test_add(path, run, &tests[i]);
    }
}
