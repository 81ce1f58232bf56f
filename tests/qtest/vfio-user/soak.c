/*
 * The two ends between which a guest moves for long, its devices' servers, and
 * whether QEMU's memory, fds and threads stay as many.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "soak.h"
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#define RAM_SIZE (16 * 1024 * 1024)
#define SEED 1

/* A device has data for as long as pre-copy lasts, and most of it afterwards */
#define ROUND_SIZE (16 * 1024)
#define PENDING (1ull << 30)
#define CHUNK_SIZE (128 * 1024)
#define DATA_SIZE (1024 * 1024)

/* How often a process is looked at before its fds and threads stay as many */
#define WARM_UP 5

/*
 * What a process may grow between the second and the last quarter of a run, in
 * KiB: what the allocator keeps goes up by steps of less, and 1 KiB that is
 * lost in each of a run of 1000, with the 800 that fail besides, is more. In
 * the first hundred it fills its caches and arenas.
 */
#define MOST_GROWTH 700
#define LOOSE_GROWTH 4096
#define FIRST_NUMBERS 100

/* --- servers --- */

static void server_config(Soak *soak, SoakEnd *end, unsigned device,
                          MockConfig *config)
{
    mock_config_init(config);
    config->behaviour = end->behaviours[device];
    config->refuse_when_stopped = true;
    config->precopy_rounds = G_MAXINT;
    config->precopy_round_size = ROUND_SIZE;
    config->precopy_pending = PENDING;
    config->migration_size = DATA_SIZE;
    config->window_size = config->chunk_size = CHUNK_SIZE;
    config->window_mmap = device == 0;
    config->twin_socket = device == 1;
    config->seed = soak_random(soak, G_MAXINT);
}

static Mock *start_mock(const MockConfig *config, const char *path)
{
    g_autoptr(GError) error = NULL;
    Mock *mock = mock_new(config, &error);

    g_assert_no_error(error);
    mock_start(mock, path, &error);
    g_assert_no_error(error);
    return mock;
}

Mock *soak_server(SoakEnd *end, unsigned device)
{
    return device ? end->second : end->vm->mock;
}

/* The child goes when the test does, however that ends. */
static void end_with_test(gpointer opaque)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/* Nothing but a connection tells that the server listens. */
static void wait_listening(const char *path)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    bool listens = false;

    g_assert_cmpuint(strlen(path), <, sizeof(address.sun_path));
    strcpy(address.sun_path, path);
    while (!listens && g_get_monotonic_time() < deadline) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        listens = !connect(fd, (struct sockaddr *)&address, sizeof(address));
        close(fd);
        g_thread_yield();
    }
    g_assert_true(listens);
}

static pid_t start_process(const char *path, MockBehaviour behaviour)
{
    g_autofree char *program = NULL, *socket = NULL, *option = NULL;
    const char *argv[] = {
        NULL, NULL, NULL, "--refuse-when-stopped", "--twin-socket",
        "--precopy-rounds=1000000", "--precopy-round-size=16384",
        "--precopy-pending=1073741824", "--chunk-size=131072", NULL,
    };
    g_autoptr(GError) error = NULL;
    GPid pid;

    program = g_test_build_filename(G_TEST_BUILT, "vfio-user",
                                    "vfio-user-mock", NULL);
    socket = g_strdup_printf("--socket-path=%s", path);
    option = g_strdup_printf("--behaviour=%s", mock_behaviour_name(behaviour));
    argv[0] = program;
    argv[1] = socket;
    argv[2] = option;
    g_spawn_async(NULL, (char **)argv, NULL, G_SPAWN_DO_NOT_REAP_CHILD,
                  end_with_test, NULL, &pid, &error);
    g_assert_no_error(error);
    wait_listening(path);
    return pid;
}

void soak_start_server(Soak *soak, SoakEnd *end, unsigned device)
{
    MockConfig config;

    end->behaviours[device] = soak_random(soak, MOCK_NUM_BEHAVIOURS);
    if (device && soak->processes) {
        end->process = start_process(end->second_path, end->behaviours[device]);
        return;
    }
    server_config(soak, end, device, &config);
    if (device) {
        mock_free(end->second);
        end->second = start_mock(&config, end->second_path);
    } else {
        mock_free(end->vm->mock);
        end->vm->mock = start_mock(&config, end->vm->socket_path);
    }
}

void soak_kill_server(SoakEnd *end, unsigned device)
{
    if (device && !end->second) {
        if (!end->process) {
            return;
        }
        kill(end->process, SIGKILL);
        g_assert_cmpint(waitpid(end->process, NULL, 0), ==, end->process);
        end->process = 0;
    } else {
        /* the journal stays, for a test that fails */
        mock_stop(soak_server(end, device));
    }
}

/* --- QEMUs --- */

void soak_choose_reconnect(Soak *soak, SoakEnd *end, unsigned device)
{
    end->reconnects[device] = soak_random(soak, 2);
}

static void start_qemu(Soak *soak, SoakEnd *end, bool incoming)
{
    g_autofree char *properties = NULL, *options = NULL;
    MockConfig mock;
    VFIOUserTestVMConfig config = {
        .name = end->name,
        .mock = &mock,
        .machine = "pc",
        .ram_size = RAM_SIZE,
        .incoming = incoming,
    };

    soak_choose_reconnect(soak, end, 0);
    soak_choose_reconnect(soak, end, 1);
    properties = g_strdup_printf("reconnect=%d", end->reconnects[0]);
    options = g_strdup_printf("-device vfio-user-pci,id=dev1,addr=%u.0,"
                              "secure-dma=on,reconnect=%d,socket=%s",
                              VFIO_USER_TEST_DEVICE_SLOT + 1,
                              end->reconnects[1], end->second_path);
    config.device = properties;
    config.options = options;
    if (end->vm) {
        vfio_user_test_vm_restart(end->vm, &config);
    } else {
        end->behaviours[0] = soak_random(soak, MOCK_NUM_BEHAVIOURS);
        server_config(soak, end, 0, &mock);
        soak_start_server(soak, end, 1);
        end->vm = vfio_user_test_vm_new(&config);
    }
    vfio_user_test_set_capability(end->vm, "return-path", true);
}

void soak_start_there(Soak *soak)
{
    start_qemu(soak, soak->there, true);
}

void soak_end_there(Soak *soak)
{
    vfio_user_test_vm_quit(soak->there->vm);
}

/*
 * A server that keeps its state does so with a half of a device's data, also
 * over a reset, and is of no use any more.
 */
void soak_wait_there_exit(Soak *soak)
{
    SoakEnd *there = soak->there;
    unsigned device;

    vfio_user_test_vm_wait_exit(there->vm, 1);
    for (device = 0; device < SOAK_DEVICES; device++) {
        if (there->behaviours[device] == MOCK_BEHAVIOUR_STATE_KEPT) {
            soak_kill_server(there, device);
            soak_start_server(soak, there, device);
        }
    }
}

static void end_init(SoakEnd *end, const char *name)
{
    end->name = name;
    end->dir = g_dir_make_tmp("vfio-user-test-XXXXXX", NULL);
    g_assert_nonnull(end->dir);
    end->second_path = g_build_filename(end->dir, "device", NULL);
}

static void end_destroy(SoakEnd *end)
{
    vfio_user_test_vm_free(end->vm);
    soak_kill_server(end, 1);
    mock_free(end->second);
    unlink(end->second_path);
    g_assert_cmpint(rmdir(end->dir), ==, 0);
    g_free(end->dir);
    g_free(end->second_path);
}

/* --- all of it --- */

static unsigned get_number(const char *variable, unsigned otherwise)
{
    const char *value = getenv(variable);

    return value ? g_ascii_strtoull(value, NULL, 0) : otherwise;
}

static void holdings_init(SoakHoldings *holdings, const char *what)
{
    holdings->what = what;
    holdings->memory = g_array_new(false, false, sizeof(unsigned long));
}

Soak *soak_new(const char *variable, unsigned total, bool processes)
{
    Soak *soak = g_new0(Soak, 1);

    soak->seed = get_number("SOAK_SEED", SEED);
    soak->total = get_number(variable, total);
    soak->processes = processes;
    soak->rand = g_rand_new_with_seed(soak->seed);
    holdings_init(&soak->qemu, "QEMU");
    holdings_init(&soak->test, "servers");
    end_init(&soak->ends[0], "first");
    end_init(&soak->ends[1], "second");
    soak->here = &soak->ends[0];
    soak->there = &soak->ends[1];
    g_test_message("soak: %s=%u SOAK_SEED=%u", variable, soak->total,
                   soak->seed);
    start_qemu(soak, soak->here, false);
    soak_boot(soak);
    return soak;
}

void soak_free(Soak *soak)
{
    end_destroy(&soak->ends[0]);
    end_destroy(&soak->ends[1]);
    g_array_unref(soak->qemu.memory);
    g_array_unref(soak->test.memory);
    g_rand_free(soak->rand);
    g_free(soak);
}

void soak_next(Soak *soak, unsigned number)
{
    const guint32 seed[] = { soak->seed, number };

    soak->number = number;
    g_rand_set_seed_array(soak->rand, seed, G_N_ELEMENTS(seed));
}

unsigned soak_random(Soak *soak, unsigned limit)
{
    return g_rand_int_range(soak->rand, 0, limit);
}

static unsigned long last_memory(const SoakHoldings *holdings)
{
    const GArray *memory = holdings->memory;

    return memory->len ? g_array_index(memory, unsigned long,
                                       memory->len - 1) : 0;
}

void soak_progress(Soak *soak, const char *name, const char *text)
{
    unsigned every = get_number("SOAK_PROGRESS", MAX(soak->total / 4, 1));
    unsigned done = soak->number + 1;

    if (done % MAX(every, 1) && done != soak->total) {
        return;
    }
    g_test_message("soak: %s: %u of %u: %s; QEMU %u fds, %u threads, %lu KiB; "
                   "servers %u fds, %u threads, %lu KiB", name, done,
                   soak->total, text, soak->qemu.fds, soak->qemu.threads,
                   last_memory(&soak->qemu), soak->test.fds,
                   soak->test.threads, last_memory(&soak->test));
}

/* --- what QEMU and the test hold --- */

/* In KiB: neither the guest's memory, which is a file, nor programs */
static unsigned long private_memory(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/status",
                                            pid ?: getpid());
    g_autofree char *status = NULL;
    unsigned long memory = 0;
    const char *line;

    g_assert_true(g_file_get_contents(path, &status, NULL, NULL));
    line = strstr(status, "RssAnon:");
    g_assert_nonnull(line);
    g_assert_cmpint(sscanf(line, "RssAnon: %lu", &memory), ==, 1);
    return memory;
}

/* What goes last goes by itself: RCU's callbacks, threads at their end */
static void note_holdings(SoakHoldings *holdings, SoakEnd *end, pid_t pid)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
    unsigned long memory;
    unsigned fds, threads;

    do {
        vfio_user_test_settle(end->vm);
        fds = vfio_user_test_count_fds(pid);
        threads = vfio_user_test_count_threads(pid);
    } while (holdings->known &&
             (fds != holdings->fds || threads != holdings->threads) &&
             g_get_monotonic_time() < deadline);
    if (holdings->known && (fds != holdings->fds ||
                            threads != holdings->threads)) {
        vfio_user_test_fail("%s: %u fds and %u threads, before %u and %u",
                            holdings->what, fds, threads, holdings->fds,
                            holdings->threads);
    }
    holdings->fds = fds;
    holdings->threads = threads;
    memory = private_memory(pid);
    g_array_append_val(holdings->memory, memory);
    holdings->known = holdings->memory->len >= WARM_UP;
}

void soak_note(Soak *soak, SoakEnd *guest)
{
    note_holdings(&soak->qemu, guest, guest->vm->pid);
    note_holdings(&soak->test, guest, 0);
    /* events that nobody waits for would be kept for ever */
    g_assert_null(qtest_qmp_event_ref(guest->vm->qts, "NONE"));
}

static int compare(gconstpointer a, gconstpointer b)
{
    unsigned long one = *(const unsigned long *)a;
    unsigned long other = *(const unsigned long *)b;

    return one < other ? -1 : one > other;
}

/* The middle of those from @from on, before @to; not led astray by a peak */
static unsigned long median(const GArray *values, unsigned from, unsigned to)
{
    g_autoptr(GArray) part = g_array_new(false, false, sizeof(unsigned long));

    g_array_append_vals(part, &g_array_index(values, unsigned long, from),
                        to - from);
    g_array_sort(part, compare);
    return g_array_index(part, unsigned long, part->len / 2);
}

void soak_assert_flat(const SoakHoldings *holdings, bool loose)
{
    unsigned number = holdings->memory->len;
    unsigned long early, late, most;

    if (number < 8) {
        return;
    }
    early = median(holdings->memory, number / 4, number / 2);
    late = median(holdings->memory, number - number / 4, number);
    g_test_message("soak: %s: %lu KiB of memory in the second quarter, %lu KiB "
                   "in the last", holdings->what, early, late);
#ifndef QEMU_SANITIZE_ADDRESS
    most = loose || number / 4 < FIRST_NUMBERS ? LOOSE_GROWTH : MOST_GROWTH;
    g_assert_cmpuint(late, <=, early + most);
#else
    /* it keeps for a while what was freed, and looks for leaks itself */
#endif
}
