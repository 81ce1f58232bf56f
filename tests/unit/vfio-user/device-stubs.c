/*
 * In place of mapped.c, identity.c and irqs.c, for tests of a device whose
 * files never shrink, which is on no bus, and whose interrupts nobody sets up.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "../../../hw/vfio-user/device-internal.h"

void vfio_user_mapped_check(VFIOUserDevice *device)
{
}

bool vfio_user_mapped_add(VFIOUserDevice *device, uint32_t region,
                          void *address, size_t size)
{
    return true;
}

int vfio_user_device_region_munmap(VFIODevice *vbasedev, void *address,
                                   size_t size)
{
    return munmap(address, size) ? -errno : 0;
}

int vfio_user_device_check_mapped(VFIODevice *vbasedev, const void *address,
                                  size_t size)
{
    return 0;
}

void vfio_user_device_save_identity(VFIODevice *vbasedev, QEMUFile *f)
{
    g_assert_not_reached();
}

int vfio_user_device_load_identity(VFIODevice *vbasedev, QEMUFile *f)
{
    return -EINVAL;
}

int vfio_user_device_set_irqs(VFIODevice *vbasedev, struct vfio_irq_set *irqs)
{
    g_assert_not_reached();
}

void vfio_user_device_tell_late_irqs(VFIOUserDevice *device,
                                     const struct vfio_irq_set *irqs)
{
    g_assert_not_reached();
}
