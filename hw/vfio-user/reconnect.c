/*
 * vfio-user-pci: the property reconnect.  Tries to connect to a server that was
 * lost, in a thread that may wait for it, until one is taken.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "migration/migration.h"
#include "migration/misc.h"
#include "pci-internal.h"
#include "trace.h"

/*
 * One try: the main loop connects, which does not wait; the thread negotiates
 * and asks what there is, which may take as long as the server likes; the main
 * loop takes over what came of it.  From the thread's start until its end
 * @candidate and @err are the thread's, except that the session may be killed.
 * All else: BQL.
 */
struct VFIOUserReconnect {
    VFIOUserPCIDevice *udev;
    QEMUTimer *timer;
    QEMUBH *done;
    QemuThread thread;
    bool trying;                /* the thread is to be joined */
    VFIOUserCandidate candidate;
    Error *err;                 /* what came of it */
    char *told;                 /* the last failure that was printed */
};

static void *reconnect_thread(void *opaque)
{
    VFIOUserReconnect *retry = opaque;
    VFIOUserCandidate *candidate = &retry->candidate;

    if (vfio_user_session_negotiate(candidate->session, &retry->err) &&
        vfio_user_device_init(&candidate->device, &candidate->vbasedev,
                              &retry->err)) {
        vfio_user_device_check_config(&candidate->vbasedev, &retry->err);
    }
    qemu_bh_schedule(retry->done);
    return NULL;
}

/* Whatever came of the last try, nothing is left of it. */
static void reconnect_clean_up(VFIOUserReconnect *retry)
{
    VFIOUserCandidate *candidate = &retry->candidate;

    vfio_user_device_cleanup(&candidate->device);
    vfio_user_session_close(candidate->session);
    vfio_user_dma_table_unref(candidate->table);
    g_free(candidate->vbasedev.name);
    memset(candidate, 0, sizeof(*candidate));
    error_free(retry->err);
    retry->err = NULL;
}

static void reconnect_wait(VFIOUserReconnect *retry)
{
    timer_mod(retry->timer, qemu_clock_get_ms(QEMU_CLOCK_REALTIME) +
                            retry->udev->reconnect * 1000LL);
}

/* Each try may fail like the one before it, which is told but once. */
static void reconnect_tell(VFIOUserReconnect *retry, const Error *err)
{
    VFIOUserPCIDevice *udev = retry->udev;
    const char *text = error_get_pretty(err);
    const char *prefix = strstr(text, udev->session_name) ? "" :
                                                            udev->session_name;

    trace_vfio_user_reconnect(udev->device.vbasedev.name, text);
    if (g_strcmp0(text, retry->told)) {
        g_free(retry->told);
        retry->told = g_strdup(text);
        error_report("%s: not back: %s%s%s", udev->device.vbasedev.name,
                     prefix, *prefix ? ": " : "", text);
    }
}

/*
 * What is saved or loaded must not change under its hands.  The device that was
 * lost makes a migration fail, so this is soon over.
 */
static bool reconnect_has_to_wait(VFIOUserReconnect *retry)
{
    MigrationIncomingState *incoming = migration_incoming_get_current();

    if (migration_is_idle() &&
        !migration_is_setup_or_active(incoming->state)) {
        return false;
    }
    trace_vfio_user_reconnect(retry->udev->device.vbasedev.name,
                              "waits for the end of a migration");
    reconnect_wait(retry);
    return true;
}

/* Or has it been unplugged, and only waits to be freed? */
static bool reconnect_is_wanted(VFIOUserReconnect *retry)
{
    return DEVICE(retry->udev)->realized;
}

static void reconnect_try(void *opaque)
{
    VFIOUserReconnect *retry = opaque;
    VFIOUserPCIDevice *udev = retry->udev;
    VFIOUserCandidate *candidate = &retry->candidate;
    VFIOUserSessionConfig config;
    Error *err = NULL;

    if (!reconnect_is_wanted(retry)) {
        return;
    }
    if (reconnect_has_to_wait(retry)) {
        return;
    }
    candidate->table = vfio_user_dma_table_new();
    config = vfio_user_pci_session_config(udev, candidate->table);
    candidate->session = vfio_user_session_open(&config, false, &err);
    if (!candidate->session) {
        /* there is no server yet: nothing to tell */
        trace_vfio_user_reconnect(udev->device.vbasedev.name,
                                  error_get_pretty(err));
        error_free(err);
        reconnect_clean_up(retry);
        reconnect_wait(retry);
        return;
    }
    candidate->device.session = candidate->session;
    candidate->device.max_write = udev->max_write_size;
    candidate->device.quiet = true;
    candidate->vbasedev.name = g_strdup(udev->device.vbasedev.name);
    retry->trying = true;
    qemu_thread_create(&retry->thread, "vfio-reconnect", reconnect_thread,
                       retry, QEMU_THREAD_JOINABLE);
}

static void reconnect_done(void *opaque)
{
    VFIOUserReconnect *retry = opaque;
    VFIOUserPCIDevice *udev = retry->udev;
    Error *err = NULL;
    bool swapped;

    qemu_thread_join(&retry->thread);
    retry->trying = false;
    if (!reconnect_is_wanted(retry)) {
        reconnect_clean_up(retry);
        return;
    }
    /* one may have begun to be loaded meanwhile */
    if (reconnect_has_to_wait(retry)) {
        reconnect_clean_up(retry);
        return;
    }
    err = g_steal_pointer(&retry->err);
    if (!err) {
        vfio_user_pci_bring_back(udev, &retry->candidate, &err);
    }
    swapped = !retry->candidate.session;
    if (err) {
        reconnect_tell(retry, err);
        error_free(err);
    } else {
        trace_vfio_user_reconnect(udev->device.vbasedev.name, "back");
        g_clear_pointer(&retry->told, g_free);
    }
    reconnect_clean_up(retry);
    /* otherwise the session's death, if it is dead, brings the next try */
    if (!swapped) {
        reconnect_wait(retry);
    }
}

void vfio_user_reconnect_begin(VFIOUserPCIDevice *udev)
{
    VFIOUserReconnect *retry = udev->retry;

    if (!udev->reconnect) {
        return;
    }
    if (!retry) {
        retry = udev->retry = g_new0(VFIOUserReconnect, 1);
        retry->udev = udev;
        /*
         * Timer and this BH run in the main loop alone, never where somebody
         * polls in the midst of a snapshot.
         */
        retry->timer = timer_new_ms(QEMU_CLOCK_REALTIME, reconnect_try, retry);
        retry->done = aio_bh_new(iohandler_get_aio_context(), reconnect_done,
                                 retry);
    }
    reconnect_wait(retry);
}

void vfio_user_reconnect_end(VFIOUserPCIDevice *udev)
{
    VFIOUserReconnect *retry = g_steal_pointer(&udev->retry);
    Error *reason = NULL;

    if (!retry) {
        return;
    }
    timer_free(retry->timer);
    if (retry->trying) {
        error_setg(&reason, "closed");
        vfio_user_session_kill(retry->candidate.session, reason);
        qemu_thread_join(&retry->thread);
    }
    qemu_bh_delete(retry->done);
    reconnect_clean_up(retry);
    g_free(retry->told);
    g_free(retry);
}
