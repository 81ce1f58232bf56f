/*
 * What the servers of our own, on libvfio-user, have in common.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "server.h"
#include <err.h>
#include <stdlib.h>

void must(ssize_t ret, const char *what)
{
    if (ret < 0) {
        err(EXIT_FAILURE, "%s", what);
    }
}

void server_set_up_region(vfu_ctx_t *ctx,
                          const vfu_migration_callbacks_t *callbacks,
                          size_t size)
{
    size_t registers = vfu_get_migr_register_area_size();

    must(vfu_setup_region(ctx, VFU_PCI_DEV_MIGR_REGION_IDX, registers + size,
                          NULL, VFU_REGION_FLAG_RW, NULL, 0, -1, 0),
         "migration region");
    must(vfu_setup_device_migration_callbacks(ctx, callbacks, registers),
         "migration");
}
