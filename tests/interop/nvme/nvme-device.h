/*
 * An NVMe controller with one namespace, which is a file. A command is carried
 * out when its doorbell rings, so nothing is under way between two accesses.
 *
 * Whatever the guest has written is checked where it is used.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef NVME_DEVICE_H
#define NVME_DEVICE_H

#include "nvme-spec.h"
#include <stdbool.h>
#include <stddef.h>

#define NVME_BAR_SIZE 0x2000
#define NVME_QUEUES 5           /* pairs; number 0 is for admin commands */
#define NVME_ENTRIES 1024       /* of a queue, at most */
#define NVME_EVENTS 4           /* held at a time */
#define NVME_BLOCK_SHIFT 9
#define NVME_DATA_SHIFT 9       /* of one command, in pages */
#define NVME_DATA_SIZE ((size_t)NVME_PAGE << NVME_DATA_SHIFT)

/* A command that is not to be completed now */
#define NVME_HELD (-1)

/* What is around the controller. */
typedef struct NvmeHost {
    /* Copy to or from the guest's memory; false if there is none. */
    bool (*read)(void *opaque, uint64_t address, void *data, size_t size);
    bool (*write)(void *opaque, uint64_t address, const void *data,
                  size_t size);
    void (*interrupt)(void *opaque, unsigned vector);
    void *opaque;
} NvmeHost;

/* entries is 0 for a queue that does not exist */
typedef struct NvmeSubmissionQueue {
    uint64_t base;
    uint32_t entries;
    uint32_t head;
    uint32_t tail;
    uint32_t completions;       /* number of the other queue */
} NvmeSubmissionQueue;

typedef struct NvmeCompletionQueue {
    uint64_t base;
    uint32_t entries;
    uint32_t head;
    uint32_t tail;
    uint32_t phase;
    uint32_t interrupts;        /* whether it makes some */
    uint32_t vector;
} NvmeCompletionQueue;

/* All that a guest can change */
typedef struct NvmeState {
    uint64_t asq;
    uint64_t acq;
    uint32_t aqa;
    uint32_t masks;
    uint32_t cc;
    uint32_t csts;
    NvmeSubmissionQueue sq[NVME_QUEUES];
    NvmeCompletionQueue cq[NVME_QUEUES];
    uint32_t features[NVME_FEATURES];
    uint32_t event_count;
    uint32_t events[NVME_EVENTS];       /* ids of the commands held */
} NvmeState;

typedef struct NvmeDevice {
    NvmeState state;
    bool stopped;               /* carries nothing out */
    NvmeHost host;
    int file;
    uint64_t blocks;
    long writes;                /* since the server started */
    long fatal_write;           /* the server dies in the middle of it */
    uint8_t data[NVME_DATA_SIZE];
} NvmeDevice;

/* As after power on; file, host and counts stay. */
void nvme_device_reset(NvmeDevice *device);

/* Any part of BAR 0; what is no register reads as zero. */
void nvme_device_read(const NvmeDevice *device, uint64_t offset, void *data,
                      size_t size);

/*
 * Write registers of 4 bytes each. What is no such register, or no valid
 * number of an entry, is ignored.
 */
void nvme_device_write(NvmeDevice *device, uint64_t offset, const void *data,
                       size_t size);

/*
 * Begin again after having been stopped. Interrupts whose completions the
 * guest has not taken come again, since they may have been lost.
 */
void nvme_device_run(NvmeDevice *device);

/* Internal to the controller: */

/* Make the admin queues as the registers have them; false if they cannot be. */
bool nvme_queues_enable(NvmeDevice *device);

/* A doorbell rings. */
void nvme_queues_doorbell(NvmeDevice *device, unsigned number,
                          uint32_t value);

/* Carry out all that the guest has submitted. */
void nvme_queues_process(NvmeDevice *device);

/* The four commands that make and delete queues; they return a status. */
int nvme_queues_create_sq(NvmeDevice *device, const NvmeCommand *command);
int nvme_queues_create_cq(NvmeDevice *device, const NvmeCommand *command);
int nvme_queues_delete_sq(NvmeDevice *device, const NvmeCommand *command);
int nvme_queues_delete_cq(NvmeDevice *device, const NvmeCommand *command);

/*
 * Copy the first @size bytes of the device's data to or from where the command
 * says; @size is at most NVME_DATA_SIZE. Returns a status.
 */
int nvme_data_to_guest(NvmeDevice *device, const NvmeCommand *command,
                       size_t size);
int nvme_data_from_guest(NvmeDevice *device, const NvmeCommand *command,
                         size_t size);

/* Carry a command out; returns a status, or NVME_HELD. */
int nvme_admin_execute(NvmeDevice *device, const NvmeCommand *command,
                       uint32_t *result);
int nvme_io_execute(NvmeDevice *device, const NvmeCommand *command);

/* Write to the disk what may not be there yet; false on an error. */
bool nvme_io_flush(NvmeDevice *device);

#endif /* NVME_DEVICE_H */
