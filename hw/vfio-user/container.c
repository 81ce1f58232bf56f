/*
 * vfio-user container: the VFIOContainerIOOps of hw/vfio as requests to the
 * server that wants the memory.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "qemu/rcu.h"
#include "exec/memory.h"
#include "exec/ramblock.h"
#include "sysemu/reset.h"
#include "hw/vfio-user/container.h"
#include "trace.h"

/* A mapping, exactly as the server was told of it */
typedef struct VFIOUserMapping {
    hwaddr iova;
    hwaddr size;
    bool has_fd;            /* the server writes behind our back: ask it */
    QTAILQ_ENTRY(VFIOUserMapping) next;
} VFIOUserMapping;

/* All fields are used with the BQL held. */
struct VFIOUserContainer {
    VFIOContainer container;
    VFIOAddressSpace space;
    VFIOGroup group;
    VFIOHostDMAWindow window;
    VFIOUserDevice *device;
    bool secure;
    QTAILQ_HEAD(, VFIOUserMapping) mappings;
};

static VFIOUserContainer *vfio_user_container(VFIOContainer *container)
{
    return container_of(container, VFIOUserContainer, container);
}

/* For one request of this file: send, wait, and -errno with errno alike */
static int vfio_user_container_call(VFIOUserContainer *user,
                                    VFIOUserCall *call, Error **errp)
{
    int ret = vfio_user_session_call(user->device->session, call, errp);

    errno = -ret;
    return ret;
}

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

static int vfio_user_container_dma_map(VFIOContainer *container,
                                       struct vfio_iommu_type1_dma_map *map)
{
    VFIOUserContainer *user = vfio_user_container(container);
    uint32_t flags =
        (map->flags & VFIO_DMA_MAP_FLAG_READ ? VFIO_USER_DMA_MAP_READ : 0) |
        (map->flags & VFIO_DMA_MAP_FLAG_WRITE ? VFIO_USER_DMA_MAP_WRITE : 0);
    VFIOUserDMAMap request;
    VFIOUserCall call = {
        .command = VFIO_USER_DMA_MAP,
        .deadline = VFIO_USER_DEADLINE_MAP,
        .head = &request,
        .head_size = sizeof(request),
    };
    VFIOUserMapping *mapping;
    uint64_t fd_offset;
    Error *err = NULL;
    int fd, ret;

    if (vfio_user_session_is_dead(user->device->session)) {
        return 0;
    }
    fd = vfio_user_container_find_fd(user, (void *)(uintptr_t)map->vaddr,
                                     &fd_offset);
    call.fds = &fd;
    call.num_fds = fd >= 0;
    vfio_user_wire_put_dma_map(&request, flags, fd_offset, map->iova,
                               map->size);
    ret = vfio_user_container_call(user, &call, &err);
    vfio_user_msg_free(call.reply);
    trace_vfio_user_dma_map(map->iova, map->size, fd_offset, fd, ret);
    if (ret) {
        error_prepend(&err, "memory at 0x%" PRIx64 ", size 0x%" PRIx64
                      ", is out of the device's reach: ",
                      (uint64_t)map->iova, (uint64_t)map->size);
        if (!container->initialized) {
            if (!container->error) {
                container->error = err;
            } else {
                error_free(err);
            }
            errno = -ret;
            return ret;
        }
        /* hw/vfio would stop QEMU, which the guest has not deserved */
        error_report_err(err);
        return 0;
    }
    mapping = g_new0(VFIOUserMapping, 1);
    mapping->iova = map->iova;
    mapping->size = map->size;
    mapping->has_fd = fd >= 0;
    QTAILQ_INSERT_TAIL(&user->mappings, mapping, next);
    return 0;
}

/* Set @count bits of @to from @first on, all of them or those set in @from. */
static void vfio_user_container_merge(unsigned long *to, uint64_t first,
                                      const uint8_t *from, uint64_t count)
{
    uint64_t i;

    if (!from) {
        bitmap_set(to, first, count);
        return;
    }
    for (i = 0; i < count; i++) {
        if (!from[i / 8]) {
            i |= 7;
        } else if (from[i / 8] & (1 << (i % 8))) {
            set_bit(first + i, to);
        }
    }
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
    ret = vfio_user_container_call(user, &call, errp);
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

/* hw/vfio may take away more at once than it gave: each mapping by itself. */
static int vfio_user_container_dma_unmap(VFIOContainer *container,
                                         struct vfio_iommu_type1_dma_unmap *un)
{
    VFIOUserContainer *user = vfio_user_container(container);
    struct vfio_bitmap *wanted = NULL;
    hwaddr last = un->iova + (un->size - 1);
    VFIOUserMapping *mapping, *tmp;

    if (un->flags & VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) {
        wanted = (struct vfio_bitmap *)un->data;
    }
    QTAILQ_FOREACH_SAFE(mapping, &user->mappings, next, tmp) {
        bool ask = wanted && mapping->has_fd;
        g_autofree uint8_t *bitmap = NULL;
        Error *err = NULL;
        int ret = 0;

        if (mapping->iova < un->iova ||
            mapping->iova + (mapping->size - 1) > last) {
            continue;
        }
        if (ask) {
            bitmap = g_malloc0(vfio_user_wire_bitmap_size(mapping->size,
                                                          wanted->pgsize));
        }
        if (!vfio_user_session_is_dead(user->device->session)) {
            ret = vfio_user_container_unmap_one(user, mapping,
                                                ask ? wanted->pgsize : 0,
                                                bitmap, &err);
        }
        vfio_user_device_report(user->device, err);
        if (ask) {
            bool known = !ret &&
                         !vfio_user_session_is_dead(user->device->session);

            vfio_user_container_merge((unsigned long *)wanted->data,
                                      (mapping->iova - un->iova) /
                                      wanted->pgsize, known ? bitmap : NULL,
                                      mapping->size / wanted->pgsize);
        }
        QTAILQ_REMOVE(&user->mappings, mapping, next);
        g_free(mapping);
    }
    return 0;
}

static int vfio_user_container_switch_log(VFIOUserContainer *user,
                                          uint32_t flags)
{
    VFIOUserDirtyPages request;
    VFIOUserCall call = {
        .command = VFIO_USER_DIRTY_PAGES,
        .deadline = VFIO_USER_DEADLINE_MAP,
        .head = &request,
        .head_size = sizeof(request),
    };
    Error *err = NULL;
    int ret;

    vfio_user_wire_put_dirty_pages(&request, flags);
    ret = vfio_user_container_call(user, &call, &err);
    vfio_user_msg_free(call.reply);
    trace_vfio_user_dirty_pages_log(flags, ret);
    vfio_user_device_report(user->device, err);
    errno = -ret;
    return ret;
}

/* The bitmap of one mapping, as it was sent: servers know no part of it. */
static int vfio_user_container_get_one(VFIOUserContainer *user,
                                       const VFIOUserMapping *mapping,
                                       uint64_t pgsize, uint8_t *bitmap,
                                       Error **errp)
{
    VFIOUserDirtyPagesGet request;
    VFIOUserCall call = {
        .command = VFIO_USER_DIRTY_PAGES,
        .deadline = VFIO_USER_DEADLINE_BULK,
        .head = &request,
        .head_size = sizeof(request),
        .max_reply = sizeof(request) +
                     vfio_user_wire_bitmap_size(mapping->size, pgsize),
    };
    g_autoptr(VFIOUserMsg) reply = NULL;
    int ret;

    vfio_user_wire_put_dirty_pages_get(&request, mapping->iova, mapping->size,
                                       pgsize);
    ret = vfio_user_container_call(user, &call, errp);
    reply = call.reply;
    trace_vfio_user_dirty_pages_get(mapping->iova, mapping->size, ret);
    if (ret) {
        return ret;
    }
    if (!vfio_user_wire_get_dirty_pages(vfio_user_call_payload(&call),
                                        vfio_user_call_payload_size(&call),
                                        mapping->iova, mapping->size, pgsize,
                                        bitmap, errp)) {
        return vfio_user_device_protocol_error(user->device, call.command,
                                               errp);
    }
    return 0;
}

/*
 * What is not known for certain counts as dirty: a page too many costs time,
 * one too few the guest's memory.
 */
static void vfio_user_container_get_dirty(VFIOUserContainer *user,
                            struct vfio_iommu_type1_dirty_bitmap_get *range)
{
    unsigned long *to = (unsigned long *)range->bitmap.data;
    uint64_t pgsize = range->bitmap.pgsize;
    hwaddr last = range->iova + (range->size - 1);
    VFIOUserMapping *mapping;

    QTAILQ_FOREACH(mapping, &user->mappings, next) {
        hwaddr mapping_last = mapping->iova + (mapping->size - 1);
        hwaddr from = MAX(mapping->iova, range->iova);
        hwaddr till = MIN(mapping_last, last);
        g_autofree uint8_t *bitmap = NULL;
        Error *err = NULL;
        bool known = false;

        if (!mapping->has_fd || from > till) {
            continue;
        }
        if (from == mapping->iova && till == mapping_last) {
            bitmap = g_malloc0(vfio_user_wire_bitmap_size(mapping->size,
                                                          pgsize));
            known = !vfio_user_container_get_one(user, mapping, pgsize,
                                                 bitmap, &err);
        }
        vfio_user_device_report(user->device, err);
        vfio_user_container_merge(to, (from - range->iova) / pgsize,
                                  known ? bitmap : NULL,
                                  DIV_ROUND_UP(till - from + 1, pgsize));
    }
}

static int
vfio_user_container_dirty_pages(VFIOContainer *container,
                                struct vfio_iommu_type1_dirty_bitmap *dirty)
{
    VFIOUserContainer *user = vfio_user_container(container);

    if (dirty->flags & VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP) {
        vfio_user_container_get_dirty(user, (void *)dirty->data);
        return 0;
    }
    /* without the log nothing migrates, so there is nobody to tell */
    if (!container->dirty_pages_supported ||
        vfio_user_session_is_dead(user->device->session)) {
        return 0;
    }
    return vfio_user_container_switch_log(user,
               dirty->flags & VFIO_IOMMU_DIRTY_PAGES_FLAG_START ?
               VFIO_USER_DIRTY_PAGES_START : VFIO_USER_DIRTY_PAGES_STOP);
}

static const VFIOContainerIOOps vfio_user_container_io_ops = {
    .dma_map = vfio_user_container_dma_map,
    .dma_unmap = vfio_user_container_dma_unmap,
    .dirty_pages = vfio_user_container_dirty_pages,
};

static void vfio_user_container_init(VFIOUserContainer *user,
                                     VFIOUserDevice *device, AddressSpace *as)
{
    const VFIOUserCaps *caps = vfio_user_session_caps(device->session);
    VFIOContainer *container = &user->container;

    user->device = device;
    user->space.as = as;
    QTAILQ_INIT(&user->mappings);
    container->space = &user->space;
    container->fd = -1;
    container->io_ops = &vfio_user_container_io_ops;
    container->iommu_type = VFIO_TYPE1v2_IOMMU;
    container->pgsizes = caps->pgsizes;
    container->dma_max_mappings = caps->max_dma_maps;
    container->dirty_pgsizes = qemu_real_host_page_size();
    container->max_dirty_bitmap_size = caps->max_bitmap_size;
    container->dirty_pages_supported = caps->migration &&
        caps->migration_pgsize == qemu_real_host_page_size();
    QLIST_INIT(&container->giommu_list);
    QLIST_INIT(&container->hostwin_list);
    QLIST_INIT(&container->vrdl_list);
    QLIST_INIT(&container->group_list);
    user->window.max_iova = HWADDR_MAX;
    user->window.iova_pgsizes = caps->pgsizes;
    QLIST_INSERT_HEAD(&container->hostwin_list, &user->window, hostwin_next);

    user->group.fd = -1;
    user->group.groupid = -1;
    user->group.container = container;
    QLIST_INIT(&user->group.device_list);
    QLIST_INSERT_HEAD(&container->group_list, &user->group, container_next);
}

/* The first group brings hw/vfio's reset handler, the last one takes it away */
static void vfio_user_container_add_group(VFIOUserContainer *user,
                                          VFIODevice *vbasedev)
{
    if (QLIST_EMPTY(&vfio_group_list)) {
        qemu_register_reset(vfio_reset_handler, NULL);
    }
    QLIST_INSERT_HEAD(&vfio_group_list, &user->group, next);
    QLIST_INSERT_HEAD(&user->group.device_list, vbasedev, next);
    vbasedev->group = &user->group;
}

static void vfio_user_container_del_group(VFIOUserContainer *user,
                                          VFIODevice *vbasedev)
{
    vbasedev->group = NULL;
    QLIST_REMOVE(vbasedev, next);
    QLIST_REMOVE(&user->group, next);
    if (QLIST_EMPTY(&vfio_group_list)) {
        qemu_unregister_reset(vfio_reset_handler, NULL);
    }
}

static void vfio_user_container_free(VFIOUserContainer *user)
{
    VFIOUserMapping *mapping, *tmp;

    QTAILQ_FOREACH_SAFE(mapping, &user->mappings, next, tmp) {
        QTAILQ_REMOVE(&user->mappings, mapping, next);
        g_free(mapping);
    }
    ram_block_uncoordinated_discard_disable(false);
    g_free(user);
}

VFIOUserContainer *vfio_user_container_connect(VFIOUserDevice *device,
                                               VFIODevice *vbasedev,
                                               AddressSpace *as, bool secure,
                                               Error **errp)
{
    VFIOUserContainer *user;
    int ret;

    /* pages given back behind the server's back would be two pages then */
    ret = ram_block_uncoordinated_discard_disable(true);
    if (ret) {
        error_setg_errno(errp, -ret, "%s: RAM must not be discarded",
                         vbasedev->name);
        return NULL;
    }
    user = g_new0(VFIOUserContainer, 1);
    user->secure = secure;
    vfio_user_container_init(user, device, as);
    vfio_user_container_add_group(user, vbasedev);

    user->container.listener = vfio_memory_listener;
    memory_listener_register(&user->container.listener, as);
    if (user->container.error) {
        error_propagate(errp, user->container.error);
        vfio_user_container_disconnect(user, vbasedev);
        return NULL;
    }
    user->container.initialized = true;
    return user;
}

void vfio_user_container_disconnect(VFIOUserContainer *user,
                                    VFIODevice *vbasedev)
{
    if (!user) {
        return;
    }
    memory_listener_unregister(&user->container.listener);
    vfio_user_container_del_group(user, vbasedev);
    vfio_user_container_free(user);
}
