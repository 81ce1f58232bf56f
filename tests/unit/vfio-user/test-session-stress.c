/*
 * Stress test of the vfio-user session, with the code around it: vCPUs at
 * registers, device data in large pieces both ways and DMA by message, all at
 * once, until all is done or the server dies.  scripts/tsan runs it, too.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/main-loop.h"
#include "qemu/module.h"
#include "qemu/units.h"
#include "hw/vfio/migration-device.h"
#include "hw/vfio-user/incoming.h"
#include "../../../hw/vfio-user/device-internal.h"
#include "stress-server.h"

#define ROUNDS          250         /* of a vCPU, four accesses each */
#define TRANSFERS       6           /* of all the data, one way */
#define MAX_WRITE       (32 * KiB)

typedef struct Run {
    Stress stress;
    Peer peer;
    VFIOUserDevice user;
    VFIODevice device;
    VFIOUserRegion regions[2];
    VFIOUserDMATable *table;
    int left;                       /* atomic: threads at work */
    int deaths;
} Run;

typedef struct Worker {
    Run *run;
    uint32_t number;
    QemuThread thread;
} Worker;

/* There is no migration to end. */
void vfio_migration_abort(int ret, const Error *reason)
{
    g_assert_not_reached();
}

/*
 * Threads.  Those of a server that is going to die go on until it does.
 */

static bool goes_on(Run *run, int round, int rounds)
{
    return run->stress.how->end == STRESS_ENDS_WELL ?
           round < rounds : !vfio_user_session_is_dead(run->peer.session);
}

static void write_register(Run *run, off_t off, uint64_t value, bool post)
{
    g_assert_cmpint(vfio_user_device_io_ops.region_write(
                        &run->device, off, sizeof(value), &value, post),
                    ==, sizeof(value));
}

static void expect_register(Run *run, off_t off, uint64_t value)
{
    uint64_t got = 0;

    g_assert_cmpint(vfio_user_device_io_ops.region_read(
                        &run->device, off, sizeof(got), &got),
                    ==, sizeof(got));
    if (got != value) {
        g_assert_cmpint(run->stress.how->end, !=, STRESS_ENDS_WELL);
        g_assert_true(vfio_user_session_is_dead(run->peer.session));
        g_assert_cmphex(got, ==, UINT64_MAX);
    }
}

static void page_comes(Run *run)
{
    g_assert_true(vfio_user_dma_table_add(run->table, STRESS_COMES,
                                          STRESS_PAGE,
                                          VFIO_USER_DMA_MAP_READ |
                                          VFIO_USER_DMA_MAP_WRITE,
                                          &guest_ram_regions[1], 0));
}

/* Nobody reaches it any more, so it may be used for something else. */
static void page_goes(Run *run)
{
    vfio_user_dma_table_remove(run->table, STRESS_COMES, STRESS_PAGE);
    for (int i = 0; i < STRESS_PAGE; i++) {
        guest_ram[1][i] = 0xcc;
    }
    for (int i = 0; i < STRESS_PAGE; i++) {
        g_assert_cmphex(guest_ram[1][i], ==, 0xcc);
    }
}

static void access_registers(Run *run, uint32_t number)
{
    off_t off = number * STRESS_BLOCK;

    for (int i = 0; goes_on(run, i, ROUNDS); i++) {
        uint64_t value = (uint64_t)(number + 1) << 32 | i;

        if (!number) {
            page_comes(run);
        }
        write_register(run, off, value, false);
        write_register(run, off + STRESS_REGISTER, ~value, true);
        expect_register(run, off, value);
        expect_register(run, off + STRESS_REGISTER, ~value);
        if (!number) {
            page_goes(run);
        }
    }
}

static int check_data(void *opaque, const void *data, size_t size)
{
    size_t *at = opaque;

    g_assert_cmpmem(data, size, stress_data + *at, size);
    *at += size;
    return 0;
}

static int give_data(void *opaque, void *data, size_t size)
{
    size_t *at = opaque;

    memcpy(data, stress_data + *at, size);
    *at += size;
    return 0;
}

static void transfer(Run *run, bool write)
{
    const off_t off = 1ULL << VFIO_USER_REGION_SHIFT;

    for (int i = 0; goes_on(run, i, TRANSFERS); i++) {
        size_t at = 0;
        int ret = write ?
            vfio_user_device_io_ops.data_write(&run->device, off,
                                               STRESS_DATA_SIZE, give_data,
                                               &at) :
            vfio_user_device_io_ops.data_read(&run->device, off,
                                              STRESS_DATA_SIZE, check_data,
                                              &at);

        if (ret) {
            g_assert_cmpint(run->stress.how->end, !=, STRESS_ENDS_WELL);
            g_assert_true(vfio_user_session_is_dead(run->peer.session));
            g_assert_true(ret == -ENOTCONN || ret == -EPROTO);
        } else {
            g_assert_cmpuint(at, ==, STRESS_DATA_SIZE);
        }
    }
}

static void *worker_thread(void *opaque)
{
    Worker *worker = opaque;
    Run *run = worker->run;

    if (worker->number < STRESS_VCPUS) {
        access_registers(run, worker->number);
    } else {
        transfer(run, worker->number == STRESS_WRITER);
    }
    if (qatomic_fetch_dec(&run->left) == 1 &&
        run->stress.how->end == STRESS_ENDS_WELL) {
        vfio_user_device_io_ops.device_reset(&run->device);
    }
    return NULL;
}

/*
 * The main thread
 */

static unsigned int count_threads(void)
{
    GDir *dir = g_dir_open("/proc/self/task", 0, NULL);
    unsigned int count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        count++;
    }
    g_dir_close(dir);
    return count;
}

/* The kernel may list a thread for a moment after it was joined. */
static void expect_threads(unsigned int count)
{
    int64_t deadline_us = g_get_monotonic_time() + PATIENCE_MS * 1000LL;

    while (count_threads() != count) {
        g_assert_cmpint(g_get_monotonic_time(), <, deadline_us);
        g_usleep(1000);
    }
}

static void on_death(void *opaque, const Error *reason)
{
    Run *run = opaque;

    run->deaths++;
    qatomic_set(&run->stress.done, true);
}

static int on_request(void *opaque, const VFIOUserHeaderDesc *header,
                      VFIOUserMsg *msg, GByteArray *reply)
{
    Run *run = opaque;

    return vfio_user_incoming_request(run->table, header, msg, reply);
}

static void run_open(Run *run)
{
    run->peer = (Peer) {
        .script = script_stress,
        .data = &run->stress,
        .serial = run->stress.how->serial,
        .dead = on_death,
        .request = on_request,
        .opaque = run,
    };
    run->regions[0].desc = (VFIOUserRegionDesc) {
        .index = 0, .size = STRESS_VCPUS * STRESS_BLOCK,
    };
    run->regions[1] = (VFIOUserRegion) {
        .desc = { .index = 1, .size = STRESS_DATA_SIZE }, .migration = true,
    };
    run->user = (VFIOUserDevice) {
        .max_write = MAX_WRITE,
        .no_posted_writes = run->stress.how->serial,
        .num_regions = ARRAY_SIZE(run->regions),
        .regions = run->regions,
    };
    run->device.name = (char *)"stress";
    run->device.io_opaque = &run->user;
    run->table = vfio_user_dma_table_new();
    vfio_user_dma_table_add(run->table, STRESS_STAYS, STRESS_PAGE,
                            VFIO_USER_DMA_MAP_READ | VFIO_USER_DMA_MAP_WRITE,
                            &guest_ram_regions[0], 0);
    run->user.session = peer_open(&run->peer);
    run->left = STRESS_THREADS;
}

static void test_stress(gconstpointer how)
{
    unsigned int num_threads = count_threads();
    Run run = { .stress = { .how = how } };
    Worker workers[STRESS_THREADS];

    run_open(&run);
    for (int i = 0; i < STRESS_THREADS; i++) {
        workers[i] = (Worker) { .run = &run, .number = i };
        qemu_thread_create(&workers[i].thread, "worker", worker_thread,
                           &workers[i], QEMU_THREAD_JOINABLE);
    }
    main_loop_until(&run.stress.done);
    for (int i = 0; i < STRESS_THREADS; i++) {
        qemu_thread_join(&workers[i].thread);
    }
    g_assert_cmpint(run.deaths, ==,
                    run.stress.how->end == STRESS_ENDS_WELL ? 0 : 1);
    peer_stop(&run.peer);
    vfio_user_dma_table_unref(run.table);
    vfio_user_device_drop_spares(&run.user);
    expect_threads(num_threads);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        StressCase how;
    } cases[] = {
        { "one-socket", { STRESS_ENDS_WELL } },
        { "twin", { STRESS_ENDS_WELL, .twin = true } },
        { "serial", { STRESS_ENDS_WELL, .serial = true } },
        { "closes/one-socket", { STRESS_CLOSES } },
        { "closes/twin", { STRESS_CLOSES, .twin = true } },
        { "nonsense/one-socket", { STRESS_TALKS_NONSENSE } },
        { "nonsense/twin", { STRESS_TALKS_NONSENSE, .twin = true } },
    };

    signal(SIGPIPE, SIG_IGN);
    module_call_init(MODULE_INIT_QOM);
    qemu_init_main_loop(&error_abort);
    g_test_init(&argc, &argv, NULL);

    for (uint32_t i = 0; i < STRESS_DATA_SIZE; i += 4) {
        stl_le_p(stress_data + i, i * 2654435761u);
    }
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        g_autofree char *path = g_strconcat("/vfio-user/session/stress/",
                                            cases[i].name, NULL);

        g_test_add_data_func(path, &cases[i].how, test_stress);
    }
    return g_test_run();
}
