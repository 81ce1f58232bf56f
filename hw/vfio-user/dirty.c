/*
 * vfio-user container: the log of pages that the server makes dirty.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "exec/ram_addr.h"
#include "container-internal.h"
#include "trace.h"

typedef struct VFIOUserDirtyQuery {
    VFIOUserCall call;
    VFIOUserDirtyPagesGet request;
    const VFIOUserMapping *mapping;
    bool sent;
} VFIOUserDirtyQuery;

void vfio_user_mapping_mark_dirty(const VFIOUserMapping *mapping,
                                  const uint8_t *bitmap)
{
    ram_addr_t start = memory_region_get_ram_addr(mapping->mr) +
                       mapping->offset;
    uint64_t pages = DIV_ROUND_UP(mapping->size, qemu_real_host_page_size());

    if (bitmap) {
        cpu_physical_memory_set_dirty_lebitmap((unsigned long *)bitmap, start,
                                               pages);
    } else {
        /* nothing is said of code, as nothing may have changed */
        cpu_physical_memory_set_dirty_range(start, mapping->size,
            memory_region_get_dirty_log_mask(mapping->mr) &
            DIRTY_CLIENTS_NOCODE);
    }
}

bool vfio_user_container_is_logged(VFIOUserContainer *user,
                                   const VFIOUserMapping *mapping)
{
    return user->logging && mapping->fd >= 0 &&
           (mapping->flags & VFIO_USER_DMA_MAP_WRITE);
}

bool vfio_user_container_check_bitmap(VFIOUserContainer *user,
                                      const VFIOUserMapping *mapping)
{
    const VFIOUserCaps *caps = vfio_user_session_caps(user->device->session);
    uint64_t limit = caps->max_bitmap_size;
    uint64_t size = vfio_user_wire_bitmap_size(mapping->size,
                                               qemu_real_host_page_size());
    Error *err = NULL;

    /* libvfio-user tells nothing, and takes this for all of the reply */
    if (!caps->max_bitmap_size_told) {
        limit = MIN(limit, caps->max_data_xfer_size -
                           MIN(caps->max_data_xfer_size,
                               sizeof(VFIOUserDirtyPagesGet)));
    }
    if (size <= limit) {
        return true;
    }
    error_setg(&err, "memory at 0x%" PRIx64 ", size 0x%" PRIx64 ", is too "
               "large for the server's dirty log (a bitmap of %" PRIu64
               " bytes, limit %" PRIu64 ")", (uint64_t)mapping->iova,
               (uint64_t)mapping->size, size, limit);
    vfio_user_device_fail_migration(user->vbasedev, -E2BIG, err);
    error_prepend(&err, "%s: ", user->vbasedev->name);
    vfio_user_device_report(user->device, err);
    return false;
}

static void vfio_user_container_switch_log(VFIOUserContainer *user,
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
    if (ret && flags == VFIO_USER_DIRTY_PAGES_START) {
        vfio_user_device_fail_migration(user->vbasedev, ret, err);
    }
    vfio_user_device_report(user->device, err);
    user->logging = !ret && flags == VFIO_USER_DIRTY_PAGES_START;
}

/* A server without a log has no device that migrates: nobody is to be told. */
void vfio_user_container_log_global_start(MemoryListener *listener)
{
    VFIOUserContainer *user = vfio_user_container_of_listener(listener);
    const VFIOUserMapping *mapping;
    bool fits = true;

    if (user->restoring || !user->container.dirty_pages_supported) {
        return;
    }
    vfio_migration_lock_stopped(user->vbasedev);
    vfio_user_container_settle(user);
    user->asked_stopped = false;
    QTAILQ_FOREACH(mapping, &user->mappings, next) {
        if (mapping->fd >= 0 && (mapping->flags & VFIO_USER_DMA_MAP_WRITE)) {
            fits = fits && vfio_user_container_check_bitmap(user, mapping);
        }
    }
    if (fits) {
        vfio_user_container_switch_log(user, VFIO_USER_DIRTY_PAGES_START);
    }
    vfio_migration_unlock_stopped(user->vbasedev);
}

void vfio_user_container_restore_log(VFIOUserContainer *user)
{
    const VFIOUserMapping *mapping;

    if (!global_dirty_tracking) {
        return;
    }
    vfio_user_container_log_global_start(&user->container.listener);
    vfio_migration_lock_stopped(user->vbasedev);
    QTAILQ_FOREACH(mapping, &user->mappings, next) {
        if (mapping->flags & VFIO_USER_DMA_MAP_WRITE) {
            vfio_user_mapping_mark_dirty(mapping, NULL);
        }
    }
    vfio_migration_unlock_stopped(user->vbasedev);
}

void vfio_user_container_log_global_stop(MemoryListener *listener)
{
    VFIOUserContainer *user = vfio_user_container_of_listener(listener);

    vfio_migration_lock_stopped(user->vbasedev);
    if (user->logging) {
        vfio_user_container_settle(user);
        vfio_user_container_switch_log(user, VFIO_USER_DIRTY_PAGES_STOP);
    }
    vfio_migration_unlock_stopped(user->vbasedev);
}

/* The bitmap of one mapping, as it was sent: servers know no part of it. */
static int vfio_user_container_send_query(VFIOUserContainer *user,
                                          const VFIOUserMapping *mapping,
                                          VFIOUserDirtyQuery *query,
                                          Error **errp)
{
    uint64_t pgsize = qemu_real_host_page_size();
    int ret;

    *query = (VFIOUserDirtyQuery) {
        .mapping = mapping,
        .call = {
            .command = VFIO_USER_DIRTY_PAGES,
            .deadline = VFIO_USER_DEADLINE_BULK,
            .head = &query->request,
            .head_size = sizeof(query->request),
            .max_reply = sizeof(query->request) +
                         vfio_user_wire_bitmap_size(mapping->size, pgsize),
        },
    };
    vfio_user_wire_put_dirty_pages_get(&query->request, mapping->iova,
                                       mapping->size, pgsize);
    ret = vfio_user_session_send(user->device->session, &query->call, errp);
    query->sent = !ret;
    return ret;
}

/*
 * libvfio-user answers with success and nothing for a device that it knows to
 * do no DMA; this is no bitmap, but no broken protocol either.
 */
static int vfio_user_container_read_query(VFIOUserContainer *user,
                                          VFIOUserDirtyQuery *query,
                                          uint8_t *bitmap,
                                          Error **errp)
{
    const VFIOUserMapping *mapping = query->mapping;
    size_t size = vfio_user_call_payload_size(&query->call);

    if (!size) {
        error_setg(errp, "%s: the server has no bitmap",
                   vfio_user_command_name(VFIO_USER_DIRTY_PAGES));
        return -ENODATA;
    }
    if (!vfio_user_wire_get_dirty_pages(vfio_user_call_payload(&query->call),
                                        size, mapping->iova, mapping->size,
                                        qemu_real_host_page_size(), bitmap,
                                        errp)) {
        return vfio_user_device_protocol_error(user->device,
                                               query->call.command, errp);
    }
    return 0;
}

/*
 * Wait for the answer to @query, which has failed to be sent for @ret and @err
 * unless @ret is 0.  What is not known for certain counts as dirty: a page too
 * many costs time, one too few the guest's memory.  And since the next answer
 * will be none either, the migration fails.
 */
static void vfio_user_container_end_query(VFIOUserContainer *user,
                                          VFIOUserDirtyQuery *query, int ret,
                                          Error *err)
{
    const VFIOUserMapping *mapping = query->mapping;
    g_autofree uint8_t *bitmap = NULL;
    g_autoptr(VFIOUserMsg) reply = NULL;

    if (query->sent) {
        ret = vfio_user_session_wait(user->device->session, &query->call,
                                     &err);
        reply = query->call.reply;
    }
    if (!ret) {
        bitmap = g_malloc0(vfio_user_wire_bitmap_size(
                               mapping->size, qemu_real_host_page_size()));
        ret = vfio_user_container_read_query(user, query, bitmap, &err);
    }
    trace_vfio_user_dirty_pages_get(mapping->iova, mapping->size, ret);
    vfio_user_mapping_mark_dirty(mapping, ret ? NULL : bitmap);
    if (ret) {
        error_prepend(&err, "dirty log of memory at 0x%" PRIx64 ", size 0x%"
                      PRIx64 ": ", (uint64_t)mapping->iova,
                      (uint64_t)mapping->size);
        vfio_user_device_fail_migration(user->vbasedev, ret, err);
        vfio_user_device_report(user->device, err);
    }
}

static void vfio_user_container_end_oldest_query(VFIOUserContainer *user)
{
    unsigned int window = vfio_user_session_window(user->device->session);
    unsigned int oldest = user->queries_ended++ % window;

    vfio_user_container_end_query(user, &user->queries[oldest], 0, NULL);
}

/* All queries at once: a server that takes its time takes it but once. */
static void vfio_user_container_begin_queries(VFIOUserContainer *user)
{
    unsigned int window = vfio_user_session_window(user->device->session);
    const VFIOUserMapping *mapping;

    user->queries = g_new0(VFIOUserDirtyQuery, window);
    user->queries_sent = user->queries_ended = 0;
    QTAILQ_FOREACH(mapping, &user->mappings, next) {
        unsigned int next = user->queries_sent % window;
        VFIOUserDirtyQuery *query = &user->queries[next];
        Error *err = NULL;
        int ret;

        if (!mapping->told || !vfio_user_container_is_logged(user, mapping)) {
            continue;
        }
        ret = vfio_user_container_send_query(user, mapping, query, &err);
        if (ret) {
            vfio_user_container_end_query(user, query, ret, err);
        } else if (++user->queries_sent - user->queries_ended == window) {
            vfio_user_container_end_oldest_query(user);
        }
    }
}

void vfio_user_container_end_queries(VFIOUserContainer *user)
{
    while (user->queries_ended < user->queries_sent) {
        vfio_user_container_end_oldest_query(user);
    }
    g_clear_pointer(&user->queries, g_free);
}

/* x-pre-copy-dirty-page-tracking=off: only once the device has stopped */
static bool vfio_user_container_may_query(VFIOUserContainer *user)
{
    VFIODevice *vbasedev = user->vbasedev;

    return vbasedev->migration &&
           (vbasedev->pre_copy_dirty_page_tracking != ON_OFF_AUTO_OFF ||
            !(vbasedev->migration->device_state &
              VFIO_DEVICE_STATE_V1_RUNNING));
}

/*
 * One such call comes for each pass over guest memory, and for what a display
 * shows; each asks for everything.
 */
void vfio_user_container_log_sync_global(MemoryListener *listener)
{
    VFIOUserContainer *user = vfio_user_container_of_listener(listener);

    vfio_migration_lock_stopped(user->vbasedev);
    if (user->logging && vfio_user_container_may_query(user)) {
        vfio_user_container_settle(user);
        if (!user->asked_stopped) {
            vfio_user_container_begin_queries(user);
            vfio_user_container_end_queries(user);
        }
        user->asked_stopped = false;
    }
    vfio_migration_unlock_stopped(user->vbasedev);
}

void vfio_user_container_ask_stopped(VFIODevice *vbasedev)
{
    VFIOUserContainer *user = vfio_user_container(vbasedev->group->container);

    if (vfio_migration_lock_stopped(vbasedev) && user->logging) {
        vfio_user_container_settle(user);
        vfio_user_container_begin_queries(user);
        user->asked_stopped = true;
    }
    vfio_migration_unlock_stopped(vbasedev);
}
