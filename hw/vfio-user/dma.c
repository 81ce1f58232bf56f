/*
 * vfio-user container: guest memory mapped for the server, now or when a
 * stopped device runs again.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "qemu/main-loop.h"
#include "qemu/rcu.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "container-internal.h"

/*
 * The fd that shows the server the memory of @mr, or -1: only shared memory
 * looks the same from there as from here.
 */
static int vfio_user_container_find_fd(VFIOUserContainer *user,
                                       MemoryRegion *mr)
{
    if (user->secure || !mr->ram_block ||
        !qemu_ram_is_shared(mr->ram_block)) {
        return -1;
    }
    return memory_region_get_fd(mr);
}

/*
 * What @map is about, or NULL: another device's mapped registers are no
 * memory, and have no fd that could be passed on.
 */
static VFIOUserMapping *
vfio_user_container_new_mapping(VFIOUserContainer *user,
                                const struct vfio_iommu_type1_dma_map *map)
{
    VFIOUserMapping *mapping;
    MemoryRegion *mr;
    ram_addr_t offset;

    RCU_READ_LOCK_GUARD();
    mr = memory_region_from_host((void *)(uintptr_t)map->vaddr, &offset);
    if (!mr || memory_region_is_ram_device(mr)) {
        return NULL;
    }
    /* with a vIOMMU the guest may keep mapped what has been unplugged */
    memory_region_ref(mr);
    mapping = g_new0(VFIOUserMapping, 1);
    mapping->iova = map->iova;
    mapping->size = map->size;
    mapping->flags =
        (map->flags & VFIO_DMA_MAP_FLAG_READ ? VFIO_USER_DMA_MAP_READ : 0) |
        (map->flags & VFIO_DMA_MAP_FLAG_WRITE ? VFIO_USER_DMA_MAP_WRITE : 0);
    mapping->mr = mr;
    mapping->offset = offset;
    mapping->fd = vfio_user_container_find_fd(user, mr);
    return mapping;
}

static void vfio_user_mapping_unref_mr(void *opaque)
{
    memory_region_unref(opaque);
}

void vfio_user_mapping_free(VFIOUserMapping *mapping)
{
    /* The last reference may take a device with it. */
    if (qemu_mutex_iothread_locked()) {
        memory_region_unref(mapping->mr);
    } else {
        aio_bh_schedule_oneshot(qemu_get_aio_context(),
                                vfio_user_mapping_unref_mr, mapping->mr);
    }
    g_free(mapping);
}

static void vfio_user_container_take_off(VFIOUserContainer *user,
                                         VFIOUserMapping *mapping)
{
    QTAILQ_REMOVE(&user->mappings, mapping, next);
    user->num_mappings--;
    if (mapping->told) {
        vfio_user_dma_table_remove(user->table, mapping->iova, mapping->size);
    }
}

void vfio_user_container_refused(VFIOUserContainer *user,
                                 VFIOUserMapping *mapping, int ret,
                                 Error *err)
{
    VFIOContainer *container = &user->container;

    error_prepend(&err, "memory at 0x%" PRIx64 ", size 0x%" PRIx64
                  ", is out of the device's reach as mapping %u: ",
                  (uint64_t)mapping->iova, (uint64_t)mapping->size,
                  mapping->number);
    vfio_user_container_take_off(user, mapping);
    vfio_user_mapping_free(mapping);
    if (container->initialized) {
        vfio_user_device_report(user->device, err);
    } else if (!container->error) {
        error_propagate(&container->error, err);
    } else {
        error_free(err);
    }
}

/* Does the server hold so many mappings?  Only some tell. */
static int vfio_user_container_check_room(VFIOUserContainer *user,
                                          VFIOUserMapping *mapping)
{
    const VFIOUserCaps *caps = vfio_user_session_caps(user->device->session);
    Error *err = NULL;

    if (user->num_mappings <= caps->max_dma_maps) {
        return 0;
    }
    error_setg(&err, "server holds no more mappings (max_dma_maps %" PRIu64
               ")", caps->max_dma_maps);
    vfio_user_container_refused(user, mapping, -ENOSPC, err);
    return -ENOSPC;
}

static int vfio_user_container_add(VFIOUserContainer *user,
                                   VFIOUserMapping *mapping)
{
    bool stopped = vfio_migration_lock_stopped(user->vbasedev);
    int ret;

    QTAILQ_INSERT_TAIL(&user->mappings, mapping, next);
    mapping->number = ++user->num_mappings;
    user->batched |= user->batching;
    ret = vfio_user_container_check_room(user, mapping);
    if (!ret && vfio_user_container_is_logged(user, mapping)) {
        vfio_user_container_check_bitmap(user, mapping);
    }
    if (!ret && !stopped) {
        ret = vfio_user_container_send_map(user, mapping);
        if (!ret && !user->batching) {
            ret = vfio_user_container_settle(user);
        }
    }
    vfio_migration_unlock_stopped(user->vbasedev);
    return ret;
}

int vfio_user_container_dma_map(VFIOContainer *container,
                                struct vfio_iommu_type1_dma_map *map)
{
    VFIOUserContainer *user = vfio_user_container(container);
    VFIOUserMapping *mapping;
    int ret;

    if (vfio_user_session_is_dead(user->device->session)) {
        return 0;
    }
    mapping = vfio_user_container_new_mapping(user, map);
    if (!mapping) {
        return 0;
    }
    ret = vfio_user_container_add(user, mapping);
    /*
     * In a memory transaction hw/vfio would stop QEMU, which the guest has not
     * deserved; the failure has been reported, or is in container->error.
     */
    if (user->batching || vfio_user_session_is_dead(user->device->session)) {
        return 0;
    }
    if (ret == -EBUSY) {
        ret = -EIO;     /* hw/vfio would try again */
    }
    errno = -ret;
    return ret;
}

/*
 * Unmap @mapping, which is taken over.  For DMA by message it is gone when this
 * returns, whenever the server learns of it.
 */
static void vfio_user_container_unmap(VFIOUserContainer *user,
                                      VFIOUserMapping *mapping, bool stopped)
{
    bool dead = vfio_user_session_is_dead(user->device->session);

    vfio_user_container_take_off(user, mapping);
    if (mapping->told && !dead && !stopped) {
        vfio_user_container_send_unmap(user, mapping);
        return;
    }
    /* its RAM may be another mapping's too, or another's tomorrow */
    if (mapping->told && vfio_user_container_is_logged(user, mapping)) {
        vfio_user_mapping_mark_dirty(mapping, NULL);
    }
    if (mapping->told && !dead) {
        QTAILQ_INSERT_TAIL(&user->late_unmaps, mapping, next);
    } else {
        vfio_user_mapping_free(mapping);
    }
}

/*
 * hw/vfio may take away more at once than it gave: each mapping by itself.
 * It need not ask for a bitmap, see vfio_user_container_send_unmap().
 */
int vfio_user_container_dma_unmap(VFIOContainer *container,
                                  struct vfio_iommu_type1_dma_unmap *un)
{
    VFIOUserContainer *user = vfio_user_container(container);
    hwaddr last = un->iova + (un->size - 1);
    VFIOUserMapping *mapping, *tmp;
    bool stopped = vfio_migration_lock_stopped(user->vbasedev);

    user->batched |= user->batching;
    /* a mapping is to be no longer in flight, and may turn out to be none */
    if (user->num_map_requests || user->queries) {
        vfio_user_container_settle(user);
    }
    QTAILQ_FOREACH_SAFE(mapping, &user->mappings, next, tmp) {
        if (mapping->iova >= un->iova &&
            mapping->iova + (mapping->size - 1) <= last) {
            vfio_user_container_unmap(user, mapping, stopped);
        }
    }
    if (!user->batching) {
        vfio_user_container_settle(user);
    }
    vfio_migration_unlock_stopped(user->vbasedev);
    return 0;
}

void vfio_user_container_begin(MemoryListener *listener)
{
    vfio_user_container_of_listener(listener)->batching = true;
}

/* Before the container is initialized answers wait for end_memory(). */
void vfio_user_container_commit(MemoryListener *listener)
{
    VFIOUserContainer *user = vfio_user_container_of_listener(listener);

    user->batching = false;
    if (!user->batched || !user->container.initialized) {
        return;
    }
    user->batched = false;
    vfio_migration_lock_stopped(user->vbasedev);
    vfio_user_container_settle(user);
    vfio_migration_unlock_stopped(user->vbasedev);
}

/* A server need not do in order what it was asked in order. */
void vfio_user_container_settled(VFIODevice *vbasedev)
{
    vfio_user_container_settle(vfio_user_container(
                                   vbasedev->group->container));
}

/* What has gone makes room for what has come. */
void vfio_user_container_resumed(VFIODevice *vbasedev)
{
    VFIOUserContainer *user = vfio_user_container(vbasedev->group->container);
    VFIOUserMapping *mapping, *tmp;

    user->asked_stopped = false;
    QTAILQ_FOREACH_SAFE(mapping, &user->late_unmaps, next, tmp) {
        QTAILQ_REMOVE(&user->late_unmaps, mapping, next);
        vfio_user_container_send_unmap(user, mapping);
    }
    vfio_user_container_settle(user);
    QTAILQ_FOREACH_SAFE(mapping, &user->mappings, next, tmp) {
        if (!mapping->told) {
            vfio_user_container_send_map(user, mapping);
        }
    }
    vfio_user_container_settle(user);
}

void vfio_user_container_drop_mappings(VFIOUserContainer *user)
{
    VFIOUserMapping *mapping, *tmp;

    QTAILQ_FOREACH_SAFE(mapping, &user->mappings, next, tmp) {
        vfio_user_container_take_off(user, mapping);
        vfio_user_mapping_free(mapping);
    }
    QTAILQ_FOREACH_SAFE(mapping, &user->late_unmaps, next, tmp) {
        QTAILQ_REMOVE(&user->late_unmaps, mapping, next);
        vfio_user_mapping_free(mapping);
    }
}
