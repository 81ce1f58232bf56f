/*
 * The registers of a PCI-IDIO-16, by the card's manual.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "idio-device.h"
#include <string.h>

enum {
    REG_OUTPUTS_LOW = 0,
    REG_INPUTS_LOW = 1,         /* write: clear the interrupt */
    REG_IRQ_CONTROL = 2,        /* read: enable interrupts, write: disable */
    REG_FILTER_CONTROL = 3,     /* read: filter all inputs, write: none */
    REG_OUTPUTS_HIGH = 4,
    REG_INPUTS_HIGH = 5,
    REG_IRQ_STATUS = 6,
    REG_FILTERS = 7,
};

/* What REG_IRQ_STATUS holds */
#define STATUS_LOW 1            /* an input of the lower eight has changed */
#define STATUS_HIGH 2
#define STATUS_PENDING 4

/* Where things are in an image; what is between is zero */
enum {
    IMAGE_OUTPUTS = 0,
    IMAGE_IRQ_ENABLED = 2,
    IMAGE_IRQ_STATUS = 3,
    IMAGE_FILTERS = 4,
    IMAGE_UNUSED = 5,
    IMAGE_CHANGES = IDIO_BLOCK_SIZE,
};

void idio_device_reset(IdioDevice *device)
{
    memset(device, 0, sizeof(*device));
}

static uint8_t idio_changes_byte(const IdioDevice *device, size_t offset)
{
    return device->changes[offset / 8] >> offset % 8 * 8;
}

uint8_t idio_device_read(IdioDevice *device, size_t offset)
{
    switch (offset) {
    case REG_OUTPUTS_LOW:
    case REG_INPUTS_LOW:
        return device->outputs;
    case REG_OUTPUTS_HIGH:
    case REG_INPUTS_HIGH:
        return device->outputs >> 8;
    case REG_IRQ_CONTROL:
        device->irq_enabled = true;
        return 0;
    case REG_FILTER_CONTROL:
        device->filters = 0xff;
        return 0;
    case REG_IRQ_STATUS:
        return device->irq_status;
    case REG_FILTERS:
        return device->filters;
    case IDIO_CHANGES_OFFSET ... IDIO_CHANGES_OFFSET + IDIO_LINES * 8 - 1:
        return idio_changes_byte(device, offset - IDIO_CHANGES_OFFSET);
    default:
        return 0xff;
    }
}

/* The inputs follow at once; filters are too fast to be seen. */
static void idio_set_outputs(IdioDevice *device, uint16_t outputs)
{
    uint16_t changed = device->outputs ^ outputs;
    unsigned line;

    device->outputs = outputs;
    for (line = 0; line < IDIO_LINES; line++) {
        device->changes[line] += changed >> line & 1;
    }
    if (changed && device->irq_enabled) {
        device->irq_status |= STATUS_PENDING |
                              (changed & 0xff ? STATUS_LOW : 0) |
                              (changed >> 8 ? STATUS_HIGH : 0);
    }
}

void idio_device_write(IdioDevice *device, size_t offset, uint8_t value)
{
    switch (offset) {
    case REG_OUTPUTS_LOW:
        idio_set_outputs(device, (device->outputs & 0xff00) | value);
        break;
    case REG_OUTPUTS_HIGH:
        idio_set_outputs(device, (device->outputs & 0x00ff) | value << 8);
        break;
    case REG_INPUTS_LOW:
        device->irq_status = 0;
        break;
    case REG_IRQ_CONTROL:
        device->irq_enabled = false;
        break;
    case REG_FILTER_CONTROL:
        device->filters = 0;
        break;
    case REG_FILTERS:
        device->filters = value;
        break;
    default:
        break;
    }
}

bool idio_device_interrupts(const IdioDevice *device)
{
    return device->irq_enabled && device->irq_status;
}

uint64_t idio_device_changes(const IdioDevice *device)
{
    uint64_t sum = 0;
    unsigned line;

    for (line = 0; line < IDIO_LINES; line++) {
        sum += device->changes[line];
    }
    return sum;
}

void idio_device_save(const IdioDevice *device,
                      uint8_t image[IDIO_IMAGE_SIZE])
{
    size_t i;

    memset(image, 0, IDIO_IMAGE_SIZE);
    image[IMAGE_OUTPUTS] = device->outputs;
    image[IMAGE_OUTPUTS + 1] = device->outputs >> 8;
    image[IMAGE_IRQ_ENABLED] = device->irq_enabled;
    image[IMAGE_IRQ_STATUS] = device->irq_status;
    image[IMAGE_FILTERS] = device->filters;
    for (i = 0; i < IDIO_LINES * 8; i++) {
        image[IMAGE_CHANGES + i] = idio_changes_byte(device, i);
    }
}

/* Pending if, and only if, some input has changed; and nothing else. */
static bool idio_status_is_valid(uint8_t status)
{
    return !status || (status > STATUS_PENDING &&
                       status <= (STATUS_PENDING | STATUS_LOW | STATUS_HIGH));
}

bool idio_device_load(IdioDevice *device,
                      const uint8_t image[IDIO_IMAGE_SIZE])
{
    IdioDevice loaded = { 0 };
    size_t i;

    loaded.outputs = image[IMAGE_OUTPUTS] | image[IMAGE_OUTPUTS + 1] << 8;
    loaded.irq_enabled = image[IMAGE_IRQ_ENABLED];
    loaded.irq_status = image[IMAGE_IRQ_STATUS];
    loaded.filters = image[IMAGE_FILTERS];
    for (i = 0; i < IDIO_LINES * 8; i++) {
        loaded.changes[i / 8] |=
            (uint64_t)image[IMAGE_CHANGES + i] << i % 8 * 8;
    }
    if (image[IMAGE_IRQ_ENABLED] > 1 ||
        !idio_status_is_valid(loaded.irq_status)) {
        return false;
    }
    for (i = IMAGE_UNUSED; i < IDIO_BLOCK_SIZE; i++) {
        if (image[i]) {
            return false;
        }
    }
    /* All lines were off at first: an odd number of changes turns one on */
    for (i = 0; i < IDIO_LINES; i++) {
        if ((loaded.changes[i] & 1) != (loaded.outputs >> i & 1)) {
            return false;
        }
    }
    *device = loaded;
    return true;
}
