/*
 * qtest of the vfio-user client: registers the areas, which are in vfio-user/.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vfio-user/framework.h"
#include "vfio-user/hostile.h"

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);

    vfio_user_test_add_connect();
    vfio_user_test_add_device();
    vfio_user_test_add_dirty();
    vfio_user_test_add_dma();
    vfio_user_test_add_fault();
    vfio_user_test_add_hostile();
    vfio_user_test_add_hostile_device();
    vfio_user_test_add_identity();
    vfio_user_test_add_iommu();
    vfio_user_test_add_irqfd();
    vfio_user_test_add_late();
    vfio_user_test_add_life();
    vfio_user_test_add_many();
    vfio_user_test_add_migration();
    vfio_user_test_add_mistake();
    vfio_user_test_add_monitor();
    vfio_user_test_add_operator();
    vfio_user_test_add_property();
    vfio_user_test_add_reconnect();
    vfio_user_test_add_reconnect_fault();
    vfio_user_test_add_reconnect_migration();
    vfio_user_test_add_scenarios();
    vfio_user_test_add_shrink();
    vfio_user_test_add_soak();
    vfio_user_test_add_soak_kill();
    vfio_user_test_add_stream();
    vfio_user_test_add_virtio_mem();

    status = g_test_run();
    vfio_user_test_write_scenarios();
    return status;
}
