/*
 * The NVMe controller's state as one chunk of migration data: a header with a
 * checksum, and the state as it is in memory, in the byte order that all of
 * vfio-user has on this host.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NVME_IMAGE_H
#define NVME_IMAGE_H

#include "nvme-device.h"

typedef struct NvmeImage {
    uint32_t magic;
    uint32_t version;
    uint32_t size;              /* of all of it */
    uint32_t sum;
    uint64_t blocks;            /* of the disk */
    uint64_t msix;              /* whether it is enabled */
    NvmeState state;
} NvmeImage;

/* Describe @device, which is stopped, and whether MSI-X is enabled. */
void nvme_image_save(const NvmeDevice *device, bool msix, NvmeImage *image);

/*
 * False, and @device is as it was, for an image that no controller with such a
 * disk could give.
 */
bool nvme_image_load(NvmeDevice *device, const NvmeImage *image);

#endif /* NVME_IMAGE_H */
