/*
 * Numbers and names of the vfio-user protocol and of the mock's device, typed
 * from the specification's tables.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VFIO_USER_MOCK_NUMBERS_H
#define VFIO_USER_MOCK_NUMBERS_H

#include <stdint.h>

typedef enum MockCommand {
    MOCK_VERSION = 1,
    MOCK_DMA_MAP = 2,
    MOCK_DMA_UNMAP = 3,
    MOCK_DEVICE_GET_INFO = 4,
    MOCK_DEVICE_GET_REGION_INFO = 5,
    MOCK_DEVICE_GET_REGION_IO_FDS = 6,
    MOCK_DEVICE_GET_IRQ_INFO = 7,
    MOCK_DEVICE_SET_IRQS = 8,
    MOCK_REGION_READ = 9,
    MOCK_REGION_WRITE = 10,
    MOCK_DMA_READ = 11,
    MOCK_DMA_WRITE = 12,
    MOCK_DEVICE_RESET = 13,
    MOCK_DIRTY_PAGES = 14,
} MockCommand;

enum {
    MOCK_REGION_BAR0 = 0,
    MOCK_REGION_BAR2 = 2,
    MOCK_REGION_BAR4 = 4,
    MOCK_REGION_CONFIG = 7,
    MOCK_REGION_MIGRATION = 9,
    MOCK_NUM_REGIONS = 10,
};

enum {
    MOCK_IRQ_INTX,
    MOCK_IRQ_MSI,
    MOCK_IRQ_MSIX,
    MOCK_IRQ_ERR,
    MOCK_IRQ_REQ,
    MOCK_NUM_IRQS,
};

/* device_state of migration protocol v1 */
enum {
    MOCK_STATE_STOP = 0,
    MOCK_STATE_RUNNING = 1,
    MOCK_STATE_STOP_COPY = 2,
    MOCK_STATE_PRE_COPY = 3,
    MOCK_STATE_RESUMING = 4,
    MOCK_STATE_ERROR = 6,
};

/* Registers of the migration region; its data area starts at MOCK_MIG_DATA */
enum {
    MOCK_MIG_DEVICE_STATE = 0,
    MOCK_MIG_PENDING_BYTES = 8,
    MOCK_MIG_DATA_OFFSET = 16,
    MOCK_MIG_DATA_SIZE = 24,
    MOCK_MIG_DATA = 0x1000,
};

/*
 * BAR0: little endian, accesses of 1, 2, 4 or 8 bytes, naturally aligned.
 * What is not listed reads as zero and ignores writes. The scratch registers
 * and DMA_ADDR, DMA_LENGTH, DMA_PATTERN move with the device's data.
 *
 * DMA: set address (an IOVA), length and pattern, then write DMA_DOORBELL:
 *   1  fill the range with the low byte of DMA_PATTERN and log it as dirty
 *   2  read the range; DMA_RESULT becomes the sum of its bytes (mod 2^32)
 * plus MOCK_DMA_BY_MESSAGE to do it with DMA_WRITE or DMA_READ messages, which
 * is also what happens where the range has no file descriptor. DMA_STATUS is 0
 * or an errno, valid once the write of the doorbell has been answered.
 */
enum {
    MOCK_BAR0_ID = 0x00,            /* RO, 4 bytes: MOCK_BAR0_ID_VALUE */
    MOCK_BAR0_RESETS = 0x04,        /* RO, 4 bytes: number of resets */
    MOCK_BAR0_DMA_STATUS = 0x08,    /* RO, 4 bytes: errno of the last DMA */
    MOCK_BAR0_IRQ_TRIGGER = 0x0c,   /* WO, 4 bytes: vector to raise */
    MOCK_BAR0_DMA_ADDR = 0x10,      /* RW, 8 bytes */
    MOCK_BAR0_DMA_LENGTH = 0x18,    /* RW, 4 bytes; at most 16 MiB */
    MOCK_BAR0_DMA_PATTERN = 0x1c,   /* RW, 4 bytes */
    MOCK_BAR0_DMA_DOORBELL = 0x20,  /* WO, 4 bytes */
    MOCK_BAR0_DMA_RESULT = 0x24,    /* RO, 4 bytes */
    MOCK_BAR0_INTX_STATUS = 0x28,   /* RW, 4 bytes: bit 0 asserted; 1 clears */
    MOCK_BAR0_SCRATCH = 0x80,       /* RW, 16 registers of 8 bytes */
    MOCK_BAR0_END = 0x100,
};

#define MOCK_BAR0_ID_VALUE 0x4b434f4du
#define MOCK_NUM_SCRATCH 16
#define MOCK_DMA_FILL 1u
#define MOCK_DMA_SUM 2u
#define MOCK_DMA_BY_MESSAGE 0x100u

#define MOCK_PCI_VENDOR_ID 0x4d4b
#define MOCK_PCI_DEVICE_ID 0x7fe5
#define MOCK_PCI_SUBSYSTEM_VENDOR_ID 0x4d4b
#define MOCK_PCI_SUBSYSTEM_ID 0x0001
#define MOCK_PCI_CLASS 0x00ff00
#define MOCK_MSIX_VECTORS 4

/* Names; never NULL for a command or state (unknown ones are numbered). */
const char *mock_command_name(uint16_t command);
const char *mock_state_name(uint32_t device_state);

#endif /* VFIO_USER_MOCK_NUMBERS_H */
