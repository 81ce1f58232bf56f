/*
 * vfio-user device: interrupts that were set up while the device was stopped,
 * for the server to be told when it runs again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/vfio-user/device.h"

/* A request with fds of its own: the caller's may be closed by then */
struct VFIOUserLateIRQs {
    QSIMPLEQ_ENTRY(VFIOUserLateIRQs) next;
    struct vfio_irq_set *irqs;
};

static int32_t *late_fds(struct vfio_irq_set *irqs, uint32_t *count)
{
    *count = irqs->flags & VFIO_IRQ_SET_DATA_EVENTFD ? irqs->count : 0;
    return (int32_t *)irqs->data;
}

static void late_free(VFIOUserLateIRQs *late)
{
    uint32_t i, count;
    int32_t *fds = late_fds(late->irqs, &count);

    for (i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    g_free(late->irqs);
    g_free(late);
}

/* After a type was switched off, nothing of what came before matters. */
static void late_prune(VFIOUserDevice *device, const struct vfio_irq_set *irqs)
{
    VFIOUserLateIRQs *late, *tmp;

    if (irqs->count || !(irqs->flags & VFIO_IRQ_SET_ACTION_TRIGGER)) {
        return;
    }
    QSIMPLEQ_FOREACH_SAFE(late, &device->late_irqs, next, tmp) {
        if (late->irqs->index == irqs->index) {
            QSIMPLEQ_REMOVE(&device->late_irqs, late, VFIOUserLateIRQs, next);
            late_free(late);
        }
    }
}

void vfio_user_late_irqs_add(VFIOUserDevice *device,
                             const struct vfio_irq_set *irqs)
{
    VFIOUserLateIRQs *late = g_new0(VFIOUserLateIRQs, 1);
    uint32_t i, count;
    int32_t *fds;

    late_prune(device, irqs);
    late->irqs = g_memdup2(irqs, irqs->argsz);
    fds = late_fds(late->irqs, &count);
    for (i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
        }
    }
    QSIMPLEQ_INSERT_TAIL(&device->late_irqs, late, next);
}

void vfio_user_late_irqs_replay(VFIOUserDevice *device,
                                void (*tell)(VFIOUserDevice *device,
                                             const struct vfio_irq_set *irqs))
{
    VFIOUserLateIRQs *late;

    while ((late = QSIMPLEQ_FIRST(&device->late_irqs))) {
        QSIMPLEQ_REMOVE_HEAD(&device->late_irqs, next);
        if (tell) {
            tell(device, late->irqs);
        }
        late_free(late);
    }
}
