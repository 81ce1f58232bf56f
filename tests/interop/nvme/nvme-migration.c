/*
 * The NVMe server's migration region. The state is sent once, when the device
 * is stopped; what it has written into the guest's memory the library logs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "nvme-server.h"
#include <errno.h>
#include <string.h>

static int refuse(void)
{
    errno = EINVAL;
    return -1;
}

static int server_transition(vfu_ctx_t *ctx, vfu_migr_state_t state)
{
    NvmeServer *server = vfu_get_private(ctx);

    if (state == server->state) {
        return 0;
    }
    if (server->state == VFU_MIGR_STATE_RESUME) {
        if (server->image_size != sizeof(server->image) ||
            !nvme_image_load(&server->device, &server->image)) {
            return refuse();
        }
        /* QEMU tells only the library, by giving it eventfds */
        server_msix(ctx)->mxc.mxe = server->image.msix != 0;
    }
    server->state = state;
    server->image_size = 0;
    server->image_taken = false;
    if (state == VFU_MIGR_STATE_RUNNING || state == VFU_MIGR_STATE_PRE_COPY) {
        nvme_device_run(&server->device);
    } else {
        server->device.stopped = true;
    }
    return 0;
}

static uint64_t server_pending_bytes(vfu_ctx_t *ctx)
{
    NvmeServer *server = vfu_get_private(ctx);

    return server->state == VFU_MIGR_STATE_STOP_AND_COPY &&
           !server->image_taken ? sizeof(server->image) : 0;
}

static int server_prepare_data(vfu_ctx_t *ctx, uint64_t *offset,
                               uint64_t *size)
{
    NvmeServer *server = vfu_get_private(ctx);

    *offset = 0;
    if (!size) {                /* some is to come */
        server->image_size = 0;
        return 0;
    }
    if (!server_pending_bytes(ctx)) {
        return refuse();
    }
    nvme_image_save(&server->device, server_msix(ctx)->mxc.mxe,
                    &server->image);
    server->image_taken = true;
    *size = sizeof(server->image);
    return 0;
}

static ssize_t server_read_data(vfu_ctx_t *ctx, void *data, uint64_t count,
                                uint64_t offset)
{
    NvmeServer *server = vfu_get_private(ctx);

    if (offset > sizeof(server->image) ||
        count > sizeof(server->image) - offset) {
        return refuse();
    }
    memcpy(data, (uint8_t *)&server->image + offset, count);
    return count;
}

static ssize_t server_write_data(vfu_ctx_t *ctx, void *data, uint64_t count,
                                 uint64_t offset)
{
    NvmeServer *server = vfu_get_private(ctx);

    if (offset != server->image_size ||
        count > sizeof(server->image) - offset) {
        return refuse();
    }
    memcpy((uint8_t *)&server->image + offset, data, count);
    server->image_size += count;
    return count;
}

static int server_data_written(vfu_ctx_t *ctx, uint64_t count)
{
    NvmeServer *server = vfu_get_private(ctx);

    return count == server->image_size ? 0 : refuse();
}

void server_set_up_migration(vfu_ctx_t *ctx)
{
    const vfu_migration_callbacks_t callbacks = {
        .version = VFU_MIGR_CALLBACKS_VERS,
        .transition = server_transition,
        .get_pending_bytes = server_pending_bytes,
        .prepare_data = server_prepare_data,
        .read_data = server_read_data,
        .write_data = server_write_data,
        .data_written = server_data_written,
    };

    server_set_up_region(ctx, &callbacks, sizeof(NvmeImage));
}
