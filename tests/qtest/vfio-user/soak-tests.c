/*
 * A guest is migrated to and fro, or from one place again and again, while at
 * random migrations are cancelled, guests stop and reboot and servers die: no
 * byte of a device's is lost or doubled, and QEMU stays as small as it was.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "soak.h"

#define SHORT_RUN 13

/* Bytes per second while pre-copy is to last, and milliseconds */
#define SLOW (4 * 1024 * 1024)
#define NEXT_TO_NOTHING 4096
#define NEVER 1
#define AT_ONCE 2000000

typedef enum SoakKind {
    SOAK_CANCEL, SOAK_RESET, SOAK_STOP, SOAK_KILL, SOAK_KINDS,
} SoakKind;

typedef struct SoakRun {
    Soak *soak;
    bool stays;                 /* the guest goes on where it was */
    unsigned migrations;        /* begun, successful or not */
    unsigned counts[SOAK_KINDS];
} SoakRun;

/* --- steps of a migration --- */

static void command(VFIOUserTestVM *vm, const char *name)
{
    vfio_user_test_qmp(vm, "{'execute': %s}", name);
    vfio_user_test_settle(vm);
}

static void begin_journals(SoakEnd *end)
{
    unsigned device;

    for (device = 0; device < SOAK_DEVICES; device++) {
        Mock *mock = soak_server(end, device);

        mock_clear_rules(mock);
        mock_journal_clear(mock);
        end->states[device] = mock_device_state(mock);
    }
}

static void begin_there(SoakRun *run)
{
    Soak *soak = run->soak;

    soak_start_there(soak);
    begin_journals(soak->here);
    begin_journals(soak->there);
    soak->interrupted = false;
}

static void migrate(SoakRun *run)
{
    Soak *soak = run->soak;
    g_autofree char *uri = g_strdup_printf("unix:%s",
                                           soak->there->vm->migration_path);

    run->migrations++;
    vfio_user_test_set_speed(soak->here->vm, SLOW, NEVER);
    vfio_user_test_qmp(soak->here->vm, "{'execute': 'migrate',"
                       " 'arguments': {'uri': %s}}", uri);
}

/*
 * A migration that stays in pre-copy. QEMU comes to a device's data when it has
 * sent all memory: what is written from now on, only the dirty log can tell.
 */
static void begin(SoakRun *run)
{
    const MockPattern size = MOCK_PATTERN_REGION(MOCK_REGION_READ,
                                                 MOCK_REGION_MIGRATION,
                                                 MOCK_MIG_DATA_SIZE);
    Soak *soak = run->soak;
    unsigned device = soak_random(soak, SOAK_DEVICES);

    begin_there(run);
    migrate(run);
    g_assert_cmpint(mock_journal_wait(soak_server(soak->here, device), 0,
                                      &size, 1 + soak_random(soak, 4),
                                      VFIO_USER_TEST_DEADLINE_MS), >=, 0);
    soak_live(soak);
}

static void assert_state(SoakEnd *end, uint32_t state)
{
    unsigned device;

    for (device = 0; device < SOAK_DEVICES; device++) {
        g_assert_true(mock_wait_device_state(soak_server(end, device), state,
                                             VFIO_USER_TEST_DEADLINE_MS));
    }
}

/* Each change of device_state was one, and nothing else was refused. */
static void assert_told_once(SoakEnd *end, bool may_refuse)
{
    const MockPattern refusal = {
        .direction = MOCK_S2C, .type = MOCK_TYPE_REPLY,
        .match = MOCK_MATCH_ERROR, .error = EINVAL,
    };
    unsigned device;

    for (device = 0; device < SOAK_DEVICES; device++) {
        Mock *mock = soak_server(end, device);

        g_assert_cmpuint(vfio_user_test_server_redundant_writes(
                             mock, 0, end->states[device]), ==, 0);
        if (!may_refuse) {
            g_assert_cmpuint(mock_journal_count(mock, 0, &refusal), ==, 0);
        }
    }
}

/*
 * What left is what came, over all of the migration. What the servers save is
 * counted from the last beginning of their data.
 */
static void assert_moved(Soak *soak, uint64_t transferred)
{
    unsigned device;

    for (device = 0; device < SOAK_DEVICES; device++) {
        Mock *from = soak_server(soak->here, device);
        Mock *to = soak_server(soak->there, device);
        g_autofree char *why = NULL;
        uint64_t bytes;

        if (!soak->interrupted) {
            vfio_user_test_assert_moved(from, to);
        } else if (!mock_loaded_is_good(to, &why)) {
            vfio_user_test_fail("dev%u's data has not come over: %s", device,
                                why);
        }
        g_free(mock_loaded_sum(to, &bytes, NULL));
        transferred -= bytes;
    }
    g_assert_cmpuint(transferred, ==, 0);
}

/* Let it complete. @stopped: the guest is, and goes on there. */
static void complete(SoakRun *run, bool stopped)
{
    Soak *soak = run->soak;
    VFIOUserTestVM *here = soak->here->vm, *there = soak->there->vm;
    uint64_t transferred;
    QDict *info;

    vfio_user_test_set_speed(here, 0, AT_ONCE);
    info = vfio_user_test_wait_migration(here, "completed");
    transferred = qdict_get_int(qdict_get_qdict(info, "vfio"), "transferred");
    qobject_unref(info);
    qobject_unref(vfio_user_test_wait_migration(there, "completed"));
    if (stopped) {
        vfio_user_test_assert_status(there, "paused");
        assert_state(soak->there, MOCK_STATE_RESUMING);
        command(there, "cont");
    }
    vfio_user_test_assert_status(there, "running");
    assert_state(soak->there, MOCK_STATE_RUNNING);
    vfio_user_test_assert_status(here, "postmigrate");
    assert_state(soak->here, MOCK_STATE_STOP);
    assert_moved(soak, transferred);
    soak_assert_guest(soak, soak->there);
    assert_told_once(soak->here, false);
    assert_told_once(soak->there, false);
}

/* It has ended as @status: the guest runs on, and the other end is gone. */
static void run_on(SoakRun *run, const char *status)
{
    Soak *soak = run->soak;

    qobject_unref(vfio_user_test_wait_migration(soak->here->vm, status));
    vfio_user_test_settle(soak->here->vm);
    vfio_user_test_assert_status(soak->here->vm, "running");
    soak_wait_there_exit(soak);
}

/* --- what may happen: true if the guest has moved --- */

static bool do_nothing(SoakRun *run)
{
    begin(run);
    complete(run, false);
    return true;
}

static bool do_cancel(SoakRun *run)
{
    Soak *soak = run->soak;

    run->counts[SOAK_CANCEL]++;
    begin(run);
    command(soak->here->vm, "migrate_cancel");
    run_on(run, "cancelled");
    assert_state(soak->here, MOCK_STATE_RUNNING);
    /* not all servers can be told to run at once */
    assert_told_once(soak->here, true);
    soak_assert_guest(soak, soak->here);
    return false;
}

static bool do_reset(SoakRun *run)
{
    run->counts[SOAK_RESET]++;
    begin(run);
    soak_reset(run->soak);
    soak_boot(run->soak);
    run->soak->interrupted = true;
    soak_live(run->soak);
    complete(run, false);
    return true;
}

static void receive(VFIOUserTestVM *vm)
{
    QDict *answer = qtest_qmp_receive(vm->qts);

    g_assert_true(qdict_haskey(answer, "return"));
    qobject_unref(answer);
}

/*
 * A stopped device has not much to give, and pre-copy would end: both commands
 * are there before QEMU looks, and its bandwidth is next to nothing.
 */
static bool do_stop_and_cont(SoakRun *run)
{
    VFIOUserTestVM *here = run->soak->here->vm;

    run->counts[SOAK_STOP]++;
    begin(run);
    vfio_user_test_set_speed(here, NEXT_TO_NOTHING, NEVER);
    qtest_qmp_send(here->qts, "{'execute': 'stop'}");
    qtest_qmp_send(here->qts, "{'execute': 'cont'}");
    receive(here);
    receive(here);
    run->soak->interrupted = true;
    soak_live(run->soak);
    complete(run, false);
    return true;
}

static bool do_stop(SoakRun *run)
{
    run->counts[SOAK_STOP]++;
    begin(run);
    command(run->soak->here->vm, "stop");
    complete(run, true);
    return true;
}

static bool do_move_paused(SoakRun *run)
{
    run->counts[SOAK_STOP]++;
    begin_there(run);
    command(run->soak->here->vm, "stop");
    migrate(run);
    complete(run, true);
    return true;
}

/* --- servers that die --- */

static void assert_lost(SoakRun *run, unsigned device)
{
    SoakEnd *here = run->soak->here;

    soak_wait_event(here, device, "VFIO_USER_DISCONNECTED");
    g_assert_cmphex(qtest_readl(here->vm->qts, soak_register(device,
                                                             MOCK_BAR0_ID)),
                    ==, UINT32_MAX);
}

static void recover(SoakRun *run, unsigned device)
{
    Soak *soak = run->soak;

    soak_replace(soak, device);
    vfio_user_test_assert_status(soak->here->vm, "running");
    soak_assert_guest(soak, soak->here);
}

static bool do_kill(SoakRun *run)
{
    unsigned device = soak_random(run->soak, SOAK_DEVICES);

    run->counts[SOAK_KILL]++;
    soak_kill_server(run->soak->here, device);
    assert_lost(run, device);
    vfio_user_test_qmp_error(run->soak->here->vm, "closed the",
                             "{'execute': 'migrate', 'arguments':"
                             " {'uri': 'unix:/nonexistent/migration'}}");
    recover(run, device);
    return false;
}

static bool do_kill_in_precopy(SoakRun *run)
{
    unsigned device = soak_random(run->soak, SOAK_DEVICES);

    run->counts[SOAK_KILL]++;
    begin(run);
    soak_kill_server(run->soak->here, device);
    run_on(run, "failed");
    assert_lost(run, device);
    recover(run, device);
    return false;
}

static bool do_kill_in_stop_copy(SoakRun *run)
{
    static const MockRule hold = {
        .where = MOCK_PATTERN_STATE_WRITE(MOCK_STATE_STOP_COPY), .nth = 1,
        .action = MOCK_ACTION_HOLD,
    };
    Soak *soak = run->soak;
    unsigned device = soak_random(soak, SOAK_DEVICES);
    Mock *mock = soak_server(soak->here, device);

    run->counts[SOAK_KILL]++;
    begin(run);
    mock_add_rules(mock, &hold, 1);
    vfio_user_test_set_speed(soak->here->vm, 0, AT_ONCE);
    g_assert_true(mock_wait_held(mock, 1, VFIO_USER_TEST_DEADLINE_MS));
    soak_kill_server(soak->here, device);
    run_on(run, "failed");
    assert_lost(run, device);
    recover(run, device);
    return false;
}

/* It may be that the source can send no more, when nothing is loaded. */
static bool do_kill_there(SoakRun *run)
{
    Soak *soak = run->soak;
    unsigned device = soak_random(soak, SOAK_DEVICES);
    MockRule hold = {
        .where = MOCK_PATTERN_REGION(MOCK_REGION_WRITE, MOCK_REGION_MIGRATION,
                                     MOCK_MIG_DATA_SIZE),
        .nth = 1 + soak_random(soak, 3),
        .action = MOCK_ACTION_HOLD,
    };
    Mock *mock;

    run->counts[SOAK_KILL]++;
    begin_there(run);
    mock = soak_server(soak->there, device);
    mock_add_rules(mock, &hold, 1);
    migrate(run);
    g_assert_true(mock_wait_held(mock, 1, VFIO_USER_TEST_DEADLINE_MS));
    soak_kill_server(soak->there, device);
    run_on(run, "failed");
    soak_start_server(soak, soak->there, device);
    assert_state(soak->here, MOCK_STATE_RUNNING);
    assert_told_once(soak->here, true);
    soak_assert_guest(soak, soak->here);
    return false;
}

/* Each has its turn once in the beginning, then it is a matter of luck. */
static const struct {
    const char *name;
    bool (*migrate)(SoakRun *run);
} events[] = {
    { "nothing", do_nothing },
    { "reboot in pre-copy", do_reset },
    { "stop and cont in pre-copy", do_stop_and_cont },
    { "stop in pre-copy", do_stop },
    { "paused guest", do_move_paused },
    { "cancel in pre-copy", do_cancel },
    { "server killed before", do_kill },
    { "server killed in pre-copy", do_kill_in_precopy },
    { "server killed in stop-and-copy", do_kill_in_stop_copy },
    { "server killed while it loads", do_kill_there },
};

/* --- between migrations --- */

static void live_between(SoakRun *run)
{
    Soak *soak = run->soak;
    unsigned what = soak_random(soak, 8), device;

    if (what == 0 || what == 1) {
        run->counts[SOAK_STOP]++;
        command(soak->here->vm, "stop");
    }
    if (what == 1 || what == 2) {
        run->counts[SOAK_RESET]++;
        soak_reset(soak);
    }
    if (what == 0 || what == 1) {
        command(soak->here->vm, "cont");
    }
    if (what == 1 || what == 2) {
        soak_boot(soak);
    }
    for (device = 0; device < SOAK_DEVICES; device++) {
        if (soak->there->vm && !soak_random(soak, 8)) {
            soak_start_server(soak, soak->there, device);
        }
    }
    soak_live(soak);
}

/* --- from the first to the last --- */

static void move_once(SoakRun *run)
{
    Soak *soak = run->soak;
    bool moved = false, first = true;

    while (!moved) {
        unsigned number = first && soak->number < G_N_ELEMENTS(events) ?
                          soak->number :
                          soak_random(soak, G_N_ELEMENTS(events));

        live_between(run);
        g_test_message("number %u: %s", soak->number, events[number].name);
        moved = events[number].migrate(run);
        first = false;
    }
}

static void say_progress(SoakRun *run)
{
    g_autofree char *text = g_strdup_printf(
        "%u begun, %u cancelled, %u reboots, %u stops, %u servers killed, %u "
        "devices taken again", run->migrations, run->counts[SOAK_CANCEL],
        run->counts[SOAK_RESET], run->counts[SOAK_STOP],
        run->counts[SOAK_KILL], run->soak->returned);

    soak_progress(run->soak, run->stays ? "stay" : "to-and-fro", text);
}

static void test_soak(const void *data)
{
    SoakRun run = {
        .soak = soak_new("SOAK_MIGRATIONS", SHORT_RUN, false),
        .stays = GPOINTER_TO_UINT(data),
    };
    Soak *soak = run.soak;
    unsigned i;

    for (i = 0; i < soak->total; i++) {
        SoakEnd *from = soak->here;

        soak_next(soak, i);
        vfio_user_test_prolong();
        move_once(&run);
        if (run.stays) {
            /* the guest of before goes on, as if it had not been moved */
            command(from->vm, "cont");
            soak_assert_guest(soak, from);
            soak_note(soak, from);
            soak_end_there(soak);
        } else {
            soak_note(soak, soak->there);
            vfio_user_test_vm_quit(from->vm);
            soak->here = soak->there;
            soak->there = from;
        }
        say_progress(&run);
    }
    soak_assert_flat(&soak->qemu, false);
    soak_assert_flat(&soak->test, false);
    soak_free(soak);
}

void vfio_user_test_add_soak(void)
{
    vfio_user_test_add("/vfio-user/soak/to-and-fro", test_soak, NULL);
    vfio_user_test_add("/vfio-user/soak/stay", test_soak,
                       GUINT_TO_POINTER(true));
}
