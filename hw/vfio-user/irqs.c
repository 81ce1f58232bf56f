/*
 * vfio-user device: interrupts, as eventfds in messages that the server takes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "device-internal.h"
#include "trace.h"

/* Send @set; @call has what goes along.  Some servers may refuse. */
static int vfio_user_device_call_irqs(VFIOUserDevice *device,
                                      VFIOUserIRQSet *set, VFIOUserCall *call,
                                      bool may_refuse)
{
    Error *err = NULL;
    int ret;

    call->command = VFIO_USER_DEVICE_SET_IRQS;
    call->deadline = VFIO_USER_DEADLINE_MAP;
    call->head = set;
    call->head_size = sizeof(*set);
    ret = vfio_user_session_call(device->session, call, &err);
    vfio_user_msg_free(call->reply);
    /* without a server nobody interrupts, and it is said why elsewhere */
    if ((ret && may_refuse && call->remote_error) ||
        vfio_user_session_is_dead(device->session)) {
        error_free(err);
        return 0;
    }
    return ret ? vfio_user_device_fail(device, ret, err) : 0;
}

/* KVM writes such an eventfd when the guest is done with INTx. */
static bool vfio_user_device_is_unmask_eventfd(const struct vfio_irq_set *irqs)
{
    const uint32_t flags = VFIO_IRQ_SET_DATA_EVENTFD |
                           VFIO_IRQ_SET_ACTION_UNMASK;

    return (irqs->flags & flags) == flags;
}

/* One SET_IRQS message: @count vectors, with as many fds or none at all. */
static int vfio_user_device_send_irqs(VFIOUserDevice *device,
                                      const struct vfio_irq_set *irqs,
                                      uint32_t start, uint32_t count,
                                      const int *fds, size_t num_fds,
                                      const uint8_t *data)
{
    VFIOUserIRQSet set;
    VFIOUserCall call = {
        .data = data,
        .data_size = data ? count : 0,
        .fds = fds,
        .num_fds = num_fds,
    };
    int ret;

    vfio_user_wire_put_set_irqs(&set, irqs->flags, irqs->index, start, count,
                                call.data_size);
    ret = vfio_user_device_call_irqs(device, &set, &call, false);
    if (ret && call.remote_error && vfio_user_device_is_unmask_eventfd(irqs)) {
        device->no_unmask_eventfd = true;
    }
    return ret;
}

/*
 * The vectors of one message have an fd each or none, and there are no more
 * fds than the server takes at once.
 */
static int vfio_user_device_set_eventfds(VFIOUserDevice *device,
                                         const struct vfio_irq_set *irqs)
{
    size_t most = MIN(vfio_user_session_caps(device->session)->max_msg_fds,
                      VFIO_USER_MAX_FDS);
    const int32_t *fds = (const int32_t *)irqs->data;
    uint32_t i, n;

    for (i = 0; i < irqs->count; i += n) {
        bool assigned = fds[i] >= 0;
        int ret;

        n = 1;
        while (i + n < irqs->count && (fds[i + n] >= 0) == assigned &&
               (!assigned || n < most)) {
            n++;
        }
        ret = vfio_user_device_send_irqs(device, irqs, irqs->start + i, n,
                                         assigned ? &fds[i] : NULL,
                                         assigned ? n : 0, NULL);
        if (ret) {
            return ret;
        }
    }
    return 0;
}

/*
 * hw/vfio keeps the MSI-X table, and masks and marks as pending what comes of
 * an eventfd.  So the table that the server may have as well gets no write,
 * and its vectors stay masked, as after a reset, until SET_IRQS unmasks them.
 * From the first vector on, since QEMU's server takes the count for the end.
 * A server that cannot mask single vectors may say so.
 */
static int vfio_user_device_unmask_msix(VFIOUserDevice *device,
                                        const struct vfio_irq_set *irqs)
{
    VFIOUserIRQSet set;
    VFIOUserCall call = { };

    vfio_user_wire_put_set_irqs(&set, VFIO_IRQ_SET_DATA_NONE |
                                VFIO_IRQ_SET_ACTION_UNMASK, irqs->index, 0,
                                irqs->start + irqs->count, 0);
    return vfio_user_device_call_irqs(device, &set, &call, true);
}

/* Is there a vector in @irqs that gets an eventfd? */
static bool vfio_user_device_assigns(const struct vfio_irq_set *irqs)
{
    const int32_t *fds = (const int32_t *)irqs->data;
    uint32_t i;

    for (i = 0; i < irqs->count; i++) {
        if (fds[i] >= 0) {
            return true;
        }
    }
    return false;
}

static int vfio_user_device_tell_irqs(VFIOUserDevice *device,
                                      const struct vfio_irq_set *irqs)
{
    int ret;

    if (!(irqs->flags & VFIO_IRQ_SET_DATA_EVENTFD)) {
        return vfio_user_device_send_irqs(device, irqs, irqs->start,
                                          irqs->count, NULL, 0,
                                          irqs->flags &
                                          VFIO_IRQ_SET_DATA_BOOL ?
                                          irqs->data : NULL);
    }
    ret = vfio_user_device_set_eventfds(device, irqs);
    if (!ret && irqs->index == VFIO_PCI_MSIX_IRQ_INDEX &&
        vfio_user_device_assigns(irqs)) {
        ret = vfio_user_device_unmask_msix(device, irqs);
    }
    return ret;
}

int vfio_user_device_set_irqs(VFIODevice *vbasedev, struct vfio_irq_set *irqs)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    bool stopped;
    int ret = 0;

    if (irqs->index >= device->num_irqs) {
        return vfio_user_device_errno(-EINVAL);
    }
    trace_vfio_user_set_irqs(vbasedev->name, irqs->index, irqs->start,
                             irqs->count, irqs->flags);
    /* nobody interrupts any more; nor does a type without vectors */
    if (vfio_user_session_is_dead(device->session) ||
        (!irqs->count && !device->irqs[irqs->index].count)) {
        return 0;
    }
    stopped = vfio_migration_lock_stopped(vbasedev);
    if (device->no_unmask_eventfd && vfio_user_device_is_unmask_eventfd(irqs)) {
        /* later, the answer would be too late for hw/vfio to unmask itself */
        ret = vfio_user_device_errno(-EINVAL);
    } else if (stopped) {
        vfio_user_late_irqs_add(device, irqs);
    } else {
        ret = vfio_user_device_tell_irqs(device, irqs);
    }
    vfio_migration_unlock_stopped(vbasedev);
    return ret;
}

void vfio_user_device_tell_late_irqs(VFIOUserDevice *device,
                                     const struct vfio_irq_set *irqs)
{
    trace_vfio_user_late_irqs(irqs->index, irqs->start, irqs->count,
                              irqs->flags);
    vfio_user_device_tell_irqs(device, irqs);
}
