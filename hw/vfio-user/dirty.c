/*
 * vfio-user container: the log of pages that the server makes dirty.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bitmap.h"
#include "container-internal.h"
#include "trace.h"

void vfio_user_container_merge_dirty(unsigned long *to, uint64_t first,
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
    ret = vfio_user_session_call(user->device->session, &call, &err);
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
    ret = vfio_user_session_call(user->device->session, &call, errp);
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

        if (!mapping->told || mapping->fd < 0 || from > till) {
            continue;
        }
        if (from == mapping->iova && till == mapping_last) {
            bitmap = g_malloc0(vfio_user_wire_bitmap_size(mapping->size,
                                                          pgsize));
            known = !vfio_user_container_get_one(user, mapping, pgsize,
                                                 bitmap, &err);
        }
        vfio_user_device_report(user->device, err);
        vfio_user_container_merge_dirty(to, (from - range->iova) / pgsize,
                                        known ? bitmap : NULL,
                                        DIV_ROUND_UP(till - from + 1, pgsize));
    }
}

int vfio_user_container_dirty_pages(VFIOContainer *container,
                                    struct vfio_iommu_type1_dirty_bitmap *dirty)
{
    VFIOUserContainer *user = vfio_user_container(container);

    if (dirty->flags & VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP) {
        vfio_migration_lock_stopped(user->vbasedev);
        vfio_user_container_get_dirty(user, (void *)dirty->data);
        vfio_migration_unlock_stopped(user->vbasedev);
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
