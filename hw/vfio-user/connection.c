/*
 * vfio-user-pci: the device's connection to its server; what follows when it
 * is lost, and when there is another one.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/mman.h>
#include "qapi/error.h"
#include "qapi/qapi-events-vfio.h"
#include "qemu/error-report.h"
#include "hw/pci/msi.h"
#include "hw/pci/msix.h"
#include "migration/blocker.h"
#include "migration/misc.h"
#include "device-internal.h"
#include "pci-internal.h"

/* Let migrate say why it cannot; false while a migration is under way. */
static bool vfio_user_pci_block_migration(VFIOUserPCIDevice *udev)
{
    VFIODevice *vbasedev = &udev->device.vbasedev;
    const Error *reason = vfio_user_session_reason(udev->user.session);

    error_setg(&vbasedev->migration_blocker, "%s: %s", vbasedev->name,
               error_get_pretty(reason));
    if (migrate_add_blocker_internal(vbasedev->migration_blocker, NULL)) {
        error_free(vbasedev->migration_blocker);
        vbasedev->migration_blocker = NULL;
        return false;
    }
    udev->blocked = true;
    return true;
}

static void vfio_user_pci_unblock_migration(VFIOUserPCIDevice *udev)
{
    VFIODevice *vbasedev = &udev->device.vbasedev;

    if (udev->blocked) {
        udev->blocked = false;
        migrate_del_blocker(vbasedev->migration_blocker);
        error_free(vbasedev->migration_blocker);
        vbasedev->migration_blocker = NULL;
    }
}

static void vfio_user_pci_forget_migration(VFIOUserPCIDevice *udev)
{
    if (udev->migration_end.notify) {
        remove_migration_state_change_notifier(&udev->migration_end);
        udev->migration_end.notify = NULL;
    }
}

static void vfio_user_pci_migration_end(Notifier *notifier, void *data)
{
    VFIOUserPCIDevice *udev = container_of(notifier, VFIOUserPCIDevice,
                                           migration_end);

    if (vfio_user_pci_block_migration(udev)) {
        vfio_user_pci_forget_migration(udev);
    }
}

static void vfio_user_pci_send_lost(VFIOUserPCIDevice *udev,
                                    const Error *reason)
{
    DeviceState *dev = DEVICE(udev);
    g_autofree char *path = object_get_canonical_path(OBJECT(dev));

    qapi_event_send_vfio_user_disconnected(!!dev->id, dev->id, path,
                                           error_get_pretty(reason));
}

/*
 * The one line, and the event, that say the device is gone.  While a migration
 * is under way there can be no blocker: it fails now, unless it has all of the
 * device, and the blocker comes at its end.  A server that is lost before the
 * device was back is no news.
 */
static void vfio_user_pci_lost(void *opaque, const Error *reason)
{
    VFIOUserPCIDevice *udev = opaque;
    VFIODevice *vbasedev = &udev->device.vbasedev;
    bool again = udev->lost, wanted;

    vfio_user_device_tell_lost(&udev->user, vbasedev, reason);
    wanted = vfio_migration_device_lost(vbasedev);
    if (!vbasedev->dev->realized) {
        return;
    }
    udev->lost = true;
    if (!again) {
        vfio_user_pci_send_lost(udev, reason);
    }
    if (!again && !vbasedev->migration_blocker &&
        !vfio_user_pci_block_migration(udev)) {
        if (wanted) {
            vfio_user_device_fail_migration(vbasedev, -ENOTCONN, reason);
        }
        udev->migration_end.notify = vfio_user_pci_migration_end;
        add_migration_state_change_notifier(&udev->migration_end);
    }
    vfio_user_reconnect_begin(udev);
}

void vfio_user_pci_disconnect(VFIOUserPCIDevice *udev)
{
    vfio_user_reconnect_end(udev);
    vfio_user_pci_forget_migration(udev);
    vfio_user_container_disconnect(udev->container, &udev->device.vbasedev);
    udev->container = NULL;
    vfio_user_session_close(udev->user.session);
    udev->user.session = NULL;
    vfio_user_dma_table_unref(udev->table);
    udev->table = NULL;
    udev->lost = udev->blocked = false;
}

VFIOUserSessionConfig vfio_user_pci_session_config(VFIOUserPCIDevice *udev,
                                                   VFIOUserDMATable *table)
{
    return (VFIOUserSessionConfig) {
        .address = udev->socket,
        .name = udev->session_name,
        .timeout_ms = {
            [VFIO_USER_DEADLINE_REGISTER] = udev->msg_timeout,
            [VFIO_USER_DEADLINE_MAP] = udev->map_timeout,
            [VFIO_USER_DEADLINE_STATE] = udev->state_timeout,
            [VFIO_USER_DEADLINE_BULK] = udev->bulk_timeout,
        },
        .dead = vfio_user_pci_lost,
        .opaque = udev,
        .request = vfio_user_incoming_request,
        .request_opaque = vfio_user_dma_table_ref(table),
        .request_release = vfio_user_dma_table_unref,
        .serial = udev->send_queued,
    };
}

bool vfio_user_pci_connect(VFIOUserPCIDevice *udev, Error **errp)
{
    VFIOUserSessionConfig config;

    udev->table = vfio_user_dma_table_new();
    config = vfio_user_pci_session_config(udev, udev->table);
    udev->user.session = vfio_user_session_connect(&config, errp);
    if (!udev->user.session) {
        vfio_user_pci_disconnect(udev);
        return false;
    }
    return true;
}

/*
 * Coming back
 */

/* A part of a BAR that the guest reaches without a message */
typedef struct VFIOUserMappedArea {
    uint32_t region;
    void *address;              /* where hw/vfio has it */
    void *fresh;                /* the new server's */
    size_t size;
} VFIOUserMappedArea;

static bool vfio_user_pci_map_region(const VFIORegion *region,
                                     VFIODevice *fresh, GArray *areas,
                                     Error **errp)
{
    int prot = (region->flags & VFIO_REGION_INFO_FLAG_READ ? PROT_READ : 0) |
               (region->flags & VFIO_REGION_INFO_FLAG_WRITE ? PROT_WRITE : 0);
    uint32_t i;

    for (i = 0; i < region->nr_mmaps; i++) {
        const VFIOMmap *map = &region->mmaps[i];
        VFIOUserMappedArea area = {
            .region = region->nr, .address = map->mmap, .size = map->size,
        };

        if (!map->mmap) {
            continue;
        }
        area.fresh = fresh->io_ops->region_mmap(fresh, region->fd_offset +
                                                map->offset, map->size, prot);
        if (area.fresh == MAP_FAILED) {
            error_setg_errno(errp, errno, "region %u: cannot be mapped",
                             region->nr);
            return false;
        }
        g_array_append_val(areas, area);
    }
    return true;
}

/* Everything that can fail is done before anything is changed. */
static bool vfio_user_pci_map_areas(VFIOUserPCIDevice *udev, VFIODevice *fresh,
                                    GArray *areas, Error **errp)
{
    int i;

    for (i = 0; i < PCI_ROM_SLOT; i++) {
        if (!vfio_user_pci_map_region(&udev->device.bars[i].region, fresh,
                                      areas, errp)) {
            return false;
        }
    }
    return true;
}

/*
 * The new server's files take the place of the old one's, at the addresses
 * that memory regions, TCG and KVM know.
 */
static bool vfio_user_pci_move_areas(VFIOUserPCIDevice *udev, GArray *areas,
                                     Error **errp)
{
    guint i;

    for (i = 0; i < areas->len; i++) {
        VFIOUserMappedArea *area = &g_array_index(areas, VFIOUserMappedArea,
                                                  i);

        vfio_user_mapped_remove(area->fresh);
        if (mremap(area->fresh, area->size, area->size,
                   MREMAP_MAYMOVE | MREMAP_FIXED, area->address) ==
            MAP_FAILED) {
            error_setg_errno(errp, errno, "regions cannot be mapped");
            return false;
        }
        area->fresh = NULL;
        vfio_user_mapped_add(&udev->user, area->region, area->address,
                             area->size);
    }
    return true;
}

static void vfio_user_pci_unmap_areas(GArray *areas)
{
    guint i;

    for (i = 0; i < areas->len; i++) {
        VFIOUserMappedArea *area = &g_array_index(areas, VFIOUserMappedArea,
                                                  i);

        if (area->fresh) {
            vfio_user_mapped_remove(area->fresh);
            munmap(area->fresh, area->size);
        }
    }
}

/*
 * From here on @udev is connected to @candidate's server, for better or worse.
 * Threads that use the session hold the BQL, which none of its functions drop,
 * or the migration's data_lock; so with both of these nobody has read the
 * pointer and not come back.  Readers of the old session have references to
 * it, and handlers of its requests to its table, which is empty.
 */
static void vfio_user_pci_swap(VFIOUserPCIDevice *udev,
                               VFIOUserCandidate *candidate)
{
    VFIODevice *vbasedev = &udev->device.vbasedev;
    VFIOUserSession *lost = udev->user.session;

    /* before there is a server that would have to be told */
    vfio_disable_interrupts(&udev->device);
    vfio_user_container_forget(udev->container, candidate->table);

    vfio_migration_lock_device(vbasedev);
    vfio_user_device_take_over(&udev->user, &candidate->device);
    vfio_migration_unlock_device(vbasedev);

    candidate->session = NULL;
    vfio_user_dma_table_unref(udev->table);
    udev->table = g_steal_pointer(&candidate->table);
    vfio_user_session_close(lost);
    vfio_user_session_start(udev->user.session);
}

static void vfio_user_pci_signal(VFIOUserPCIDevice *udev, int index,
                                 EventNotifier *notifier)
{
    Error *err = NULL;

    if (vfio_set_irq_signaling(&udev->device.vbasedev, index, 0,
                               VFIO_IRQ_SET_ACTION_TRIGGER,
                               event_notifier_get_fd(notifier), &err)) {
        vfio_user_device_report(&udev->user, err);
    }
}

/*
 * A device that was reset, except that its BARs are where the guest has put
 * them: a driver that gets its device going again, as Linux's nvme does, does
 * not place them anew.  INTx is on again, MSI and MSI-X are for the driver to
 * enable.
 */
static void vfio_user_pci_reset_device(VFIOUserPCIDevice *udev)
{
    VFIOPCIDevice *vdev = &udev->device;

    DEVICE_GET_CLASS(udev)->reset(DEVICE(udev));
    msi_reset(&vdev->pdev);
    msix_reset(&vdev->pdev);
    if (vdev->pci_aer) {
        vfio_user_pci_signal(udev, VFIO_PCI_ERR_IRQ_INDEX,
                             &vdev->err_notifier);
    }
    if (vdev->req_enabled) {
        vfio_user_pci_signal(udev, VFIO_PCI_REQ_IRQ_INDEX,
                             &vdev->req_notifier);
    }
}

/*
 * The order matters: a device that does not stand where the VM is may refuse
 * all else, and must not do DMA; a reset clears interrupts.
 */
static bool vfio_user_pci_set_up_again(VFIOUserPCIDevice *udev, GArray *areas,
                                       Error **errp)
{
    VFIOUserSession *session = udev->user.session;
    int ret;

    if (!vfio_user_pci_move_areas(udev, areas, errp)) {
        return false;
    }
    ret = vfio_migration_device_back(&udev->device.vbasedev);
    if (ret && !vfio_user_session_is_dead(session)) {
        error_setg_errno(errp, -ret, "device_state: the device does not "
                         "follow the VM");
        return false;
    }
    vfio_user_container_restore(udev->container);
    vfio_user_pci_reset_device(udev);
    vfio_user_container_restore_log(udev->container);
    if (vfio_user_session_is_dead(session)) {
        error_propagate(errp, error_copy(vfio_user_session_reason(session)));
        return false;
    }
    return true;
}

static void vfio_user_pci_tell_back(VFIOUserPCIDevice *udev)
{
    DeviceState *dev = DEVICE(udev);
    g_autofree char *path = object_get_canonical_path(OBJECT(dev));

    info_report("%s: back: %s: connected again", udev->device.vbasedev.name,
                udev->session_name);
    qapi_event_send_vfio_user_reconnected(!!dev->id, dev->id, path);
}

bool vfio_user_pci_bring_back(VFIOUserPCIDevice *udev,
                              VFIOUserCandidate *candidate, Error **errp)
{
    ERRP_GUARD();
    g_autoptr(GArray) areas = g_array_new(false, false,
                                          sizeof(VFIOUserMappedArea));
    bool swapped = false;

    if (vfio_user_device_is_same(&udev->user, &candidate->device, errp) &&
        vfio_user_pci_map_areas(udev, &candidate->vbasedev, areas, errp)) {
        swapped = true;
        vfio_user_pci_swap(udev, candidate);
        vfio_user_pci_set_up_again(udev, areas, errp);
    }
    vfio_user_pci_unmap_areas(areas);
    if (*errp) {
        /* with its death begins the next try */
        if (swapped) {
            vfio_user_session_kill(udev->user.session, error_copy(*errp));
        }
        return false;
    }
    udev->lost = udev->user.told_lost = false;
    vfio_user_pci_forget_migration(udev);
    vfio_user_pci_unblock_migration(udev);
    vfio_user_pci_tell_back(udev);
    return true;
}
