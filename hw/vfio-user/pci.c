/*
 * vfio-user-pci: a PCI device whose implementation is another process, a
 * vfio-user server at a UNIX socket.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qapi/qapi-visit-sockets.h"
#include "qapi/visitor.h"
#include "qemu/error-report.h"
#include "qemu/module.h"
#include "hw/qdev-properties.h"
#include "hw/qdev-properties-system.h"
#include "sysemu/sysemu.h"
#include "pci-internal.h"

/* A server that has nothing to migrate need not be asked to. */
static bool vfio_user_pci_may_migrate(VFIOUserPCIDevice *udev)
{
    if (udev->enable_migration == ON_OFF_AUTO_AUTO) {
        return vfio_user_session_caps(udev->user.session)->migration;
    }
    return udev->enable_migration == ON_OFF_AUTO_ON;
}

static bool vfio_user_pci_set_up(VFIOUserPCIDevice *udev, Error **errp)
{
    VFIODevice *vbasedev = &udev->device.vbasedev;
    AddressSpace *as = pci_device_iommu_address_space(&udev->device.pdev);

    udev->user.max_write = udev->max_write_size;
    udev->user.no_posted_writes = udev->no_posted_writes ||
                                  udev->send_queued;
    if (!vfio_user_device_init(&udev->user, vbasedev, errp) ||
        !vfio_user_device_check_config(vbasedev, errp)) {
        return false;
    }
    vbasedev->enable_migration = vfio_user_pci_may_migrate(udev);
    vbasedev->bulk_timeout_ms = udev->bulk_timeout ?:
                                VFIO_USER_DEFAULT_BULK_TIMEOUT;
    udev->container = vfio_user_container_connect(&udev->user, vbasedev, as,
                                                  udev->table,
                                                  udev->secure_dma, errp);
    return udev->container != NULL;
}

static bool vfio_user_pci_check_properties(const VFIOUserPCIDevice *udev,
                                           Error **errp)
{
    if (!udev->socket || (udev->socket->type == SOCKET_ADDRESS_TYPE_UNIX &&
                          !*udev->socket->u.q_unix.path)) {
        error_setg(errp, "vfio-user-pci: property 'socket' is missing: use "
                   "socket=PATH, the UNIX socket of a vfio-user server");
        return false;
    }
    if (udev->reconnect && udev->socket->type == SOCKET_ADDRESS_TYPE_FD) {
        error_setg(errp, "vfio-user-pci: 'reconnect' needs the address of a "
                   "socket, not an open one");
        return false;
    }
    if (udev->max_write_size < sizeof(uint64_t)) {
        error_setg(errp, "vfio-user-pci: x-max-write-size is less than a "
                   "register (got %u, limit %zu)", udev->max_write_size,
                   sizeof(uint64_t));
        return false;
    }
    if (udev->class_code != PCI_ANY_ID && udev->class_code > 0xffffff) {
        error_setg(errp, "vfio-user-pci: x-pci-class-code has more than 24 "
                   "bits (got 0x%x)", udev->class_code);
        return false;
    }
    return true;
}

/* Of what makes the device's identity, hw/vfio does all but this. */
static void vfio_user_pci_set_class(VFIOUserPCIDevice *udev)
{
    VFIOPCIDevice *vdev = &udev->device;

    if (udev->class_code != PCI_ANY_ID) {
        stl_le_p(vdev->pdev.config + PCI_CLASS_REVISION,
                 udev->class_code << 8 |
                 vdev->pdev.config[PCI_REVISION_ID]);
        memset(vdev->emulated_config_bits + PCI_CLASS_PROG, 0xff, 3);
    }
}

/*
 * Has nothing failed so far?  A connection that has ended is why, whatever
 * hw/vfio has made of that: it takes what is read without a server for a
 * device's, and does without what it can do without.  An error that has the
 * reason in it says where as well, and stays.
 */
static bool vfio_user_pci_good_so_far(VFIOUserPCIDevice *udev, Error **errp)
{
    const Error *reason = vfio_user_session_reason(udev->user.session);

    if (reason && (!*errp || !strstr(error_get_pretty(*errp),
                                     error_get_pretty(reason)))) {
        error_free(*errp);
        *errp = error_copy(reason);
    }
    return !*errp;
}

static void vfio_user_pci_name_socket(VFIOUserPCIDevice *udev, Error **errp)
{
    if (!g_str_has_prefix(error_get_pretty(*errp), "vfio-user:")) {
        error_prepend(errp, "%s: ", udev->session_name);
    }
}

static bool vfio_user_pci_end_memory(VFIOUserPCIDevice *udev, Error **errp)
{
    ERRP_GUARD();

    vfio_user_container_end_memory(udev->container, errp);
    if (!vfio_user_pci_good_so_far(udev, errp)) {
        vfio_user_pci_name_socket(udev, errp);
        return false;
    }
    return true;
}

static void vfio_user_pci_forget_machine_done(VFIOUserPCIDevice *udev)
{
    if (udev->machine_done.notify) {
        udev->machine_done.notify = NULL;
        qemu_remove_machine_init_done_notifier(&udev->machine_done);
    }
}

/* All devices that QEMU starts with have asked, and their servers answer. */
static void vfio_user_pci_machine_done(Notifier *notifier, void *data)
{
    VFIOUserPCIDevice *udev = container_of(notifier, VFIOUserPCIDevice,
                                           machine_done);
    Error *err = NULL;

    vfio_user_pci_forget_machine_done(udev);
    if (!vfio_user_pci_end_memory(udev, &err)) {
        error_report_err(err);
        exit(EXIT_FAILURE);
    }
}

/*
 * Show the server the guest's memory.  It comes last in realize: the device's
 * other messages would have to wait for the server to be done with it.
 */
static bool vfio_user_pci_show_memory(VFIOUserPCIDevice *udev, Error **errp)
{
    vfio_user_container_begin_memory(udev->container);
    if (phase_check(PHASE_MACHINE_READY)) {
        return vfio_user_pci_end_memory(udev, errp);
    }
    udev->machine_done.notify = vfio_user_pci_machine_done;
    qemu_add_machine_init_done_notifier(&udev->machine_done);
    return true;
}

/*
 * Connect, learn and check what the device is, leave the rest to hw/vfio, and
 * give it the guest's memory.  What is undone here on failure cannot wait for
 * the object to be finalized, since others still refer to it.
 */
static void vfio_user_pci_realize(PCIDevice *pdev, Error **errp)
{
    ERRP_GUARD();
    VFIOUserPCIDevice *udev = VFIO_USER_PCI(pdev);
    VFIODevice *vbasedev = &udev->device.vbasedev;
    g_autofree char *address = NULL;
    bool realized;

    if (!vfio_user_pci_check_properties(udev, errp)) {
        return;
    }
    address = socket_uri(udev->socket);
    g_free(udev->session_name);
    udev->session_name = g_strdup_printf("vfio-user:%s",
                             udev->socket->type == SOCKET_ADDRESS_TYPE_UNIX ?
                             udev->socket->u.q_unix.path : address);
    g_free(vbasedev->name);
    vbasedev->name = g_strdup(DEVICE(pdev)->id ?: udev->session_name);
    vbasedev->ops = &vfio_pci_ops;
    vbasedev->type = VFIO_DEVICE_TYPE_PCI;
    vbasedev->dev = DEVICE(pdev);
    vbasedev->fd = -1;

    if (!vfio_user_pci_connect(udev, errp)) {
        return;
    }
    vfio_user_pci_set_up(udev, errp);
    if (!vfio_user_pci_good_so_far(udev, errp)) {
        vfio_user_pci_name_socket(udev, errp);
        vfio_user_pci_disconnect(udev);
        return;
    }
    vfio_pci_device_realize(&udev->device, errp);
    vfio_user_device_release_config(&udev->user);
    realized = !*errp;
    if (!vfio_user_pci_good_so_far(udev, errp) ||
        !vfio_user_pci_show_memory(udev, errp)) {
        if (realized) {
            PCI_DEVICE_GET_CLASS(pdev)->exit(pdev);
        } else {
            /* hw/vfio leaves this */
            g_clear_pointer(&udev->device.intx.mmap_timer, timer_free);
        }
        vfio_user_pci_disconnect(udev);
        return;
    }
    vfio_user_pci_set_class(udev);
}

static void vfio_user_pci_instance_init(Object *obj)
{
    VFIOUserPCIDevice *udev = VFIO_USER_PCI(obj);

    udev->device.vbasedev.fd = -1;
    udev->device.display = ON_OFF_AUTO_OFF;
}

static void vfio_user_pci_instance_finalize(Object *obj)
{
    VFIOUserPCIDevice *udev = VFIO_USER_PCI(obj);

    vfio_user_pci_forget_machine_done(udev);
    vfio_pci_device_finalize(&udev->device);
    vfio_user_pci_disconnect(udev);
    vfio_user_device_cleanup(&udev->user);
    g_free(udev->device.vbasedev.name);
    g_free(udev->device.msix);
    g_free(udev->session_name);
    qapi_free_SocketAddress(udev->socket);
}

static void vfio_user_pci_get_socket(Object *obj, Visitor *v, const char *name,
                                     void *opaque, Error **errp)
{
    VFIOUserPCIDevice *udev = VFIO_USER_PCI(obj);
    g_autofree char *uri = udev->socket ? socket_uri(udev->socket) :
                                          g_strdup("");

    visit_type_str(v, name, &uri, errp);
}

/* A string is the path of a UNIX socket; an object, any SocketAddress. */
static void vfio_user_pci_set_socket(Object *obj, Visitor *v, const char *name,
                                     void *opaque, Error **errp)
{
    VFIOUserPCIDevice *udev = VFIO_USER_PCI(obj);
    g_autofree GenericAlternate *form = NULL;
    g_autofree char *path = NULL;
    SocketAddress *address = NULL;

    if (DEVICE(obj)->realized) {
        error_setg(errp, "'%s' cannot be changed, the device is connected",
                   name);
        return;
    }
    if (!visit_start_alternate(v, name, &form, sizeof(*form), errp)) {
        return;
    }
    if (form->type == QTYPE_QDICT) {
        visit_type_SocketAddress(v, name, &address, errp);
    } else if (visit_type_str(v, name, &path, errp)) {
        address = g_new0(SocketAddress, 1);
        address->type = SOCKET_ADDRESS_TYPE_UNIX;
        address->u.q_unix.path = g_steal_pointer(&path);
    }
    visit_end_alternate(v, (void **)&form);
    if (address) {
        qapi_free_SocketAddress(udev->socket);
        udev->socket = address;
    }
}

static Property vfio_user_pci_properties[] = {
    DEFINE_PROP_UINT32("reconnect", VFIOUserPCIDevice, reconnect, 0),
    DEFINE_PROP_BOOL("secure-dma", VFIOUserPCIDevice, secure_dma, false),
    DEFINE_PROP_BOOL("x-no-posted-writes", VFIOUserPCIDevice,
                     no_posted_writes, false),
    DEFINE_PROP_BOOL("x-send-queued", VFIOUserPCIDevice, send_queued, false),
    DEFINE_PROP_UINT32("x-max-write-size", VFIOUserPCIDevice, max_write_size,
                       32 * KiB),
    DEFINE_PROP_UINT32("x-msg-timeout", VFIOUserPCIDevice, msg_timeout,
                       VFIO_USER_DEFAULT_REGISTER_TIMEOUT),
    DEFINE_PROP_UINT32("x-map-timeout", VFIOUserPCIDevice, map_timeout,
                       VFIO_USER_DEFAULT_MAP_TIMEOUT),
    DEFINE_PROP_UINT32("x-state-timeout", VFIOUserPCIDevice, state_timeout,
                       VFIO_USER_DEFAULT_STATE_TIMEOUT),
    DEFINE_PROP_UINT32("x-bulk-timeout", VFIOUserPCIDevice, bulk_timeout,
                       VFIO_USER_DEFAULT_BULK_TIMEOUT),
    DEFINE_PROP_ON_OFF_AUTO("x-enable-migration", VFIOUserPCIDevice,
                            enable_migration, ON_OFF_AUTO_AUTO),
    DEFINE_PROP_ON_OFF_AUTO("x-pre-copy-dirty-page-tracking",
                            VFIOUserPCIDevice,
                            device.vbasedev.pre_copy_dirty_page_tracking,
                            ON_OFF_AUTO_ON),
    DEFINE_PROP_UINT32("x-intx-mmap-timeout-ms", VFIOUserPCIDevice,
                       device.intx.mmap_timeout, 1100),
    DEFINE_PROP_BOOL("x-no-mmap", VFIOUserPCIDevice, device.vbasedev.no_mmap,
                     false),
    DEFINE_PROP_BOOL("x-balloon-allowed", VFIOUserPCIDevice,
                     device.vbasedev.ram_block_discard_allowed, false),
    DEFINE_PROP_BOOL("x-no-kvm-intx", VFIOUserPCIDevice, device.no_kvm_intx,
                     false),
    DEFINE_PROP_BOOL("x-no-kvm-msi", VFIOUserPCIDevice, device.no_kvm_msi,
                     false),
    DEFINE_PROP_BOOL("x-no-kvm-msix", VFIOUserPCIDevice, device.no_kvm_msix,
                     false),
    DEFINE_PROP_BOOL("x-no-kvm-ioeventfd", VFIOUserPCIDevice,
                     device.no_kvm_ioeventfd, false),
    DEFINE_PROP_BOOL("x-no-vfio-ioeventfd", VFIOUserPCIDevice,
                     device.no_vfio_ioeventfd, false),
    DEFINE_PROP_UINT32("x-pci-vendor-id", VFIOUserPCIDevice, device.vendor_id,
                       PCI_ANY_ID),
    DEFINE_PROP_UINT32("x-pci-device-id", VFIOUserPCIDevice, device.device_id,
                       PCI_ANY_ID),
    DEFINE_PROP_UINT32("x-pci-sub-vendor-id", VFIOUserPCIDevice,
                       device.sub_vendor_id, PCI_ANY_ID),
    DEFINE_PROP_UINT32("x-pci-sub-device-id", VFIOUserPCIDevice,
                       device.sub_device_id, PCI_ANY_ID),
    DEFINE_PROP_UINT32("x-pci-class-code", VFIOUserPCIDevice, class_code,
                       PCI_ANY_ID),
    DEFINE_PROP_OFF_AUTO_PCIBAR("x-msix-relocation", VFIOUserPCIDevice,
                                device.msix_relo, OFF_AUTOPCIBAR_OFF),
    DEFINE_PROP_END_OF_LIST(),
};

static void vfio_user_pci_class_init(ObjectClass *klass, void *data)
{
    DeviceClass *dc = DEVICE_CLASS(klass);
    PCIDeviceClass *pdc = PCI_DEVICE_CLASS(klass);

    device_class_set_props(dc, vfio_user_pci_properties);
    object_class_property_add(klass, "socket", "str|SocketAddress",
                              vfio_user_pci_get_socket,
                              vfio_user_pci_set_socket, NULL, NULL);
    object_class_property_set_description(klass, "socket",
        "UNIX socket of the vfio-user server: its path, or a SocketAddress");
    dc->desc = "PCI device in another process, over vfio-user";
    pdc->realize = vfio_user_pci_realize;
}

static const TypeInfo vfio_user_pci_info = {
    .name = TYPE_VFIO_USER_PCI,
    .parent = TYPE_VFIO_PCI_BASE,
    .instance_size = sizeof(VFIOUserPCIDevice),
    .instance_init = vfio_user_pci_instance_init,
    .instance_finalize = vfio_user_pci_instance_finalize,
    .class_init = vfio_user_pci_class_init,
};

static void vfio_user_pci_register_types(void)
{
    type_register_static(&vfio_user_pci_info);
}

type_init(vfio_user_pci_register_types)
