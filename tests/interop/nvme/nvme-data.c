/*
 * Where the data of an NVMe command is in the guest's memory: one page, two,
 * or a list of pages, which may go on in further lists.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "nvme-device.h"

#define LIST_ENTRIES (NVME_PAGE / sizeof(uint64_t))

typedef struct NvmeTransfer {
    NvmeDevice *device;
    bool to_guest;
    size_t at;                  /* how far it has come */
    size_t size;
} NvmeTransfer;

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The rest of the page at @address, or what is left. */
static int transfer_page(NvmeTransfer *transfer, uint64_t address)
{
    const NvmeHost *host = &transfer->device->host;
    uint8_t *data = &transfer->device->data[transfer->at];
    size_t size = smaller(NVME_PAGE - address % NVME_PAGE,
                          transfer->size - transfer->at);
    bool done;

    if (address % 4 || (transfer->at && address % NVME_PAGE)) {
        return NVME_INVALID_PRP_OFFSET;
    }
    done = transfer->to_guest ?
           host->write(host->opaque, address, data, size) :
           host->read(host->opaque, address, data, size);
    if (!done) {
        return NVME_TRANSFER_ERROR;
    }
    transfer->at += size;
    return NVME_SUCCESS;
}

/*
 * A list ends with its page; if that is not enough, the last entry is where the
 * next one is. That must be a whole page, so each list makes headway.
 */
static int transfer_list(NvmeTransfer *transfer, uint64_t address)
{
    const NvmeHost *host = &transfer->device->host;
    uint64_t pages[LIST_ENTRIES];
    int status = NVME_SUCCESS;

    if (address % sizeof(pages[0])) {
        return NVME_INVALID_PRP_OFFSET;
    }
    while (!status && transfer->at < transfer->size) {
        size_t needed = (transfer->size - transfer->at + NVME_PAGE - 1) /
                        NVME_PAGE;
        size_t there = LIST_ENTRIES - address % NVME_PAGE / sizeof(pages[0]);
        size_t used = needed > there ? there - 1 : needed;
        size_t i;

        if (!host->read(host->opaque, address, pages,
                        smaller(needed, there) * sizeof(pages[0]))) {
            return NVME_TRANSFER_ERROR;
        }
        for (i = 0; !status && i < used; i++) {
            status = transfer_page(transfer, pages[i]);
        }
        if (!status && needed > there) {
            address = pages[used];
            status = address % NVME_PAGE ? NVME_INVALID_PRP_OFFSET : status;
        }
    }
    return status;
}

static int transfer_all(NvmeTransfer *transfer, const NvmeCommand *command)
{
    int status = transfer_page(transfer, command->prp1);

    if (status || transfer->at == transfer->size) {
        return status;
    }
    if (transfer->size - transfer->at <= NVME_PAGE) {
        return transfer_page(transfer, command->prp2);
    }
    return transfer_list(transfer, command->prp2);
}

int nvme_data_to_guest(NvmeDevice *device, const NvmeCommand *command,
                       size_t size)
{
    NvmeTransfer transfer = {
        .device = device, .to_guest = true, .size = size,
    };

    return transfer_all(&transfer, command);
}

int nvme_data_from_guest(NvmeDevice *device, const NvmeCommand *command,
                         size_t size)
{
    NvmeTransfer transfer = { .device = device, .size = size };

    return transfer_all(&transfer, command);
}
