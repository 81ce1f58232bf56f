/*
 * The queues of the NVMe controller: how they come and go, and how commands
 * and their completions pass through them.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "nvme-device.h"

/* A queue of at least two entries, at the begin of a page */
static bool queue_is_valid(uint64_t base, uint32_t entries)
{
    return entries >= 2 && entries <= NVME_ENTRIES && base % NVME_PAGE == 0;
}

bool nvme_queues_enable(NvmeDevice *device)
{
    NvmeState *state = &device->state;
    uint32_t submissions = (state->aqa & 0xfff) + 1;
    uint32_t completions = (state->aqa >> 16 & 0xfff) + 1;

    if (!queue_is_valid(state->asq, submissions) ||
        !queue_is_valid(state->acq, completions)) {
        return false;
    }
    state->sq[0] = (NvmeSubmissionQueue) {
        .base = state->asq,
        .entries = submissions,
    };
    state->cq[0] = (NvmeCompletionQueue) {
        .base = state->acq,
        .entries = completions,
        .phase = 1,
        .interrupts = true,
    };
    return true;
}

static uint32_t next(uint32_t index, uint32_t entries)
{
    return (index + 1) % entries;
}

void nvme_queues_doorbell(NvmeDevice *device, unsigned number,
                          uint32_t value)
{
    NvmeSubmissionQueue *sq = &device->state.sq[number / 2 % NVME_QUEUES];
    NvmeCompletionQueue *cq = &device->state.cq[number / 2 % NVME_QUEUES];

    if (number / 2 >= NVME_QUEUES) {
        return;
    }
    if (number % 2 == 0) {
        if (value < sq->entries) {
            sq->tail = value;
        }
    } else if (value < cq->entries &&
               (value + cq->entries - cq->head) % cq->entries <=
               (cq->tail + cq->entries - cq->head) % cq->entries) {
        cq->head = value;       /* no further than to the last completion */
    }
}

/* Is there a command, and room for its completion? */
static bool nvme_has_work(const NvmeDevice *device, unsigned number)
{
    const NvmeState *state = &device->state;
    const NvmeSubmissionQueue *sq = &state->sq[number];
    const NvmeCompletionQueue *cq = &state->cq[sq->completions];

    return !device->stopped && state->csts == NVME_CSTS_READY &&
           sq->head != sq->tail && next(cq->tail, cq->entries) != cq->head;
}

static void nvme_complete(NvmeDevice *device, unsigned number, uint16_t id,
                          int status, uint32_t result)
{
    NvmeState *state = &device->state;
    NvmeSubmissionQueue *sq = &state->sq[number];
    NvmeCompletionQueue *cq = &state->cq[sq->completions];
    const NvmeCompletion completion = {
        .result = result,
        .head = sq->head,
        .queue = number,
        .id = id,
        .status = status << 1 | cq->phase,
    };

    if (!device->host.write(device->host.opaque,
                            cq->base + cq->tail * sizeof(completion),
                            &completion, sizeof(completion))) {
        state->csts |= NVME_CSTS_FATAL;
        return;
    }
    cq->tail = next(cq->tail, cq->entries);
    if (!cq->tail) {
        cq->phase ^= 1;
    }
    if (cq->interrupts) {
        device->host.interrupt(device->host.opaque, cq->vector);
    }
}

static void nvme_execute_next(NvmeDevice *device, unsigned number)
{
    NvmeSubmissionQueue *sq = &device->state.sq[number];
    NvmeCommand command;
    uint32_t result = 0;
    int status;

    if (!device->host.read(device->host.opaque,
                           sq->base + sq->head * sizeof(command), &command,
                           sizeof(command))) {
        device->state.csts |= NVME_CSTS_FATAL;
        return;
    }
    sq->head = next(sq->head, sq->entries);
    status = number ? nvme_io_execute(device, &command) :
                      nvme_admin_execute(device, &command, &result);
    if (status != NVME_HELD) {
        nvme_complete(device, number, command.id, status, result);
    }
}

void nvme_queues_process(NvmeDevice *device)
{
    bool worked;
    unsigned i;

    do {
        worked = false;
        for (i = 0; i < NVME_QUEUES; i++) {
            if (nvme_has_work(device, i)) {
                nvme_execute_next(device, i);
                worked = true;
            }
        }
    } while (worked);
}

/* The id and the number of entries that a command to create a queue has */
static int nvme_check_create(const NvmeCommand *command, unsigned *id,
                             uint32_t *entries)
{
    *id = command->dw10 & 0xffff;
    *entries = (command->dw10 >> 16) + 1;
    if (!*id || *id >= NVME_QUEUES) {
        return NVME_INVALID_QUEUE_ID;
    }
    if (*entries < 2 || *entries > NVME_ENTRIES) {
        return NVME_INVALID_QUEUE_SIZE;
    }
    if (command->prp1 % NVME_PAGE) {
        return NVME_INVALID_PRP_OFFSET;
    }
    if (!(command->dw11 & NVME_CREATE_CONTIGUOUS)) {
        return NVME_INVALID_FIELD;
    }
    return NVME_SUCCESS;
}

int nvme_queues_create_cq(NvmeDevice *device, const NvmeCommand *command)
{
    uint32_t vector = command->dw11 >> 16, entries;
    unsigned id;
    int status = nvme_check_create(command, &id, &entries);

    if (status) {
        return status;
    }
    if (device->state.cq[id].entries) {
        return NVME_INVALID_QUEUE_ID;
    }
    if (vector >= NVME_QUEUES) {
        return NVME_INVALID_VECTOR;
    }
    device->state.cq[id] = (NvmeCompletionQueue) {
        .base = command->prp1,
        .entries = entries,
        .phase = 1,
        .interrupts = !!(command->dw11 & NVME_CREATE_INTERRUPTS),
        .vector = vector,
    };
    return NVME_SUCCESS;
}

int nvme_queues_create_sq(NvmeDevice *device, const NvmeCommand *command)
{
    uint32_t completions = command->dw11 >> 16, entries;
    unsigned id;
    int status = nvme_check_create(command, &id, &entries);

    if (status) {
        return status;
    }
    if (device->state.sq[id].entries) {
        return NVME_INVALID_QUEUE_ID;
    }
    if (!completions || completions >= NVME_QUEUES ||
        !device->state.cq[completions].entries) {
        return NVME_INVALID_CQ;
    }
    device->state.sq[id] = (NvmeSubmissionQueue) {
        .base = command->prp1,
        .entries = entries,
        .completions = completions,
    };
    return NVME_SUCCESS;
}

int nvme_queues_delete_sq(NvmeDevice *device, const NvmeCommand *command)
{
    unsigned id = command->dw10 & 0xffff;

    if (!id || id >= NVME_QUEUES || !device->state.sq[id].entries) {
        return NVME_INVALID_QUEUE_ID;
    }
    device->state.sq[id] = (NvmeSubmissionQueue) { 0 };
    return NVME_SUCCESS;
}

int nvme_queues_delete_cq(NvmeDevice *device, const NvmeCommand *command)
{
    unsigned id = command->dw10 & 0xffff, i;

    if (!id || id >= NVME_QUEUES || !device->state.cq[id].entries) {
        return NVME_INVALID_QUEUE_ID;
    }
    for (i = 1; i < NVME_QUEUES; i++) {
        if (device->state.sq[i].entries &&
            device->state.sq[i].completions == id) {
            return NVME_INVALID_DELETION;
        }
    }
    device->state.cq[id] = (NvmeCompletionQueue) { 0 };
    return NVME_SUCCESS;
}
