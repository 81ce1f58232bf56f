/*
 * vfio-user device: the VFIODeviceIOOps of hw/vfio as requests to the server.
 * Here, and only here, an Error becomes the -errno that hw/vfio expects.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/units.h"
#include "device-internal.h"
#include "trace.h"

int vfio_user_device_errno(int ret)
{
    if (ret == -EAGAIN || ret == -EINTR) {
        ret = -EIO;
    }
    errno = -ret;
    return ret;
}

void vfio_user_device_tell_lost(VFIOUserDevice *device, VFIODevice *vbasedev,
                                const Error *reason)
{
    if (!device->told_lost) {
        device->told_lost = true;
        error_report("%s: lost: %s", vbasedev->name,
                     error_get_pretty(reason));
    }
}

void vfio_user_device_report(VFIOUserDevice *device, Error *err)
{
    if (!err || device->quiet ||
        vfio_user_session_is_dead(device->session)) {
        error_free(err);
    } else {
        error_report_err(err);
    }
}

void vfio_user_device_fail_migration(VFIODevice *vbasedev, int ret,
                                     const Error *err)
{
    Error *reason = NULL;

    error_setg(&reason, "%s: %s", vbasedev->name, error_get_pretty(err));
    vfio_migration_abort(ret, reason);
    error_free(reason);
}

int vfio_user_device_fail(VFIOUserDevice *device, int ret, Error *err)
{
    vfio_user_device_report(device, err);
    return vfio_user_device_errno(ret);
}

int vfio_user_device_protocol_error(VFIOUserDevice *device, uint16_t command,
                                    Error **errp)
{
    ERRP_GUARD();

    error_prepend(errp, "%s: ", vfio_user_command_name(command));
    vfio_user_session_kill(device->session, *errp);
    *errp = error_copy(vfio_user_session_reason(device->session));
    return -EPROTO;
}

const VFIOUserRegion *vfio_user_device_region(VFIOUserDevice *device,
                                              off_t off, size_t size,
                                              uint64_t *region_off)
{
    uint64_t nr = (uint64_t)off >> VFIO_USER_REGION_SHIFT;
    const VFIOUserRegion *region;

    if (nr >= device->num_regions) {
        return NULL;
    }
    region = &device->regions[nr];
    *region_off = off & MAKE_64BIT_MASK(0, VFIO_USER_REGION_SHIFT);
    if (*region_off > region->desc.size ||
        size > region->desc.size - *region_off) {
        return NULL;
    }
    return region;
}

static int vfio_user_device_get_region_info(VFIODevice *vbasedev,
                                            struct vfio_region_info *info)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    g_autofree struct vfio_region_info *full = NULL;
    uint32_t room = info->argsz;

    if (info->index >= device->num_regions || room < sizeof(*info)) {
        return vfio_user_device_errno(-EINVAL);
    }
    full = vfio_user_wire_build_region_info(
        &device->regions[info->index].desc,
        (uint64_t)info->index << VFIO_USER_REGION_SHIFT);
    memcpy(info, full, MIN(room, full->argsz));
    if (room < full->argsz) {
        info->cap_offset = 0;
    }
    return 0;
}

static int vfio_user_device_get_irq_info(VFIODevice *vbasedev,
                                         struct vfio_irq_info *info)
{
    VFIOUserDevice *device = vbasedev->io_opaque;

    if (info->index >= device->num_irqs) {
        return vfio_user_device_errno(-EINVAL);
    }
    info->flags = device->irqs[info->index].flags;
    info->count = device->irqs[info->index].count;
    return 0;
}

/* Memory first: an interrupt may make the guest's driver look there. */
static void vfio_user_device_resumed(VFIODevice *vbasedev)
{
    VFIOUserDevice *device = vbasedev->io_opaque;

    if (device->resume_dma) {
        device->resume_dma(vbasedev);
    }
    vfio_user_late_irqs_replay(device, vfio_user_device_tell_late_irqs);
}

/* The fd that area @i of @region lies in, or -1. */
static int vfio_user_device_area_fd(const VFIOUserRegion *region, uint32_t i)
{
    if (region->num_fds == 1) {
        return region->fds[0];
    }
    return i < region->num_fds ? region->fds[i] : -1;
}

/* Does @fd hold @size bytes at @offset, so that no access goes past its end */
static bool vfio_user_device_fd_holds(int fd, uint64_t offset, uint64_t size)
{
    struct stat st;

    return fd >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) &&
           st.st_size >= 0 && offset <= st.st_size &&
           size <= st.st_size - offset;
}

static void *vfio_user_device_region_mmap(VFIODevice *vbasedev, off_t off,
                                          size_t size, int prot)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    const VFIOUserRegion *region;
    uint64_t offset, file_offset;
    void *mapped;
    uint32_t i;
    int fd = -1;

    region = vfio_user_device_region(device, off, size, &offset);
    if (region && !region->desc.has_sparse) {
        fd = vfio_user_device_area_fd(region, 0);
    }
    for (i = 0; region && i < region->desc.nr_areas; i++) {
        const VFIOUserSparseArea *area = &region->desc.areas[i];

        if (offset >= area->offset && offset - area->offset < area->size &&
            size <= area->size - (offset - area->offset)) {
            fd = vfio_user_device_area_fd(region, i);
            break;
        }
    }
    if (fd < 0) {
        errno = ENODEV;
        return MAP_FAILED;
    }
    file_offset = region->desc.offset + offset;
    if (!vfio_user_device_fd_holds(fd, file_offset, size)) {
        errno = ENXIO;
        return MAP_FAILED;
    }
    mapped = mmap(NULL, size, prot, MAP_SHARED, fd, file_offset);
    if (mapped != MAP_FAILED &&
        !vfio_user_mapped_add(device, region->desc.index, mapped, size)) {
        munmap(mapped, size);
        errno = ENOSPC;
        return MAP_FAILED;
    }
    return mapped;
}

static void vfio_user_device_save_begin(VFIODevice *vbasedev)
{
    VFIOUserDevice *device = vbasedev->io_opaque;

    if (device->ask_dirty) {
        device->ask_dirty(vbasedev);
    }
}

static int vfio_user_device_reset(VFIODevice *vbasedev)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    VFIOUserCall call = {
        .command = VFIO_USER_DEVICE_RESET,
        .deadline = VFIO_USER_DEADLINE_STATE,
    };
    Error *err = NULL;
    int ret;

    if (vfio_user_session_is_dead(device->session)) {
        return 0;
    }
    ret = vfio_user_session_call(device->session, &call, &err);
    vfio_user_msg_free(call.reply);
    trace_vfio_user_reset(vbasedev->name, ret);
    if (vfio_user_session_is_dead(device->session)) {
        /* there is nothing any more that could be reset */
        error_free(err);
        return 0;
    }
    return ret ? vfio_user_device_fail(device, ret, err) : 0;
}

const VFIODeviceIOOps vfio_user_device_io_ops = {
    .get_region_info = vfio_user_device_get_region_info,
    .get_irq_info = vfio_user_device_get_irq_info,
    .set_irqs = vfio_user_device_set_irqs,
    .region_read = vfio_user_device_region_read,
    .region_write = vfio_user_device_region_write,
    .registers_read = vfio_user_device_registers_read,
    .data_read = vfio_user_device_data_read,
    .data_write = vfio_user_device_data_write,
    .region_mmap = vfio_user_device_region_mmap,
    .region_munmap = vfio_user_device_region_munmap,
    .check_mapped = vfio_user_device_check_mapped,
    .save_identity = vfio_user_device_save_identity,
    .load_identity = vfio_user_device_load_identity,
    .save_begin = vfio_user_device_save_begin,
    .device_reset = vfio_user_device_reset,
    .device_resumed = vfio_user_device_resumed,
};
