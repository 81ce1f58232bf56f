/*
 * Device data on its way between a device's migration region and the
 * migration stream.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <linux/vfio.h>
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/units.h"
#include "hw/vfio/migration-data.h"
#include "hw/vfio/vfio-common.h"
#include "migration/qemu-file.h"
#include "sysemu/runstate.h"

/* What a backend without data_read and data_write gets at a time */
#define MAX_PIECE (1 * MiB)

/* One end of a transfer: the stream, and whether it was what failed */
typedef struct DataStream {
    VFIODevice *vbasedev;
    QEMUFile *f;
    int error;
} DataStream;

/*
 * Where @offset of @region is mapped, or NULL.  *@size shrinks to how much
 * from there on is of the same kind.
 */
static void *data_find_mapped(const VFIORegion *region, uint64_t offset,
                              uint64_t *size)
{
    uint32_t i;

    for (i = 0; region->mmaps && i < region->nr_mmaps; i++) {
        const VFIOMmap *map = &region->mmaps[i];

        if (!map->mmap) {
            continue;
        }
        if (offset >= map->offset && offset - map->offset < map->size) {
            *size = MIN(*size, map->offset + map->size - offset);
            return (uint8_t *)map->mmap + (offset - map->offset);
        }
        if (map->offset > offset) {
            *size = MIN(*size, map->offset - offset);
        }
    }
    return NULL;
}

static int data_put(void *opaque, const void *data, size_t size)
{
    DataStream *stream = opaque;

    qemu_put_buffer_async(stream->f, data, size, false);
    qemu_fflush(stream->f);
    stream->error = qemu_file_get_error(stream->f);
    return stream->error;
}

static int data_get(void *opaque, void *data, size_t size)
{
    DataStream *stream = opaque;

    if (qemu_get_buffer(stream->f, data, size) != size) {
        error_report("%s: device data ends early", stream->vbasedev->name);
        stream->error = -EINVAL;
    }
    return stream->error;
}

/* Without the backend's help: piece by piece, by way of memory. */
static int data_move(DataStream *stream, off_t off, uint64_t size, bool save)
{
    VFIODevice *vbasedev = stream->vbasedev;
    uint64_t most = MIN(size, MAX_PIECE);
    g_autofree void *data = g_try_malloc(most);
    uint64_t done, piece;

    if (!data) {
        return -ENOMEM;
    }
    for (done = 0; done < size; done += piece) {
        ssize_t ret;

        piece = MIN(size - done, most);
        if (!save && data_get(stream, data, piece)) {
            return stream->error;
        }
        ret = save ? vbasedev->io_ops->region_read(vbasedev, off + done, piece,
                                                   data) :
                     vbasedev->io_ops->region_write(vbasedev, off + done,
                                                    piece, data, false);
        if (ret != piece) {
            return ret < 0 ? ret : -EINVAL;
        }
        if (save && data_put(stream, data, piece)) {
            return stream->error;
        }
    }
    return 0;
}

VFIODevice *vfio_migration_data_begin(VFIODevice *vbasedev)
{
    VFIOMigrationControl *control = &vbasedev->migration->control;
    /* savevm does this in the main loop, which then answers nobody anyway */
    bool without_bql = runstate_check(RUN_STATE_FINISH_MIGRATE);

    if (without_bql) {
        qemu_system_hold_reset(true);
        qemu_mutex_unlock_iothread();
    }
    qemu_mutex_lock(&control->data_lock);
    control->without_bql = without_bql;
    if (vbasedev->io_ops->save_begin) {
        vbasedev->io_ops->save_begin(vbasedev);
    }
    return vbasedev;
}

void vfio_migration_data_end(VFIODevice *vbasedev)
{
    VFIOMigrationControl *control = &vbasedev->migration->control;
    bool without_bql = control->without_bql;

    qemu_mutex_unlock(&control->data_lock);
    if (without_bql) {
        qemu_mutex_lock_iothread();
    }
}

int vfio_migration_next_chunk(VFIODevice *vbasedev, uint64_t *offset,
                              uint64_t *size)
{
    const off_t base = vbasedev->migration->region.fd_offset;
    const off_t offs[] = {
        base + offsetof(struct vfio_device_migration_info, data_offset),
        base + offsetof(struct vfio_device_migration_info, data_size),
    };
    const VFIODeviceIOOps *io_ops = vbasedev->io_ops;
    uint64_t values[ARRAY_SIZE(offs)] = { };
    unsigned int failed = 0;
    ssize_t ret = 0;

    if (io_ops->registers_read) {
        ret = io_ops->registers_read(vbasedev, offs, values, ARRAY_SIZE(offs),
                                     &failed);
    } else {
        for (unsigned int i = 0; i < ARRAY_SIZE(offs) && !ret; i++) {
            failed = i;
            ret = io_ops->region_read(vbasedev, offs[i], sizeof(values[i]),
                                      &values[i]);
            ret = ret == sizeof(values[i]) ? 0 : ret < 0 ? ret : -EINVAL;
        }
    }
    if (ret) {
        vfio_migration_fail(vbasedev, offs[failed] - base, ret, "read failed");
        return ret;
    }
    *offset = values[0];
    *size = values[1];
    return 0;
}

static int data_transfer(VFIODevice *vbasedev, QEMUFile *f, uint64_t offset,
                         uint64_t size, bool save)
{
    const VFIORegion *region = &vbasedev->migration->region;
    const VFIODeviceIOOps *io_ops = vbasedev->io_ops;
    DataStream stream = { .vbasedev = vbasedev, .f = f };
    uint64_t part;
    int ret = 0;

    for (; size && !ret; offset += part, size -= part) {
        off_t off = region->fd_offset + offset;
        void *mapped;

        part = size;
        mapped = data_find_mapped(region, offset, &part);
        if (mapped && io_ops->check_mapped) {
            ret = io_ops->check_mapped(vbasedev, mapped, part);
        }
        if (ret) {
            break;
        }
        if (mapped) {
            ret = save ? data_put(&stream, mapped, part) :
                         data_get(&stream, mapped, part);
        } else if (save && io_ops->data_read) {
            ret = io_ops->data_read(vbasedev, off, part, data_put, &stream);
        } else if (!save && io_ops->data_write) {
            ret = io_ops->data_write(vbasedev, off, part, data_get, &stream);
        } else {
            ret = data_move(&stream, off, part, save);
        }
    }
    if (ret && !stream.error) {
        vfio_migration_fail(vbasedev, offset, ret,
                            save ? "read failed" : "write failed");
    }
    return ret;
}

int vfio_migration_save_data(VFIODevice *vbasedev, QEMUFile *f,
                             uint64_t offset, uint64_t size)
{
    return data_transfer(vbasedev, f, offset, size, true);
}

int vfio_migration_load_data(VFIODevice *vbasedev, QEMUFile *f,
                             uint64_t offset, uint64_t size)
{
    return data_transfer(vbasedev, f, offset, size, false);
}
