/*
 * The admin commands of the NVMe controller.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "nvme-device.h"
#include <string.h>

#define SET_NUMBER(data, offset, value) do {                    \
        __typeof__(value) number = (value);                     \
        memcpy((data) + (offset), &number, sizeof(number));     \
    } while (0)

/* The same for ever: Linux does not take a disk back that has become another */
static const uint8_t uuid[16] = {
    0x5f, 0x0e, 0x3b, 0x52, 0x9d, 0x41, 0x4c, 0x0a,
    0x8e, 0x77, 0x21, 0xd4, 0x6a, 0x90, 0xb3, 0x1c,
};

static void set_text(uint8_t *data, size_t size, const char *text)
{
    memset(data, ' ', size);
    memcpy(data, text, strlen(text));
}

static void identify_controller(uint8_t *data)
{
    set_text(&data[4], 20, "1");                        /* serial number */
    set_text(&data[24], 40, "vfio-user test controller");
    set_text(&data[64], 8, "1");                        /* firmware */
    data[77] = NVME_DATA_SHIFT;
    SET_NUMBER(data, 80, (uint32_t)NVME_VERSION);
    data[111] = 1;              /* a controller for I/O */
    data[259] = NVME_EVENTS - 1;
    data[260] = 1 | 1 << 1;     /* one firmware slot, which is read-only */
    data[512] = 0x66;           /* sizes of entries, powers of two */
    data[513] = 0x44;
    SET_NUMBER(data, 516, (uint32_t)NVME_NAMESPACE);
    data[525] = 1;              /* there is a cache that can be flushed */
    strcpy((char *)&data[768], "nqn.2014-08.org.nvmexpress:uuid:"
           "5f0e3b52-9d41-4c0a-8e77-21d46a90b31c");
}

static void identify_namespace(const NvmeDevice *device, uint8_t *data)
{
    SET_NUMBER(data, 0, device->blocks);                /* size */
    SET_NUMBER(data, 8, device->blocks);                /* capacity */
    SET_NUMBER(data, 16, device->blocks);               /* in use */
    data[130] = NVME_BLOCK_SHIFT;       /* of the first format, the only one */
}

static void identify_descriptors(uint8_t *data)
{
    data[0] = 3;                /* a UUID */
    data[1] = sizeof(uuid);
    memcpy(&data[4], uuid, sizeof(uuid));
}

static int nvme_identify(NvmeDevice *device, const NvmeCommand *command)
{
    uint8_t *data = device->data;
    uint32_t namespace = command->namespace;

    memset(data, 0, NVME_PAGE);
    switch (command->dw10 & 0xff) {
    case NVME_IDENTIFY_CONTROLLER:
        identify_controller(data);
        break;
    case NVME_IDENTIFY_LIST:
        if (namespace < NVME_NAMESPACE) {
            SET_NUMBER(data, 0, (uint32_t)NVME_NAMESPACE);
        }
        break;
    case NVME_IDENTIFY_NAMESPACE:
    case NVME_IDENTIFY_DESCRIPTORS:
        if (namespace != NVME_NAMESPACE) {
            return NVME_INVALID_NAMESPACE;
        }
        if ((command->dw10 & 0xff) == NVME_IDENTIFY_NAMESPACE) {
            identify_namespace(device, data);
        } else {
            identify_descriptors(data);
        }
        break;
    default:
        return NVME_INVALID_FIELD;
    }
    return nvme_data_to_guest(device, command, NVME_PAGE);
}

/* Nothing has ever gone wrong. */
static int nvme_get_log_page(NvmeDevice *device, const NvmeCommand *command)
{
    uint64_t size = ((uint64_t)(command->dw11 & 0xffff) << 16 |
                     command->dw10 >> 16) * 4 + 4;

    switch (command->dw10 & 0xff) {
    case NVME_LOG_ERRORS:
    case NVME_LOG_HEALTH:
    case NVME_LOG_FIRMWARE:
        break;
    default:
        return NVME_INVALID_LOG_PAGE;
    }
    if (size > NVME_DATA_SIZE) {
        return NVME_INVALID_FIELD;
    }
    memset(device->data, 0, size);
    return nvme_data_to_guest(device, command, size);
}

static int nvme_feature(NvmeDevice *device, const NvmeCommand *command,
                        uint32_t *result)
{
    unsigned id = command->dw10 & 0xff;

    if (!id || id >= NVME_FEATURES || id == NVME_FEATURE_LBA_RANGES) {
        return NVME_INVALID_FIELD;
    }
    if (command->opcode == NVME_ADMIN_SET_FEATURES) {
        device->state.features[id] = command->dw11;
    }
    *result = device->state.features[id];
    if (id == NVME_FEATURE_QUEUES) {
        /* Those for I/O, of each kind, less one */
        *result = (NVME_QUEUES - 2) << 16 | (NVME_QUEUES - 2);
    }
    return NVME_SUCCESS;
}

/* Nothing ever happens; the guest gets its commands back by a reset. */
static int nvme_hold_event(NvmeState *state, const NvmeCommand *command)
{
    if (state->event_count == NVME_EVENTS) {
        return NVME_TOO_MANY_EVENTS;
    }
    state->events[state->event_count++] = command->id;
    return NVME_HELD;
}

int nvme_admin_execute(NvmeDevice *device, const NvmeCommand *command,
                       uint32_t *result)
{
    if (command->flags) {
        return NVME_INVALID_FIELD;      /* fused, or scatter-gather lists */
    }
    switch (command->opcode) {
    case NVME_ADMIN_DELETE_SQ:
        return nvme_queues_delete_sq(device, command);
    case NVME_ADMIN_CREATE_SQ:
        return nvme_queues_create_sq(device, command);
    case NVME_ADMIN_DELETE_CQ:
        return nvme_queues_delete_cq(device, command);
    case NVME_ADMIN_CREATE_CQ:
        return nvme_queues_create_cq(device, command);
    case NVME_ADMIN_GET_LOG_PAGE:
        return nvme_get_log_page(device, command);
    case NVME_ADMIN_IDENTIFY:
        return nvme_identify(device, command);
    case NVME_ADMIN_ABORT:
        *result = 1;            /* not aborted: it has been carried out */
        return NVME_SUCCESS;
    case NVME_ADMIN_SET_FEATURES:
    case NVME_ADMIN_GET_FEATURES:
        return nvme_feature(device, command, result);
    case NVME_ADMIN_ASYNC_EVENT:
        return nvme_hold_event(&device->state, command);
    default:
        return NVME_INVALID_OPCODE;
    }
}
