/*
 * The device's properties: both forms of its address, what others show of
 * themselves, and values that cannot be.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "libqos/malloc-pc.h"
#include "libqos/virtio.h"
#include "libqos/virtio-pci.h"
#include "qapi/error.h"
#include "qapi/qmp/qdict.h"
#include "qapi/qmp/qjson.h"
#include "standard-headers/linux/pci_regs.h"
#include "standard-headers/linux/virtio_config.h"

#define PAGE 4096
#define BALLOON_SLOT 6
#define BALLOON_PAGE 0x01000000
#define BALLOON_VALUE 0xb1a5ed00

/* A QEMU without a device, and a server that waits for one */
static VFIOUserTestVM *start_empty(void)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = "pc", .no_device = true,
    };

    return vfio_user_test_vm_new(&config);
}

/* device_add of dev0 with @properties, JSON; the text of the error, or NULL */
static char *plug(VFIOUserTestVM *vm, const char *properties)
{
    g_autofree char *json = g_strdup_printf("{'driver': 'vfio-user-pci', "
        "'id': 'dev0', 'addr': '%d.0'%s%s}", VFIO_USER_TEST_DEVICE_SLOT,
        *properties ? ", " : "", properties);
    QObject *arguments = qobject_from_json(json, &error_abort);
    QDict *answer = qtest_qmp(vm->qts, "{'execute': 'device_add',"
                              " 'arguments': %p}", arguments);
    QDict *error = qdict_get_qdict(answer, "error");
    char *text = error ? g_strdup(qdict_get_str(error, "desc")) : NULL;

    qobject_unref(answer);
    return text;
}

static void plug_well(VFIOUserTestVM *vm, const char *properties)
{
    g_autofree char *error = plug(vm, properties);

    g_assert_cmpstr(error, ==, NULL);
    g_assert_true(mock_wait_connected(vm->mock, true,
                                      VFIO_USER_TEST_DEADLINE_MS));
}

static QPCIDevice *find(QPCIBus *bus)
{
    QPCIDevice *device = qpci_device_find(bus,
        QPCI_DEVFN(VFIO_USER_TEST_DEVICE_SLOT, 0));

    g_assert_nonnull(device);
    return device;
}

/* --- where the server is --- */

static void test_property_socket(const void *form)
{
    g_autoptr(VFIOUserTestVM) vm = start_empty();
    g_autofree char *properties = g_strdup_printf(form, vm->socket_path);
    g_autofree char *uri = g_strdup_printf("unix:%s", vm->socket_path);
    int i;

    for (i = 0; i < 2; i++) {
        plug_well(vm, properties);
        vfio_user_test_assert_property(vm, "socket", uri);
        vfio_user_test_qmp_error(vm, "is connected",
            "{'execute': 'qom-set', 'arguments': {'path': 'dev0',"
            " 'property': 'socket', 'value': '/nowhere'}}");
        qpci_unplug_acpi_device_test(vm->qts, "dev0",
                                     VFIO_USER_TEST_DEVICE_SLOT);
        g_assert_true(mock_wait_connected(vm->mock, false,
                                          VFIO_USER_TEST_DEADLINE_MS));
    }
}

static void test_property_command_line(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest", .no_device = true };
    g_autoptr(VFIOUserTestVM) vm = vfio_user_test_vm_new(&config);
    g_autofree char *options = g_strdup_printf("-device '{\"driver\":"
        " \"vfio-user-pci\", \"id\": \"dev0\", \"addr\": \"%d.0\","
        " \"socket\": {\"type\": \"unix\", \"path\": \"%s\"}}'",
        VFIO_USER_TEST_DEVICE_SLOT, vm->socket_path);
    QPCIDevice *device;
    QPCIBus *bus;

    vfio_user_test_vm_quit(vm);
    config.options = options;
    vfio_user_test_vm_restart(vm, &config);
    bus = qpci_new_pc(vm->qts, NULL);
    device = find(bus);
    g_free(device);
    qpci_free_pc(bus);
}

/* --- what others show --- */

/* Values that are none of the defaults, and not those of the mock */
static const struct {
    const char *name, *value, *shown;
} properties[] = {
    { "reconnect", "7" },
    { "secure-dma", "true" },
    { "x-send-queued", "true" },
    { "x-no-posted-writes", "true" },
    { "x-msg-timeout", "5001" },
    { "x-map-timeout", "30001" },
    { "x-state-timeout", "60001" },
    { "x-bulk-timeout", "60002" },
    { "x-max-write-size", "65536" },
    { "x-enable-migration", "'off'", "off" },
    { "x-pre-copy-dirty-page-tracking", "'off'", "off" },
    { "x-cache-device-state", "false" },
    { "migration-events", "true" },
    { "x-max-device-state", "123456" },
    { "x-intx-mmap-timeout-ms", "1101" },
    { "x-no-mmap", "true" },
    { "x-balloon-allowed", "true" },
    { "x-no-kvm-intx", "true" },
    { "x-no-kvm-msi", "true" },
    { "x-no-kvm-msix", "true" },
    { "x-no-kvm-ioeventfd", "true" },
    { "x-no-vfio-ioeventfd", "true" },
    { "x-pci-vendor-id", "4660" },
    { "x-pci-device-id", "22136" },
    { "x-pci-sub-vendor-id", "39612" },
    { "x-pci-sub-device-id", "57072" },
    { "x-pci-class-code", "590099" },
    { "x-msix-relocation", "'bar4'", "bar4" },
    { "bootindex", "7" },
};

static void assert_identity(QPCIDevice *device)
{
    uint8_t msix = qpci_find_capability(device, PCI_CAP_ID_MSIX, 0);

    g_assert_cmphex(qpci_config_readw(device, PCI_VENDOR_ID), ==, 0x1234);
    g_assert_cmphex(qpci_config_readw(device, PCI_DEVICE_ID), ==, 0x5678);
    g_assert_cmphex(qpci_config_readw(device, PCI_SUBSYSTEM_VENDOR_ID), ==,
                    0x9abc);
    g_assert_cmphex(qpci_config_readw(device, PCI_SUBSYSTEM_ID), ==, 0xdef0);
    g_assert_cmphex(qpci_config_readl(device, PCI_CLASS_REVISION) >> 8, ==,
                    590099);
    g_assert_cmpuint(msix, !=, 0);
    g_assert_cmphex(qpci_config_readl(device, msix + PCI_MSIX_TABLE) &
                    PCI_MSIX_TABLE_BIR, ==, 4);
}

static void test_property_all(const void *data)
{
    g_autoptr(VFIOUserTestVM) vm = start_empty();
    g_autoptr(GString) json = g_string_new("");
    QPCIDevice *device;
    QPCIBus *bus;
    size_t i;

    g_string_append_printf(json, "'socket': '%s'", vm->socket_path);
    for (i = 0; i < G_N_ELEMENTS(properties); i++) {
        g_string_append_printf(json, ", '%s': %s", properties[i].name,
                               properties[i].value);
    }
    plug_well(vm, json->str);
    for (i = 0; i < G_N_ELEMENTS(properties); i++) {
        vfio_user_test_assert_property(vm, properties[i].name,
                                       properties[i].shown ?:
                                       properties[i].value);
    }
    bus = qpci_new_pc(vm->qts, NULL);
    device = find(bus);
    assert_identity(device);
    g_free(device);
    qpci_free_pc(bus);
    vfio_user_test_qmp_error(vm, "dev0: ", "{'execute': 'migrate',"
                             " 'arguments': {'uri': 'unix:/nowhere'}}");
}

/* Mapped regions are not seen by the server, unless the property says so. */
static void test_property_no_mmap(const void *data)
{
    const char *device = data;
    VFIOUserTestVMConfig config = { .name = "guest", .device = device };
    MockPattern read = MOCK_PATTERN_REGION(MOCK_REGION_READ, 2, PAGE);
    g_autoptr(Guest) guest = NULL;
    MockConfig mock;
    QPCIBar bar2;

    mock_config_init(&mock);
    mock.bar2_size = 0x4000;
    mock.bar2_areas = 1;
    config.mock = &mock;
    guest = guest_start_vm(&config);
    bar2 = qpci_iomap(guest->device, 2, NULL);
    qpci_io_readl(guest->device, bar2, PAGE);
    g_assert_cmpuint(mock_journal_count(guest->vm->mock, 0, &read), ==,
                     device ? 1 : 0);
}

/* --- pages that the guest gives back --- */

/* Give a page of the guest to the balloon. */
static void give_page(QTestState *qts, QVirtioPCIDevice *balloon,
                      QGuestAllocator *alloc)
{
    QVirtioDevice *vdev = &balloon->vdev;
    uint64_t list = guest_alloc(alloc, sizeof(uint32_t));
    QVirtQueue *queue;
    uint32_t head;

    qvirtio_pci_device_enable(balloon);
    qvirtio_start_device(vdev);
    qvirtio_set_features(vdev, qvirtio_get_features(vdev) &
                               (1ull << VIRTIO_F_VERSION_1));
    queue = qvirtqueue_setup(vdev, alloc, 0);
    qvirtio_set_driver_ok(vdev);
    qtest_writel(qts, list, BALLOON_PAGE / PAGE);
    head = qvirtqueue_add(qts, queue, list, sizeof(uint32_t), false, false);
    qvirtqueue_kick(qts, vdev, queue, head);
    qvirtio_wait_used_elem(qts, vdev, queue, head, NULL,
                           VFIO_USER_TEST_DEADLINE_MS * 1000LL);
    qvirtqueue_cleanup(vdev->bus, queue, alloc);
}

/* QEMU keeps the page as long as a server may use it. */
static void test_property_balloon(const void *data)
{
    const char *device = data;
    VFIOUserTestVMConfig config = {
        .name = "guest", .device = device,
        .options = "-device virtio-balloon-pci,addr="
                   stringify(BALLOON_SLOT) ".0,disable-legacy=on",
    };
    QPCIAddress address = { .devfn = QPCI_DEVFN(BALLOON_SLOT, 0) };
    g_autoptr(Guest) guest = guest_start_vm(&config);
    QTestState *qts = guest->vm->qts;
    QVirtioPCIDevice *balloon = virtio_pci_new(guest->bus, &address);
    QGuestAllocator alloc;

    g_assert_nonnull(balloon);
    pc_alloc_init(&alloc, qts, 0);
    qtest_writel(qts, BALLOON_PAGE, BALLOON_VALUE);
    give_page(qts, balloon, &alloc);
    g_assert_cmphex(qtest_readl(qts, BALLOON_PAGE), ==,
                    device ? 0 : BALLOON_VALUE);
    qos_object_destroy(&balloon->obj);
    alloc_destroy(&alloc);
}

/* --- what cannot be --- */

static const struct {
    const char *properties, *error;
} refused[] = {
    { "'x-pci-class-code': 16777216",
      "x-pci-class-code has more than 24 bits (got 0x1000000)" },
    { "'x-pci-vendor-id': 65536", "invalid PCI vendor ID provided" },
    { "'x-pci-sub-device-id': 65536",
      "invalid PCI subsystem device ID provided" },
    { "'x-max-write-size': 7",
      "x-max-write-size is less than a register (got 7, limit 8)" },
    { "'x-msix-relocation': 'bar7'", "does not accept value 'bar7'" },
    { "'x-enable-migration': 'maybe'", "does not accept value 'maybe'" },
    { "'x-msg-timeout': -1", "uint32" },
    { "'x-msg-timeout': 4294967296", "uint32" },
    { "'reconnect': -1", "uint32" },
    { "'reconnect': 4294967296", "uint32" },
    { "'reconnect': 1, 'socket': {'type': 'fd', 'str': '3'}",
      "'reconnect' needs the address of a socket, not an open one" },
    { "'secure-dma': 'perhaps'", "expects 'on' or 'off'" },
    { "'host': '0000:00:01.0'", "'vfio-user-pci.host' not found" },
    { "'socket': {'type': 7}", "'socket.type'" },
    { "'socket': {'type': 'unix'}", "'socket.path' is missing" },
    { "'socket': {'type': 'carrier-pigeon'}",
      "does not accept value 'carrier-pigeon'" },
};

static void test_property_refused(const void *data)
{
    g_autoptr(VFIOUserTestVM) vm = start_empty();
    unsigned fds = vfio_user_test_count_fds(vm->pid);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(refused); i++) {
        const char *row = refused[i].properties;
        g_autofree char *all = strstr(row, "'socket'") ? g_strdup(row) :
            g_strdup_printf("'socket': '%s', %s", vm->socket_path, row);
        g_autofree char *error = plug(vm, all);

        g_test_message("%s: %s", row, error);
        if (!error || !strstr(error, refused[i].error)) {
            vfio_user_test_fail("%s: not \"%s\", but: %s", row,
                                refused[i].error, error);
        }
    }
    vfio_user_test_settle(vm);
    g_assert_cmpuint(vfio_user_test_count_fds(vm->pid), ==, fds);
}

static const struct {
    const char *path;
    void (*run)(const void *data);
    const char *data;
} property_tests[] = {
    { "socket/path", test_property_socket, "'socket': '%s'" },
    { "socket/address", test_property_socket,
      "'socket': {'type': 'unix', 'path': '%s'}" },
    { "socket/command-line", test_property_command_line },
    { "all", test_property_all },
    { "no-mmap/off", test_property_no_mmap },
    { "no-mmap/on", test_property_no_mmap, "x-no-mmap=on" },
    { "balloon/off", test_property_balloon },
    { "balloon/on", test_property_balloon, "x-balloon-allowed=on" },
    { "refused", test_property_refused },
};

void vfio_user_test_add_property(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(property_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/property/%s",
                                                property_tests[i].path);

        vfio_user_test_add(path, property_tests[i].run,
                           property_tests[i].data);
    }
}
