/*
 * The registers of the NVMe controller.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "nvme-device.h"
#include <string.h>

#define TIMEOUT 20              /* of enable and disable, half seconds */

static const uint64_t capabilities =
    (NVME_ENTRIES - 1) | NVME_CAP_CONTIGUOUS | NVME_CAP_NVM_COMMANDS |
    (uint64_t)TIMEOUT << NVME_CAP_TIMEOUT_SHIFT;

void nvme_device_reset(NvmeDevice *device)
{
    memset(&device->state, 0, sizeof(device->state));
}

static uint32_t nvme_register(const NvmeState *state, uint64_t offset)
{
    switch (offset) {
    case NVME_REG_CAP:
        return capabilities & 0xffffffff;
    case NVME_REG_CAP + 4:
        return capabilities >> 32;
    case NVME_REG_VS:
        return NVME_VERSION;
    case NVME_REG_INTMS:
    case NVME_REG_INTMC:
        return state->masks;
    case NVME_REG_CC:
        return state->cc;
    case NVME_REG_CSTS:
        return state->csts;
    case NVME_REG_AQA:
        return state->aqa;
    case NVME_REG_ASQ:
        return state->asq;
    case NVME_REG_ASQ + 4:
        return state->asq >> 32;
    case NVME_REG_ACQ:
        return state->acq;
    case NVME_REG_ACQ + 4:
        return state->acq >> 32;
    default:
        return 0;
    }
}

void nvme_device_read(const NvmeDevice *device, uint64_t offset, void *data,
                      size_t size)
{
    uint8_t *bytes = data;
    size_t i;

    for (i = 0; i < size; i++, offset++) {
        bytes[i] = nvme_register(&device->state, offset & ~3ull) >>
                   offset % 4 * 8;
    }
}

/* Queues and features go; where the admin queues are is kept. */
static void nvme_disable(NvmeState *state)
{
    const NvmeState before = *state;

    memset(state, 0, sizeof(*state));
    state->asq = before.asq;
    state->acq = before.acq;
    state->aqa = before.aqa;
}

static void nvme_configure(NvmeDevice *device, uint32_t value)
{
    NvmeState *state = &device->state;
    uint32_t changed = state->cc ^ value;

    if (changed & NVME_CC_ENABLE) {
        if (!(value & NVME_CC_ENABLE)) {
            nvme_disable(state);
        } else if (value & (NVME_CC_COMMAND_SET | NVME_CC_PAGE_SIZE) ||
                   !nvme_queues_enable(device)) {
            state->csts |= NVME_CSTS_FATAL;
        } else {
            state->csts |= NVME_CSTS_READY;
        }
    }
    state->cc = value;
    if (value & NVME_CC_SHUTDOWN) {
        nvme_io_flush(device);
        state->csts |= NVME_CSTS_SHUT_DOWN;
    }
}

static void set_low(uint64_t *address, uint32_t value)
{
    *address = (*address & ~0xffffffffull) | value;
}

static void set_high(uint64_t *address, uint32_t value)
{
    *address = (*address & 0xffffffffull) | (uint64_t)value << 32;
}

static void nvme_set_register(NvmeDevice *device, uint64_t offset,
                              uint32_t value)
{
    NvmeState *state = &device->state;

    switch (offset) {
    case NVME_REG_INTMS:
        state->masks |= value;
        break;
    case NVME_REG_INTMC:
        state->masks &= ~value;
        break;
    case NVME_REG_CC:
        nvme_configure(device, value);
        break;
    case NVME_REG_AQA:
        state->aqa = value;
        break;
    case NVME_REG_ASQ:
        set_low(&state->asq, value);
        break;
    case NVME_REG_ASQ + 4:
        set_high(&state->asq, value);
        break;
    case NVME_REG_ACQ:
        set_low(&state->acq, value);
        break;
    case NVME_REG_ACQ + 4:
        set_high(&state->acq, value);
        break;
    default:
        if (offset >= NVME_REG_DOORBELLS) {
            nvme_queues_doorbell(device, (offset - NVME_REG_DOORBELLS) / 4,
                                 value);
        }
        break;
    }
}

void nvme_device_write(NvmeDevice *device, uint64_t offset, const void *data,
                       size_t size)
{
    const uint8_t *bytes = data;
    uint32_t value;

    for (; offset % 4 == 0 && size >= 4; offset += 4, bytes += 4, size -= 4) {
        memcpy(&value, bytes, 4);
        nvme_set_register(device, offset, value);
    }
    nvme_queues_process(device);
}

void nvme_device_run(NvmeDevice *device)
{
    unsigned i;

    device->stopped = false;
    for (i = 0; i < NVME_QUEUES; i++) {
        NvmeCompletionQueue *cq = &device->state.cq[i];

        if (cq->interrupts && cq->head != cq->tail) {
            device->host.interrupt(device->host.opaque, cq->vector);
        }
    }
    nvme_queues_process(device);
}
