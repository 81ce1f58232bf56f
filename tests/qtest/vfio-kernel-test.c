/*
 * qtest of vfio-pci with a fake of the kernel's VFIO: registers the areas,
 * which are in vfio-user/.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vfio-user/kernel-framework.h"

int main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);

    kernel_test_add_device();
    kernel_test_add_migration();

    return g_test_run();
}
