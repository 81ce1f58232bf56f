/*
 * The commands of the NVMe controller that read and write its namespace.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "nvme-device.h"
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

bool nvme_io_flush(NvmeDevice *device)
{
    return fdatasync(device->file) == 0;
}

static bool write_file(NvmeDevice *device, off_t offset, size_t size)
{
    return pwrite(device->file, device->data, size, offset) == (ssize_t)size;
}

static int nvme_write(NvmeDevice *device, const NvmeCommand *command,
                      off_t offset, size_t size)
{
    int status = nvme_data_from_guest(device, command, size);

    if (status) {
        return status;
    }
    if (++device->writes == device->fatal_write) {
        write_file(device, offset, size / 2);
        raise(SIGKILL);
    }
    return write_file(device, offset, size) ? NVME_SUCCESS :
                                              NVME_INTERNAL_ERROR;
}

static int nvme_read(NvmeDevice *device, const NvmeCommand *command,
                     off_t offset, size_t size)
{
    if (pread(device->file, device->data, size, offset) != (ssize_t)size) {
        return NVME_INTERNAL_ERROR;
    }
    return nvme_data_to_guest(device, command, size);
}

static int nvme_read_or_write(NvmeDevice *device, const NvmeCommand *command)
{
    uint64_t block = command->dw10 | (uint64_t)command->dw11 << 32;
    uint32_t count = (command->dw12 & 0xffff) + 1;
    size_t size = (size_t)count << NVME_BLOCK_SHIFT;

    if (command->namespace != NVME_NAMESPACE) {
        return NVME_INVALID_NAMESPACE;
    }
    if (size > NVME_DATA_SIZE) {
        return NVME_INVALID_FIELD;
    }
    if (count > device->blocks || block > device->blocks - count) {
        return NVME_LBA_OUT_OF_RANGE;
    }
    return command->opcode == NVME_IO_WRITE ?
           nvme_write(device, command, block << NVME_BLOCK_SHIFT, size) :
           nvme_read(device, command, block << NVME_BLOCK_SHIFT, size);
}

int nvme_io_execute(NvmeDevice *device, const NvmeCommand *command)
{
    if (command->flags) {
        return NVME_INVALID_FIELD;      /* fused, or scatter-gather lists */
    }
    switch (command->opcode) {
    case NVME_IO_FLUSH:
        if (command->namespace != NVME_NAMESPACE &&
            command->namespace != NVME_ALL_NAMESPACES) {
            return NVME_INVALID_NAMESPACE;
        }
        return nvme_io_flush(device) ? NVME_SUCCESS : NVME_INTERNAL_ERROR;
    case NVME_IO_READ:
    case NVME_IO_WRITE:
        return nvme_read_or_write(device, command);
    default:
        return NVME_INVALID_OPCODE;
    }
}
