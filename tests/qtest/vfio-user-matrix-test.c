/*
 * qtest of the vfio-user client: the fault matrix, which is in vfio-user/.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "vfio-user/matrix.h"

int main(int argc, char **argv)
{
    int status;

    g_test_init(&argc, &argv, NULL);
    matrix_add();
    status = g_test_run();
    matrix_report();
    return status;
}
