/*
 * vfio-user container: guest memory mapped for the server, now or when a
 * stopped device runs again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "container-internal.h"
#include "trace.h"

/*
 * The fd and offset that show the server the memory at @vaddr, or -1: only
 * shared memory looks the same from there as from here.
 */
static int vfio_user_container_find_fd(VFIOUserContainer *user, void *vaddr,
                                       uint64_t *fd_offset)
{
    MemoryRegion *mr;
    ram_addr_t offset;

    *fd_offset = 0;
    RCU_READ_LOCK_GUARD();
    mr = memory_region_from_host(vaddr, &offset);
    if (!mr || user->secure || !mr->ram_block ||
        !qemu_ram_is_shared(mr->ram_block) || memory_region_get_fd(mr) < 0) {
        return -1;
    }
    *fd_offset = offset;
    return memory_region_get_fd(mr);
}

/* Tell the server of @mapping. */
static int vfio_user_container_map_one(VFIOUserContainer *user,
                                       const VFIOUserMapping *mapping,
                                       Error **errp)
{
    VFIOUserDMAMap request;
    VFIOUserCall call = {
        .command = VFIO_USER_DMA_MAP,
        .deadline = VFIO_USER_DEADLINE_MAP,
        .head = &request,
        .head_size = sizeof(request),
        .fds = &mapping->fd,
        .num_fds = mapping->fd >= 0,
    };
    int ret;

    vfio_user_wire_put_dma_map(&request, mapping->flags, mapping->fd_offset,
                               mapping->iova, mapping->size);
    ret = vfio_user_session_call(user->device->session, &call, errp);
    vfio_user_msg_free(call.reply);
    trace_vfio_user_dma_map(mapping->iova, mapping->size, mapping->fd_offset,
                            mapping->fd, ret);
    if (ret) {
        error_prepend(errp, "memory at 0x%" PRIx64 ", size 0x%" PRIx64
                      ", is out of the device's reach: ",
                      (uint64_t)mapping->iova, (uint64_t)mapping->size);
    }
    return ret;
}

static VFIOUserMapping *
vfio_user_container_new_mapping(VFIOUserContainer *user,
                                const struct vfio_iommu_type1_dma_map *map)
{
    VFIOUserMapping *mapping = g_new0(VFIOUserMapping, 1);

    mapping->iova = map->iova;
    mapping->size = map->size;
    mapping->flags =
        (map->flags & VFIO_DMA_MAP_FLAG_READ ? VFIO_USER_DMA_MAP_READ : 0) |
        (map->flags & VFIO_DMA_MAP_FLAG_WRITE ? VFIO_USER_DMA_MAP_WRITE : 0);
    mapping->fd = vfio_user_container_find_fd(user,
                                              (void *)(uintptr_t)map->vaddr,
                                              &mapping->fd_offset);
    return mapping;
}

int vfio_user_container_dma_map(VFIOContainer *container,
                                struct vfio_iommu_type1_dma_map *map)
{
    VFIOUserContainer *user = vfio_user_container(container);
    VFIOUserMapping *mapping;
    Error *err = NULL;
    int ret = 0;

    if (vfio_user_session_is_dead(user->device->session)) {
        return 0;
    }
    mapping = vfio_user_container_new_mapping(user, map);
    if (!vfio_migration_lock_stopped(user->vbasedev)) {
        ret = vfio_user_container_map_one(user, mapping, &err);
        mapping->told = !ret;
    }
    if (ret) {
        g_free(mapping);
    } else {
        QTAILQ_INSERT_TAIL(&user->mappings, mapping, next);
    }
    vfio_migration_unlock_stopped(user->vbasedev);
    if (ret && !container->initialized) {
        if (!container->error) {
            error_propagate(&container->error, err);
        } else {
            error_free(err);
        }
        errno = -ret;
        return ret;
    }
    /* on failure hw/vfio would stop QEMU, which the guest has not deserved */
    if (ret) {
        error_report_err(err);
    }
    return 0;
}

/* Unmap; @bitmap, if any, is for the pages that turn out to be dirty. */
static int vfio_user_container_unmap_one(VFIOUserContainer *user,
                                         const VFIOUserMapping *mapping,
                                         uint64_t pgsize, uint8_t *bitmap,
                                         Error **errp)
{
    VFIOUserDMAUnmapBitmap request;
    VFIOUserCall call = {
        .command = VFIO_USER_DMA_UNMAP,
        .deadline = VFIO_USER_DEADLINE_MAP,
        .head = &request,
        .head_size = bitmap ? sizeof(request) : sizeof(request.unmap),
        .max_reply = sizeof(request),
    };
    g_autoptr(VFIOUserMsg) reply = NULL;
    bool good;
    int ret;

    if (bitmap) {
        call.max_reply += vfio_user_wire_bitmap_size(mapping->size, pgsize);
        vfio_user_wire_put_dma_unmap_bitmap(&request, mapping->iova,
                                            mapping->size, pgsize);
    } else {
        vfio_user_wire_put_dma_unmap(&request.unmap, 0, mapping->iova,
                                     mapping->size);
    }
    ret = vfio_user_session_call(user->device->session, &call, errp);
    reply = call.reply;
    trace_vfio_user_dma_unmap(mapping->iova, mapping->size, !!bitmap, ret);
    if (ret) {
        return ret;
    }
    good = bitmap ?
           vfio_user_wire_get_dma_unmap_bitmap(
               vfio_user_call_payload(&call),
               vfio_user_call_payload_size(&call), mapping->iova,
               mapping->size, pgsize, bitmap, errp) :
           vfio_user_wire_get_dma_unmap(
               vfio_user_call_payload(&call),
               vfio_user_call_payload_size(&call), mapping->iova,
               mapping->size, errp);
    return good ? 0 : vfio_user_device_protocol_error(user->device,
                                                      call.command, errp);
}

/*
 * Unmap @mapping, which is off the list and is taken over.  With @wanted, the
 * bitmap that begins at @start gets its pages.
 */
static void vfio_user_container_unmap(VFIOUserContainer *user,
                                      VFIOUserMapping *mapping, bool stopped,
                                      hwaddr start,
                                      struct vfio_bitmap *wanted)
{
    bool ask = wanted && mapping->told && mapping->fd >= 0;
    bool known = false;
    g_autofree uint8_t *bitmap = NULL;
    Error *err = NULL;

    if (ask) {
        bitmap = g_malloc0(vfio_user_wire_bitmap_size(mapping->size,
                                                      wanted->pgsize));
    }
    if (mapping->told && !stopped &&
        !vfio_user_session_is_dead(user->device->session)) {
        known = !vfio_user_container_unmap_one(user, mapping,
                                               ask ? wanted->pgsize : 0,
                                               bitmap, &err);
        vfio_user_device_report(user->device, err);
    }
    if (ask) {
        vfio_user_container_merge_dirty((unsigned long *)wanted->data,
                                        (mapping->iova - start) /
                                        wanted->pgsize, known ? bitmap : NULL,
                                        mapping->size / wanted->pgsize);
    }
    if (mapping->told && stopped) {
        QTAILQ_INSERT_TAIL(&user->late_unmaps, mapping, next);
    } else {
        g_free(mapping);
    }
}

/* hw/vfio may take away more at once than it gave: each mapping by itself. */
int vfio_user_container_dma_unmap(VFIOContainer *container,
                                  struct vfio_iommu_type1_dma_unmap *un)
{
    VFIOUserContainer *user = vfio_user_container(container);
    struct vfio_bitmap *wanted = NULL;
    hwaddr last = un->iova + (un->size - 1);
    VFIOUserMapping *mapping, *tmp;
    bool stopped = vfio_migration_lock_stopped(user->vbasedev);

    if (un->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) {
        wanted = (struct vfio_bitmap *)un->data;
    }
    QTAILQ_FOREACH_SAFE(mapping, &user->mappings, next, tmp) {
        if (mapping->iova >= un->iova &&
            mapping->iova + (mapping->size - 1) <= last) {
            QTAILQ_REMOVE(&user->mappings, mapping, next);
            vfio_user_container_unmap(user, mapping, stopped, un->iova,
                                      wanted);
        }
    }
    vfio_migration_unlock_stopped(user->vbasedev);
    return 0;
}

/* What has gone makes room for what has come. */
void vfio_user_container_resumed(VFIODevice *vbasedev)
{
    VFIOUserContainer *user = vfio_user_container(vbasedev->group->container);
    VFIOUserMapping *mapping, *tmp;

    QTAILQ_FOREACH_SAFE(mapping, &user->late_unmaps, next, tmp) {
        QTAILQ_REMOVE(&user->late_unmaps, mapping, next);
        vfio_user_container_unmap(user, mapping, false, 0, NULL);
    }
    QTAILQ_FOREACH_SAFE(mapping, &user->mappings, next, tmp) {
        Error *err = NULL;

        if (mapping->told) {
            continue;
        }
        mapping->told = !vfio_user_container_map_one(user, mapping, &err);
        vfio_user_device_report(user->device, err);
        if (!mapping->told) {
            QTAILQ_REMOVE(&user->mappings, mapping, next);
            g_free(mapping);
        }
    }
}

void vfio_user_container_drop_mappings(VFIOUserContainer *user)
{
    VFIOUserMapping *mapping, *tmp;

    QTAILQ_FOREACH_SAFE(mapping, &user->mappings, next, tmp) {
        QTAILQ_REMOVE(&user->mappings, mapping, next);
        g_free(mapping);
    }
    QTAILQ_FOREACH_SAFE(mapping, &user->late_unmaps, next, tmp) {
        QTAILQ_REMOVE(&user->late_unmaps, mapping, next);
        g_free(mapping);
    }
}
