/*
 * vfio-user container: what hw/vfio has for a device's memory, with the
 * VFIOContainerIOOps that reach the server.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "exec/memory.h"
#include "sysemu/reset.h"
#include "container-internal.h"

/* .dirty_pages is not used: what the listener does for it is done here. */
static const VFIOContainerIOOps vfio_user_container_io_ops = {
    .dma_map = vfio_user_container_dma_map,
    .dma_unmap = vfio_user_container_dma_unmap,
};

/*
 * hw/vfio's, but requests of a memory transaction are sent one behind the
 * other, and all bitmaps are asked for at once.
 */
static MemoryListener vfio_user_container_listener(void)
{
    MemoryListener listener = vfio_memory_listener;

    listener.name = "vfio-user";
    listener.begin = vfio_user_container_begin;
    listener.commit = vfio_user_container_commit;
    listener.log_global_start = vfio_user_container_log_global_start;
    listener.log_global_stop = vfio_user_container_log_global_stop;
    listener.log_sync = NULL;
    listener.log_sync_global = vfio_user_container_log_sync_global;
    return listener;
}

static void vfio_user_container_init(VFIOUserContainer *user,
                                     VFIOUserDevice *device, AddressSpace *as)
{
    const VFIOUserCaps *caps = vfio_user_session_caps(device->session);
    VFIOContainer *container = &user->container;

    user->device = device;
    user->space.as = as;
    QTAILQ_INIT(&user->mappings);
    QTAILQ_INIT(&user->late_unmaps);
    QTAILQ_INIT(&user->requests);
    container->space = &user->space;
    container->fd = -1;
    container->io_ops = &vfio_user_container_io_ops;
    container->iommu_type = VFIO_TYPE1v2_IOMMU;
    container->pgsizes = caps->pgsizes;
    container->dma_max_mappings = caps->max_dma_maps;
    container->dirty_pgsizes = qemu_real_host_page_size();
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

/* Pages given back behind the server's back would be two pages then. */
static int vfio_user_container_forbid_discard(VFIODevice *vbasedev, bool on)
{
    return vbasedev->ram_block_discard_allowed ? 0 :
           ram_block_uncoordinated_discard_disable(on);
}

static void vfio_user_container_free(VFIOUserContainer *user)
{
    vfio_user_container_drop_mappings(user);
    vfio_user_container_forbid_discard(user->vbasedev, false);
    g_free(user);
}

/* hw/vfio takes for granted that a page of the host's can be mapped. */
static bool vfio_user_container_check_pages(VFIOUserDevice *device,
                                            Error **errp)
{
    uint64_t pgsizes = vfio_user_session_caps(device->session)->pgsizes;
    uint64_t smallest = pgsizes & -pgsizes;

    if (smallest <= qemu_real_host_page_size()) {
        return true;
    }
    error_setg(errp, "server maps no pages as small as the host's (pgsizes 0x%"
               PRIx64 ", page 0x%" PRIx64 ")", pgsizes,
               (uint64_t)qemu_real_host_page_size());
    return false;
}

VFIOUserContainer *vfio_user_container_connect(VFIOUserDevice *device,
                                               VFIODevice *vbasedev,
                                               AddressSpace *as,
                                               VFIOUserDMATable *table,
                                               bool secure, Error **errp)
{
    VFIOUserContainer *user;
    int ret;

    if (!vfio_user_container_check_pages(device, errp)) {
        return NULL;
    }
    ret = vfio_user_container_forbid_discard(vbasedev, true);
    if (ret) {
        error_setg_errno(errp, -ret, "%s: RAM must not be discarded",
                         vbasedev->name);
        return NULL;
    }
    user = g_new0(VFIOUserContainer, 1);
    user->secure = secure;
    user->table = table;
    user->vbasedev = vbasedev;
    vfio_user_container_init(user, device, as);
    vfio_user_container_add_group(user, vbasedev);

    user->container.listener = vfio_user_container_listener();
    return user;
}

void vfio_user_container_begin_memory(VFIOUserContainer *user)
{
    memory_listener_register(&user->container.listener, user->space.as);
    user->device->resume_dma = vfio_user_container_resumed;
    user->device->settle_dma = vfio_user_container_settled;
    user->device->ask_dirty = vfio_user_container_ask_stopped;
}

bool vfio_user_container_end_memory(VFIOUserContainer *user, Error **errp)
{
    vfio_migration_lock_stopped(user->vbasedev);
    vfio_user_container_settle(user);
    vfio_migration_unlock_stopped(user->vbasedev);
    user->container.initialized = true;
    if (user->container.error) {
        error_propagate(errp, user->container.error);
        user->container.error = NULL;
        return false;
    }
    return true;
}

void vfio_user_container_forget(VFIOUserContainer *user,
                                VFIOUserDMATable *table)
{
    memory_listener_unregister(&user->container.listener);
    vfio_migration_lock_stopped(user->vbasedev);
    vfio_user_container_settle(user);
    vfio_user_container_drop_mappings(user);
    user->logging = user->asked_stopped = false;
    user->table = table;
    vfio_migration_unlock_stopped(user->vbasedev);
}

void vfio_user_container_restore(VFIOUserContainer *user)
{
    user->restoring = true;
    memory_listener_register(&user->container.listener, user->space.as);
    user->restoring = false;
}

void vfio_user_container_disconnect(VFIOUserContainer *user,
                                    VFIODevice *vbasedev)
{
    if (!user) {
        return;
    }
    user->device->resume_dma = NULL;
    user->device->settle_dma = NULL;
    user->device->ask_dirty = NULL;
    user->container.initialized = true;     /* unmapping is waited for */
    memory_listener_unregister(&user->container.listener);
    vfio_user_container_del_group(user, vbasedev);
    vfio_user_container_free(user);
}
