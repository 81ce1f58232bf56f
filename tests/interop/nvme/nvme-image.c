/*
 * The NVMe controller's state as one chunk of migration data.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "nvme-image.h"
#include <string.h>

#define MAGIC 0x454d564e        /* "NVME" */
#define VERSION 1

/* FNV-1a of what follows the sum */
static uint32_t image_sum(const NvmeImage *image)
{
    const uint8_t *data = (const uint8_t *)&image->blocks;
    const uint8_t *end = (const uint8_t *)(image + 1);
    uint32_t sum = 2166136261u;

    while (data < end) {
        sum = (sum ^ *data++) * 16777619u;
    }
    return sum;
}

void nvme_image_save(const NvmeDevice *device, bool msix, NvmeImage *image)
{
    *image = (NvmeImage) {
        .magic = MAGIC,
        .version = VERSION,
        .size = sizeof(*image),
        .blocks = device->blocks,
        .msix = msix,
        .state = device->state,
    };
    image->sum = image_sum(image);
}

/* A queue that exists, and the two places in it */
static bool queue_is_valid(uint64_t base, uint32_t entries, uint32_t head,
                           uint32_t tail)
{
    return entries >= 2 && entries <= NVME_ENTRIES &&
           base % NVME_PAGE == 0 && head < entries && tail < entries;
}

static bool sq_is_valid(const NvmeState *state, unsigned id)
{
    static const NvmeSubmissionQueue none;
    const NvmeSubmissionQueue *sq = &state->sq[id];

    if (!sq->entries) {
        return !memcmp(sq, &none, sizeof(none));
    }
    return queue_is_valid(sq->base, sq->entries, sq->head, sq->tail) &&
           sq->completions < NVME_QUEUES && !sq->completions == !id &&
           state->cq[sq->completions].entries;
}

static bool cq_is_valid(const NvmeState *state, unsigned id)
{
    static const NvmeCompletionQueue none;
    const NvmeCompletionQueue *cq = &state->cq[id];

    if (!cq->entries) {
        return !memcmp(cq, &none, sizeof(none));
    }
    return queue_is_valid(cq->base, cq->entries, cq->head, cq->tail) &&
           cq->phase <= 1 && cq->interrupts <= 1 && cq->vector < NVME_QUEUES;
}

static bool state_is_valid(const NvmeState *state)
{
    unsigned i;

    for (i = 0; i < NVME_QUEUES; i++) {
        if (!sq_is_valid(state, i) || !cq_is_valid(state, i)) {
            return false;
        }
    }
    return state->event_count <= NVME_EVENTS &&
           !(state->csts & ~(NVME_CSTS_READY | NVME_CSTS_FATAL |
                             NVME_CSTS_SHUT_DOWN));
}

bool nvme_image_load(NvmeDevice *device, const NvmeImage *image)
{
    if (image->magic != MAGIC || image->version != VERSION ||
        image->size != sizeof(*image) || image->sum != image_sum(image) ||
        image->blocks != device->blocks || !state_is_valid(&image->state)) {
        return false;
    }
    device->state = image->state;
    return true;
}
