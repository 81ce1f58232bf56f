/*
 * vfio-user device: what is mapped of a server's files, which the server may
 * make shorter under QEMU's hands at any time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * The next access behind the new end raises SIGBUS.  The handler puts memory
 * of QEMU's own in the place of what is gone, so that the access goes on, and
 * leaves the rest to threads that may do more than a signal handler: whoever
 * uses the device next, or the main loop, ends the session, and the device is
 * lost as it is with any server that breaks the rules.
 *
 * A signal that comes from a thread's own access kills the process if the
 * thread blocks it, and QEMU's threads do: those that reach mapped regions are
 * told not to.
 */

#include "qemu/osdep.h"
#include "qemu/main-loop.h"
#include "qemu/seqlock.h"
#include "qemu/units.h"
#include "hw/core/cpu.h"
#include "hw/qdev-core.h"
#include "device-internal.h"

/* Mappings in all; regions beyond that are accessed by message. */
#define MAPPED_MAX 1024

/* Of the memory in place of a file, so much reads as a lost device does. */
#define ONES_SIZE (1 * MiB)

typedef struct Mapping {
    uint8_t *first;             /* NULL: the entry is free */
    size_t size;
    VFIOUserDevice *device;
    uint32_t region;
} Mapping;

/*
 * Written with the BQL held.  The signal handler reads without a lock: a
 * sequence counter tells it whether an entry was written meanwhile.  Writers
 * touch no mapped region, so a handler never interrupts one that it waits for.
 */
static Mapping mappings[MAPPED_MAX];
static QemuSeqLock mappings_seq;

static struct sigaction previous;   /* constant once ours is installed */
static int wake_fds[2] = { -1, -1 };    /* of siginfo_t, to the main loop */

/*
 * The signal handler: only what is safe there.
 */

static bool mapping_find(const uint8_t *address, Mapping *found)
{
    unsigned int start;
    int i;

    do {
        start = seqlock_read_begin(&mappings_seq);
        for (i = 0; i < MAPPED_MAX; i++) {
            *found = mappings[i];
            if (found->first && address >= found->first &&
                address - found->first < found->size) {
                break;
            }
        }
    } while (seqlock_read_retry(&mappings_seq, start));
    return i < MAPPED_MAX;
}

/* New memory appears there at once, lest another thread see it half made. */
static bool mapping_replace(uint8_t *first, size_t size)
{
    void *ones = mmap(NULL, size, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (ones == MAP_FAILED) {
        return false;
    }
    memset(ones, 0xff, MIN(size, ONES_SIZE));
    if (mremap(ones, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, first) ==
        MAP_FAILED) {
        munmap(ones, size);
        return false;
    }
    return true;
}

/* From the page at @address on; all of it where the file's pages are larger */
static bool mapped_repair(uint8_t *address)
{
    uint8_t *page = QEMU_ALIGN_PTR_DOWN(address, qemu_real_host_page_size());
    Mapping mapping;

    if (!mapping_find(address, &mapping)) {
        return false;
    }
    if (!mapping_replace(page, mapping.first + mapping.size - page) &&
        !mapping_replace(mapping.first, mapping.size)) {
        return false;
    }
    qatomic_set(&mapping.device->shrunk, mapping.region + 1);
    return true;
}

/* Without a handler of its own the process ends, once this one has returned. */
static void mapped_pass_on(int signo, siginfo_t *info, void *context)
{
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signo, info, context);
    } else if (previous.sa_handler == SIG_DFL ||
               previous.sa_handler == SIG_IGN) {
        sigaction(signo, &(struct sigaction) { .sa_handler = SIG_DFL }, NULL);
        raise(signo);
    } else {
        previous.sa_handler(signo);
    }
}

/*
 * KVM's news of broken memory that nobody has touched yet, which are not for a
 * vCPU, are handled by the main loop, as they are while SIGBUS is blocked.
 */
static void mapped_sigbus(int signo, siginfo_t *info, void *context)
{
    int saved_errno = errno;
    bool ours = info->si_code == BUS_ADRERR && mapped_repair(info->si_addr);

    if (ours || (info->si_code == BUS_MCEERR_AO && !current_cpu)) {
        /* full: the main loop is to wake up anyway */
        (void)!write(wake_fds[1], info, sizeof(*info));
    } else {
        mapped_pass_on(signo, info, context);
    }
    errno = saved_errno;
}

/*
 * All that follows is called by threads.
 */

static void mapped_unblock(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGBUS);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

static void mapped_unblock_cpu(CPUState *cpu, run_on_cpu_data unused)
{
    mapped_unblock();
}

static void mapped_device_realized(DeviceListener *listener, DeviceState *dev)
{
    if (object_dynamic_cast(OBJECT(dev), TYPE_CPU)) {
        async_run_on_cpu(CPU(dev), mapped_unblock_cpu, RUN_ON_CPU_NULL);
    }
}

static DeviceListener mapped_listener = {
    .realize = mapped_device_realized,
};

static void mapped_woken(void *opaque)
{
    siginfo_t info;
    int i;

    while (read(wake_fds[0], &info, sizeof(info)) == sizeof(info)) {
        if (info.si_code != BUS_ADRERR) {
            mapped_pass_on(SIGBUS, &info, NULL);
        }
    }
    for (i = 0; i < MAPPED_MAX; i++) {
        if (mappings[i].first && mappings[i].device->session) {
            vfio_user_mapped_check(mappings[i].device);
        }
    }
}

/* Once, when there is something to look after. */
static bool mapped_install(void)
{
    struct sigaction action = {
        .sa_sigaction = mapped_sigbus,
        .sa_flags = SA_SIGINFO | SA_RESTART,
    };
    CPUState *cpu;

    if (wake_fds[0] >= 0) {
        return true;
    }
    if (!g_unix_open_pipe(wake_fds, FD_CLOEXEC, NULL)) {
        return false;
    }
    g_unix_set_fd_nonblocking(wake_fds[0], true, NULL);
    g_unix_set_fd_nonblocking(wake_fds[1], true, NULL);
    qemu_set_fd_handler(wake_fds[0], mapped_woken, NULL, NULL);
    seqlock_init(&mappings_seq);
    sigaction(SIGBUS, NULL, &previous);
    sigaction(SIGBUS, &action, NULL);
    CPU_FOREACH(cpu) {
        async_run_on_cpu(cpu, mapped_unblock_cpu, RUN_ON_CPU_NULL);
    }
    device_listener_register(&mapped_listener);
    return true;
}

static void mapping_set(Mapping *mapping, const Mapping *value)
{
    seqlock_write_begin(&mappings_seq);
    *mapping = *value;
    seqlock_write_end(&mappings_seq);
}

bool vfio_user_mapped_add(VFIOUserDevice *device, uint32_t region,
                          void *address, size_t size)
{
    const Mapping mapping = { address, size, device, region };
    int i, free = -1;

    if (!mapped_install()) {
        return false;
    }
    /* the main thread, or one that migrates */
    mapped_unblock();
    for (i = 0; i < MAPPED_MAX && mappings[i].first != address; i++) {
        if (!mappings[i].first && free < 0) {
            free = i;
        }
    }
    if (i == MAPPED_MAX) {
        i = free;
    }
    if (i < 0) {
        return false;
    }
    mapping_set(&mappings[i], &mapping);
    if (qatomic_read(&device->shrunk) == region + 1) {
        qatomic_set(&device->shrunk, 0);
    }
    return true;
}

void vfio_user_mapped_remove(void *address)
{
    const Mapping none = { NULL };
    int i;

    for (i = 0; i < MAPPED_MAX; i++) {
        if (mappings[i].first == address) {
            mapping_set(&mappings[i], &none);
        }
    }
}

int vfio_user_device_region_munmap(VFIODevice *vbasedev, void *address,
                                   size_t size)
{
    vfio_user_mapped_remove(address);
    return munmap(address, size) ? vfio_user_device_errno(-errno) : 0;
}

void vfio_user_mapped_check(VFIOUserDevice *device)
{
    uint32_t shrunk = qatomic_read(&device->shrunk);
    Error *reason = NULL;

    if (shrunk && !vfio_user_session_is_dead(device->session)) {
        error_setg(&reason, "region %u: file is shorter than what is mapped "
                   "of it", shrunk - 1);
        vfio_user_session_kill(device->session, reason);
    }
}

/* Files shrink from their end, so the last byte stands for all. */
int vfio_user_device_check_mapped(VFIODevice *vbasedev, const void *address,
                                  size_t size)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    const Error *reason;

    mapped_unblock();
    /* volatile: to read it is what is wanted, not the value */
    (void)*((const volatile uint8_t *)address + size - 1);
    vfio_user_mapped_check(device);
    reason = vfio_user_session_reason(device->session);
    if (!reason) {
        return 0;
    }
    vfio_user_device_fail_migration(vbasedev, -ENOTCONN, reason);
    return vfio_user_access_errno(vbasedev, -ENOTCONN);
}
