/*
 * Servers that are killed at random moments under load: QEMU goes on, answers,
 * says that the device is lost, and gets another one. Its neighbour does not
 * notice.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "soak.h"

#define SHORT_RUN 10
#define VICTIM 1

#define SLOW (4 * 1024 * 1024)
#define DMA_ADDRESS 0x00800000
#define DMA_LENGTH (256 * 1024)

/* When the server's end is to come, in microseconds after what is said there */
#define WHILE_PLUGGED 15000
#define WHILE_USED 30000
#define WHILE_SAVED 400000
#define WHILE_SWITCHED 30000
#define WHILE_LOADED 150000

typedef struct KillRun {
    Soak *soak;
    unsigned refused;           /* device_add has failed */
    unsigned failed;            /* migrations */
    unsigned completed;
} KillRun;

/* --- the one who kills --- */

/*
 * A thread with a timer, since the moment is to be anywhere, also between two
 * instructions of QEMU's or the server's, where no number of operations leads.
 * Nothing is expected of when it comes.
 */
typedef struct Killer {
    SoakEnd *end;
    unsigned delay;
    int done;                   /* accessed atomically */
    GThread *thread;
} Killer;

static void *kill_later(void *opaque)
{
    Killer *killer = opaque;

    g_usleep(killer->delay);
    soak_kill_server(killer->end, VICTIM);
    g_atomic_int_set(&killer->done, true);
    return NULL;
}

static void arm(Soak *soak, Killer *killer, SoakEnd *end, unsigned most)
{
    *killer = (Killer) { .end = end, .delay = soak_random(soak, most) };
    killer->thread = g_thread_new("killer", kill_later, killer);
}

static bool is_dead(Killer *killer)
{
    return g_atomic_int_get(&killer->done);
}

/* --- load --- */

/* Reads, posted writes and DMA, with whatever result */
static void use_victim(SoakEnd *end)
{
    QTestState *qts = end->vm->qts;

    qtest_readl(qts, soak_register(VICTIM, MOCK_BAR0_ID));
    qtest_writeq(qts, soak_register(VICTIM, MOCK_BAR0_SCRATCH), 0x5041);
    qtest_writeq(qts, soak_register(VICTIM, MOCK_BAR0_DMA_ADDR), DMA_ADDRESS);
    qtest_writel(qts, soak_register(VICTIM, MOCK_BAR0_DMA_LENGTH), DMA_LENGTH);
    qtest_writel(qts, soak_register(VICTIM, MOCK_BAR0_DMA_DOORBELL),
                 MOCK_DMA_FILL);
    qtest_readq(qts, soak_register(VICTIM, MOCK_BAR0_SCRATCH));
}

static void use_until_dead(Soak *soak, Killer *killer)
{
    while (!is_dead(killer)) {
        use_victim(soak->here);
    }
    g_thread_join(killer->thread);
    use_victim(soak->here);
}

/* The guest may be stopped meanwhile: it does nothing. */
static void ask_until_dead(Soak *soak, Killer *killer)
{
    while (!is_dead(killer)) {
        vfio_user_test_settle(soak->here->vm);
    }
    g_thread_join(killer->thread);
}

/* --- migration --- */

static void migrate(Soak *soak, int64_t downtime)
{
    VFIOUserTestVM *here = soak->here->vm;
    g_autofree char *uri = NULL;

    soak_start_there(soak);
    mock_journal_clear(soak_server(soak->here, 0));
    mock_journal_clear(soak_server(soak->there, 0));
    uri = g_strdup_printf("unix:%s", soak->there->vm->migration_path);
    vfio_user_test_set_speed(here, SLOW, downtime);
    vfio_user_test_qmp(here, "{'execute': 'migrate', 'arguments':"
                       " {'uri': %s}}", uri);
}

/* Wait until it is over: has it completed? */
static bool has_completed(Soak *soak)
{
    g_autofree char *status = NULL;

    do {
        QDict *answer = qtest_qmp(soak->here->vm->qts,
                                  "{'execute': 'query-migrate'}");

        g_free(status);
        status = g_strdup(qdict_get_str(qdict_get_qdict(answer, "return"),
                                        "status"));
        qobject_unref(answer);
    } while (!g_str_equal(status, "completed") &&
             !g_str_equal(status, "failed"));
    return g_str_equal(status, "completed");
}

static void assert_lost(SoakEnd *end)
{
    soak_wait_event(end, VICTIM, "VFIO_USER_DISCONNECTED");
}

/*
 * Either the guest runs on where it was, and the other end has given up, or it
 * runs there; then it goes on here for all that.
 */
static void end_migration(KillRun *run)
{
    Soak *soak = run->soak;

    if (has_completed(soak)) {
        run->completed++;
        vfio_user_test_assert_status(soak->there->vm, "running");
        soak_assert_guest(soak, soak->there);
        if (!soak->there->process) {
            assert_lost(soak->there);
        }
        vfio_user_test_assert_status(soak->here->vm, "postmigrate");
        soak_end_there(soak);
        vfio_user_test_qmp(soak->here->vm, "{'execute': 'cont'}");
    } else {
        run->failed++;
        soak_wait_there_exit(soak);
    }
    vfio_user_test_settle(soak->here->vm);
}

static void wait_told(Mock *mock, uint32_t state)
{
    const MockPattern told = MOCK_PATTERN_STATE_WRITE(state);

    g_assert_cmpint(mock_journal_wait(mock, 0, &told, 1,
                                      VFIO_USER_TEST_DEADLINE_MS), >=, 0);
}

/* --- moments --- */

static void kill_while_used(KillRun *run)
{
    Killer killer;

    arm(run->soak, &killer, run->soak->here, WHILE_USED);
    use_until_dead(run->soak, &killer);
}

static void kill_while_plugged(KillRun *run)
{
    Soak *soak = run->soak;
    Killer killer;
    QDict *answer;

    soak_unplug(soak->here, VICTIM);
    arm(soak, &killer, soak->here, WHILE_PLUGGED);
    answer = soak_plug(soak, VICTIM);
    if (qdict_haskey(answer, "error")) {
        g_thread_join(killer.thread);
        run->refused++;
        soak_start_server(soak, soak->here, VICTIM);
        qobject_unref(answer);
        answer = soak_plug(soak, VICTIM);
        g_assert_true(qdict_haskey(answer, "return"));
        arm(soak, &killer, soak->here, WHILE_USED);
    }
    qobject_unref(answer);
    soak_enable(soak->here, VICTIM);
    use_until_dead(soak, &killer);
}

static void kill_in_precopy(KillRun *run)
{
    Killer killer;

    migrate(run->soak, 1);
    arm(run->soak, &killer, run->soak->here, WHILE_SAVED);
    use_until_dead(run->soak, &killer);
    end_migration(run);
}

static void kill_while_migrated(KillRun *run)
{
    Killer killer;

    migrate(run->soak, 2000000);
    arm(run->soak, &killer, run->soak->here, WHILE_SAVED);
    ask_until_dead(run->soak, &killer);
    end_migration(run);
}

/* Its neighbour is told at the same time. */
static void kill_in_stop_copy(KillRun *run)
{
    Killer killer;

    migrate(run->soak, 2000000);
    wait_told(soak_server(run->soak->here, 0), MOCK_STATE_STOP_COPY);
    arm(run->soak, &killer, run->soak->here, WHILE_SWITCHED);
    ask_until_dead(run->soak, &killer);
    end_migration(run);
}

/* The source waits to hear what has become of it. */
static void kill_while_loaded(KillRun *run)
{
    Killer killer;

    migrate(run->soak, 2000000);
    wait_told(soak_server(run->soak->there, 0), MOCK_STATE_RESUMING);
    arm(run->soak, &killer, run->soak->there, WHILE_LOADED);
    ask_until_dead(run->soak, &killer);
    end_migration(run);
    if (!run->soak->there->process) {
        soak_start_server(run->soak, run->soak->there, VICTIM);
    }
}

static const struct {
    const char *name;
    void (*kill)(KillRun *run);
} moments[] = {
    { "while it is used", kill_while_used },
    { "while it is plugged in", kill_while_plugged },
    { "in pre-copy", kill_in_precopy },
    { "while its guest migrates", kill_while_migrated },
    { "in stop-and-copy", kill_in_stop_copy },
    { "while it loads", kill_while_loaded },
};

/* --- from the first to the last --- */

static void kill_once(KillRun *run)
{
    Soak *soak = run->soak;
    unsigned number = soak->number < G_N_ELEMENTS(moments) ? soak->number :
                      soak_random(soak, G_N_ELEMENTS(moments));
    uint64_t id = soak_register(VICTIM, MOCK_BAR0_ID);

    mock_journal_clear(soak_server(soak->here, 0));
    soak_live(soak);
    g_test_message("number %u: %s", soak->number, moments[number].name);
    moments[number].kill(run);
    vfio_user_test_assert_status(soak->here->vm, "running");
    if (!soak->here->process) {
        assert_lost(soak->here);
        g_assert_false(soak_enable(soak->here, VICTIM));
        soak_replace(soak, VICTIM);
    }
    g_assert_cmphex(qtest_readl(soak->here->vm->qts, id), ==,
                    MOCK_BAR0_ID_VALUE);
    soak_assert_guest(soak, soak->here);
}

static void test_soak_kill(const void *data)
{
    KillRun run = { .soak = soak_new("SOAK_KILLS", SHORT_RUN, true) };
    Soak *soak = run.soak;
    unsigned i;

    for (i = 0; i < soak->total; i++) {
        g_autofree char *text = NULL;

        soak_next(soak, i);
        vfio_user_test_prolong();
        kill_once(&run);
        soak_note(soak, soak->here);
        text = g_strdup_printf("%u times no device, %u migrations failed, %u "
                               "completed, %u devices taken again",
                               run.refused, run.failed, run.completed,
                               soak->returned);
        soak_progress(soak, "kill", text);
    }
    /* each device that is plugged makes new views of memory, and holes in it */
    soak_assert_flat(&soak->qemu, true);
    soak_assert_flat(&soak->test, false);
    soak_free(soak);
}

void vfio_user_test_add_soak_kill(void)
{
    vfio_user_test_add("/vfio-user/soak/kill", test_soak_kill, NULL);
}
