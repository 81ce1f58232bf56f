/*
 * The registers of a PCI-IDIO-16 (16 outputs, 16 inputs, an interrupt when an
 * input changes), with a cable from each output to the input of its number.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef IDIO_DEVICE_H
#define IDIO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDIO_LINES 16
#define IDIO_BAR_SIZE 0x100

/* Behind the card's registers: how often each line changed, 8 bytes each */
#define IDIO_CHANGES_OFFSET 0x10

/* The registers, unused bytes up to a block's end, the changes */
#define IDIO_BLOCK_SIZE 32
#define IDIO_IMAGE_SIZE (IDIO_BLOCK_SIZE + IDIO_LINES * 8)

typedef struct IdioDevice {
    uint16_t outputs;
    bool irq_enabled;
    uint8_t irq_status;
    uint8_t filters;
    uint64_t changes[IDIO_LINES];
} IdioDevice;

/* As after power on: outputs off, interrupts disabled. */
void idio_device_reset(IdioDevice *device);

/* A byte of the BAR; the read of some enables something, as on the card. */
uint8_t idio_device_read(IdioDevice *device, size_t offset);
void idio_device_write(IdioDevice *device, size_t offset, uint8_t value);

/* Does the card pull its interrupt line? */
bool idio_device_interrupts(const IdioDevice *device);

/* How often lines have changed, all together. */
uint64_t idio_device_changes(const IdioDevice *device);

/* All of its state as bytes, the same on every host. */
void idio_device_save(const IdioDevice *device,
                      uint8_t image[IDIO_IMAGE_SIZE]);

/* False, and @device is as it was, for an image that no card could give. */
bool idio_device_load(IdioDevice *device,
                      const uint8_t image[IDIO_IMAGE_SIZE]);

#endif /* IDIO_DEVICE_H */
