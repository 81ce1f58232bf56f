/*
 * The vfio-user server with an NVMe controller.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NVME_SERVER_H
#define NVME_SERVER_H

#include "nvme-image.h"
#include "../server.h"

typedef struct NvmeServer {
    NvmeDevice device;
    vfu_migr_state_t state;
    NvmeImage image;
    size_t image_size;          /* so much of it has come */
    bool image_taken;           /* it has been made in this stop-and-copy */
} NvmeServer;

/* The capability in the device's config space. */
struct msixcap *server_msix(vfu_ctx_t *ctx);

/* Give a device, whose private data is an NvmeServer, a migration region. */
void server_set_up_migration(vfu_ctx_t *ctx);

#endif /* NVME_SERVER_H */
