/*
 * In place of mapped.c and identity.c, for tests of a device whose files never
 * shrink, and which is on no bus.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_VFIO_USER_MAPPED_STUBS_H
#define TESTS_UNIT_VFIO_USER_MAPPED_STUBS_H

#include "../../../hw/vfio-user/device-internal.h"

void vfio_user_mapped_check(VFIOUserDevice *device)
{
}

bool vfio_user_mapped_add(VFIOUserDevice *device, uint32_t region,
                          void *address, size_t size)
{
    g_assert_not_reached();
}

int vfio_user_device_region_munmap(VFIODevice *vbasedev, void *address,
                                   size_t size)
{
    g_assert_not_reached();
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

#endif /* TESTS_UNIT_VFIO_USER_MAPPED_STUBS_H */
