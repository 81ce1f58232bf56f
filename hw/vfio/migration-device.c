/*
 * Migration of a VFIO device, protocol v1: the module that knows where the
 * device has to be meets the region in which it is told.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/vfio.h>
#include "qapi/error.h"
#include "qapi/qapi-events-vfio.h"
#include "qemu/error-report.h"
#include "qemu/lockable.h"
#include "qemu/main-loop.h"
#include "qemu/timer.h"
#include "hw/vfio/vfio-common.h"
#include "migration/migration.h"
#include "migration/misc.h"
#include "migration/qemu-file.h"
#include "trace.h"

#define REGISTER(name) offsetof(struct vfio_device_migration_info, name)

static VFIOMigrationControl *device_control(VFIODevice *vbasedev)
{
    return &vbasedev->migration->control;
}

void vfio_migration_fail(VFIODevice *vbasedev, off_t off, int ret,
                         const char *what)
{
    static const char *const registers[] = {
        "device_state", "pending_bytes", "data_offset", "data_size", "data",
    };
    MigrationState *ms = migrate_get_current();
    Error *err = NULL;

    error_setg_errno(&err, -ret, "%s: %s: %s", vbasedev->name,
                     registers[MIN(off / 8, 4)], what);
    if (migration_is_setup_or_active(ms->state)) {
        migrate_set_error(ms, err);
    }
    if (ret == -ENOTCONN) {
        error_free(err);
    } else {
        error_report_err(err);
    }
}

void vfio_migration_abort(int ret, const Error *reason)
{
    MigrationState *ms = migrate_get_current();

    WITH_QEMU_LOCK_GUARD(&ms->qemu_file_lock) {
        if (ms->to_dst_file) {
            if (reason) {
                migrate_set_error(ms, reason);
            }
            qemu_file_set_error(ms->to_dst_file, ret);
        }
    }
}

/*
 * The ops of VFIOMigrationState, called with data_lock held.
 */

static int device_state_read(void *opaque, uint32_t *value)
{
    VFIODevice *vbasedev = opaque;
    VFIOMigration *migration = vbasedev->migration;
    ssize_t ret;

    /* whoever has to look does not know what became of the data, either */
    migration->pending_bytes = 0;
    ret = vbasedev->io_ops->region_read(vbasedev, migration->region.fd_offset +
                                        REGISTER(device_state),
                                        sizeof(*value), value);
    if (ret < 0) {
        return ret;
    }
    if (ret != sizeof(*value)) {
        return -EINVAL;
    }
    trace_vfio_migration_read_state(vbasedev->name, *value);
    return 0;
}

static void device_send_event(VFIODevice *vbasedev, uint32_t value)
{
    static const QapiVfioMigrationState states[] = {
        [VFIO_MIGRATION_STATE_STOP] = QAPI_VFIO_MIGRATION_STATE_STOP,
        [VFIO_MIGRATION_STATE_RUNNING] = QAPI_VFIO_MIGRATION_STATE_RUNNING,
        [VFIO_MIGRATION_STATE_STOP_COPY] = QAPI_VFIO_MIGRATION_STATE_STOP_COPY,
        [VFIO_MIGRATION_STATE_PRE_COPY] = QAPI_VFIO_MIGRATION_STATE_PRE_COPY,
        [VFIO_MIGRATION_STATE_RESUMING] = QAPI_VFIO_MIGRATION_STATE_RESUMING,
    };
    DeviceState *dev = vbasedev->dev;
    g_autofree char *path = object_get_canonical_path(OBJECT(dev));

    value &= VFIO_DEVICE_STATE_MASK;
    if (vbasedev->migration_events && value < ARRAY_SIZE(states)) {
        qapi_event_send_vfio_migration(!!dev->id, dev->id, path,
                                       states[value]);
    }
}

static int device_state_write(void *opaque, uint32_t value)
{
    VFIODevice *vbasedev = opaque;
    VFIOMigration *migration = vbasedev->migration;
    ssize_t ret;

    /* whatever the answer: data that was pending is so no more */
    migration->pending_bytes = 0;
    ret = vbasedev->io_ops->region_write(vbasedev,
                                         migration->region.fd_offset +
                                         REGISTER(device_state),
                                         sizeof(value), &value, false);
    trace_vfio_migration_set_state(vbasedev->name, value,
                                   ret < 0 ? (int)ret : 0);
    if (ret < 0) {
        return ret;
    }
    if (ret != sizeof(value)) {
        return -EINVAL;
    }
    migration->device_state = value;
    device_send_event(vbasedev, value);
    return 0;
}

static int device_state_reset(void *opaque)
{
    VFIODevice *vbasedev = opaque;
    int ret = vbasedev->io_ops->device_reset(vbasedev);

    vbasedev->migration->pending_bytes = 0;
    trace_vfio_migration_late_reset(vbasedev->name, ret);
    return ret;
}

static void device_state_resume(void *opaque)
{
    VFIODevice *vbasedev = opaque;

    if (vbasedev->io_ops->device_resumed) {
        vbasedev->io_ops->device_resumed(vbasedev);
    }
}

static void device_state_skip(void *opaque, uint32_t value, const char *reason)
{
    VFIODevice *vbasedev = opaque;

    trace_vfio_migration_skip_state(vbasedev->name, value, reason);
}

static void device_state_forget(void *opaque, const char *cause)
{
    VFIODevice *vbasedev = opaque;

    trace_vfio_migration_forget_state(vbasedev->name, cause);
}

static void device_state_fail(void *opaque, uint32_t value, int ret)
{
    g_autofree char *what = g_strdup_printf("cannot be set to %s",
                                            vfio_migration_state_name(value));

    vfio_migration_fail(opaque, REGISTER(device_state), ret, what);
}

static const VFIOMigrationStateOps device_state_ops = {
    .read = device_state_read,
    .write = device_state_write,
    .reset = device_state_reset,
    .resume = device_state_resume,
    .skip = device_state_skip,
    .forget = device_state_forget,
    .fail = device_state_fail,
};

/*
 * Following the VM
 */

int vfio_migration_device_event(VFIODevice *vbasedev, VFIOMigrationEvent event)
{
    VFIOMigrationControl *control = device_control(vbasedev);

    QEMU_LOCK_GUARD(&control->data_lock);

    if (event == VFIO_MIGRATION_EVENT_SAVE_SETUP) {
        control->saved = 0;
    } else if (event == VFIO_MIGRATION_EVENT_SAVE_CLEANUP) {
        /* a migration that has failed may have left it to this device */
        control->told = false;
        qemu_system_hold_reset(false);
    }
    control->least_pending = UINT64_MAX;
    return vfio_migration_state_event(&control->state, event);
}

void vfio_migration_vm_changed(VFIODevice *vbasedev, bool running,
                               RunState state)
{
    VFIOMigrationEvent event;
    int ret;

    if (!running) {
        event = state == RUN_STATE_SAVE_VM ?
                VFIO_MIGRATION_EVENT_VM_STOP_SAVE :
                VFIO_MIGRATION_EVENT_VM_STOP;
    } else {
        event = migration_is_setup_or_active(migrate_get_current()->state) ?
                VFIO_MIGRATION_EVENT_VM_START_SAVE :
                VFIO_MIGRATION_EVENT_VM_START;
    }
    ret = vfio_migration_event_together(vbasedev, event);
    if (ret) {
        /* it goes on with what the VM does, and cannot without the device */
        vfio_migration_abort(ret, NULL);
    }
    device_control(vbasedev)->start_failed = ret && running;
}

/*
 * The last of all to hear that the VM is about to run, which it must not with
 * a device that does not.  vCPUs look at the run state before they start.
 */
static void device_settle(void *opaque, bool running, RunState state)
{
    VFIODevice *vbasedev = opaque;
    VFIOMigrationControl *control = device_control(vbasedev);

    if (!running || !control->start_failed ||
        vfio_migration_state_may_run(&control->state)) {
        return;
    }
    control->start_failed = false;
    trace_vfio_migration_stop_vm(vbasedev->name);
    vm_stop(RUN_STATE_IO_ERROR);
}

int vfio_migration_device_start(VFIODevice *vbasedev)
{
    VFIOMigrationControl *control = device_control(vbasedev);
    VFIOMigrationStateConfig config = {
        .ops = &device_state_ops,
        .opaque = vbasedev,
        .cache = vbasedev->cache_device_state,
        .refuses = vbasedev->io_ops->device_resumed != NULL,
        .vm_running = runstate_is_running(),
    };
    int ret;

    vbasedev->migration->device_state = VFIO_MIGRATION_STATE_RUNNING;
    qemu_mutex_init(&control->data_lock);
    vfio_migration_state_init(&control->state, &config);
    WITH_QEMU_LOCK_GUARD(&control->data_lock) {
        ret = vfio_migration_state_sync(&control->state);
    }
    if (ret && ret != -ENOTCONN) {
        error_report("%s: device_state is %s, and the device does not leave "
                     "it: %s", vbasedev->name, control->state.known ?
                     vfio_migration_state_name(control->state.value) :
                     "not to be read", strerror(-ret));
    }
    if (ret) {
        vfio_migration_state_destroy(&control->state);
        qemu_mutex_destroy(&control->data_lock);
        return ret;
    }
    /* QEMU lets go of it before it stops the VM for the last time */
    object_ref(OBJECT(migrate_get_current()));
    control->settle = qemu_add_vm_change_state_handler_prio(device_settle,
                                                            vbasedev, INT_MAX);
    return 0;
}

void vfio_migration_device_stop(VFIODevice *vbasedev)
{
    VFIOMigrationControl *control = device_control(vbasedev);

    qemu_del_vm_change_state_handler(control->settle);
    vfio_migration_device_event(vbasedev, VFIO_MIGRATION_EVENT_UNPLUG);
    object_unref(OBJECT(migrate_get_current()));
    vfio_migration_state_destroy(&control->state);
    qemu_mutex_destroy(&control->data_lock);
}

bool vfio_migration_device_lost(VFIODevice *vbasedev)
{
    return !vbasedev->migration ||
           vfio_migration_state_lose(&device_control(vbasedev)->state);
}

int vfio_migration_device_back(VFIODevice *vbasedev)
{
    VFIOMigrationControl *control;
    int ret;

    if (!vbasedev->migration) {
        return 0;
    }
    control = device_control(vbasedev);
    QEMU_LOCK_GUARD(&control->data_lock);

    ret = vfio_migration_state_sync(&control->state);
    if (!ret) {
        vbasedev->migration->device_state = control->state.value;
    }
    return ret;
}

void vfio_migration_lock_device(VFIODevice *vbasedev)
{
    if (vbasedev->migration) {
        qemu_mutex_lock(&device_control(vbasedev)->data_lock);
        qemu_mutex_lock(&device_control(vbasedev)->state.lock);
    }
}

void vfio_migration_unlock_device(VFIODevice *vbasedev)
{
    if (vbasedev->migration) {
        qemu_mutex_unlock(&device_control(vbasedev)->state.lock);
        qemu_mutex_unlock(&device_control(vbasedev)->data_lock);
    }
}

bool vfio_migration_lock_stopped(VFIODevice *vbasedev)
{
    VFIOMigrationState *state;

    if (!vbasedev->migration) {
        return false;
    }
    state = &device_control(vbasedev)->state;
    qemu_mutex_lock(&state->lock);
    return vfio_migration_state_is_stopped(state);
}

void vfio_migration_unlock_stopped(VFIODevice *vbasedev)
{
    if (vbasedev->migration) {
        qemu_mutex_unlock(&device_control(vbasedev)->state.lock);
    }
}

/*
 * What a device says of its data
 */

int vfio_migration_check_data(VFIODevice *vbasedev, uint64_t offset,
                              uint64_t size, bool saved)
{
    VFIOMigrationControl *control = device_control(vbasedev);
    uint64_t limit = vbasedev->migration->region.size;
    uint64_t most = vbasedev->max_device_state ?: UINT64_MAX;

    if (offset < sizeof(struct vfio_device_migration_info) || offset > limit) {
        vfio_migration_fail(vbasedev, REGISTER(data_offset), -EINVAL,
                            "outside the migration region");
        return -EINVAL;
    }
    if (size > limit - offset) {
        vfio_migration_fail(vbasedev, REGISTER(data_size), -EINVAL,
                            "beyond the end of the migration region");
        return -EINVAL;
    }
    if (!saved) {
        return 0;
    }
    if (size > most - control->saved) {
        vfio_migration_fail(vbasedev, REGISTER(data_size), -EFBIG,
                            "more data than x-max-device-state allows");
        return -EFBIG;
    }
    control->saved += size;
    return 0;
}

int vfio_migration_check_progress(VFIODevice *vbasedev, uint64_t data_size)
{
    VFIOMigrationControl *control = device_control(vbasedev);
    uint64_t pending = vbasedev->migration->pending_bytes;
    int64_t now = qemu_clock_get_ms(QEMU_CLOCK_REALTIME);

    if (!data_size) {
        vfio_migration_fail(vbasedev, REGISTER(data_size), -EIO,
                            "no data although some is pending");
        return -EIO;
    }
    if (pending < control->least_pending) {
        control->least_pending = pending;
        control->least_since = now;
    } else if (vbasedev->bulk_timeout_ms &&
               now - control->least_since > vbasedev->bulk_timeout_ms) {
        vfio_migration_fail(vbasedev, REGISTER(pending_bytes), -ETIMEDOUT,
                            "does not become less");
        return -ETIMEDOUT;
    }
    return 0;
}
