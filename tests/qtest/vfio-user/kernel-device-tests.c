/*
 * A kernel device as the guest sees it: config space, registers, interrupts,
 * reset, unplug. All of them go through hw/vfio's kernel backend.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "kernel-framework.h"
#include "pci.h"
#include "libqos/pci.h"
#include "libqos/pci-pc.h"
#include "standard-headers/linux/pci_regs.h"

/* Guest address, in memory that is nothing but RAM */
#define MESSAGE 0x00400000

/* A guest with its device enabled and BAR 0 mapped */
typedef struct Guest {
    KernelTestVM *vm;
    QPCIBus *bus;
    QPCIDevice *device;
    QPCIBar bar0;
    uint64_t bar0_size;
} Guest;

static Guest *guest_start(const char *properties)
{
    KernelTestVMConfig config = { .name = "guest", .device = properties };
    Guest *guest = g_new0(Guest, 1);

    guest->vm = kernel_test_vm_new(&config);
    guest->bus = qpci_new_pc(guest->vm->qts, NULL);
    guest->device = qpci_device_find(guest->bus,
                                     QPCI_DEVFN(KERNEL_TEST_DEVICE_SLOT, 0));
    g_assert_nonnull(guest->device);
    /* the device has no I/O ports, which qpci_device_enable() insists on */
    qpci_config_writew(guest->device, PCI_COMMAND,
                       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
    guest->bar0 = qpci_iomap(guest->device, 0, &guest->bar0_size);
    return guest;
}

static void guest_stop(Guest *guest)
{
    g_free(guest->device);
    qpci_free_pc(guest->bus);
    kernel_test_vm_free(guest->vm);
    g_free(guest);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Guest, guest_stop)

static void test_config_space(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL);
    QPCIDevice *device = guest->device;

    g_assert_cmphex(qpci_config_readw(device, PCI_VENDOR_ID), ==,
                    FAKE_KERNEL_VENDOR_ID);
    g_assert_cmphex(qpci_config_readw(device, PCI_DEVICE_ID), ==,
                    FAKE_KERNEL_DEVICE_ID);
    qpci_config_writeb(device, PCI_CACHE_LINE_SIZE, 0x10);
    g_assert_cmphex(qpci_config_readb(device, PCI_CACHE_LINE_SIZE), ==, 0x10);
    qpci_config_writew(device, PCI_VENDOR_ID, 0x1234);
    g_assert_cmphex(qpci_config_readw(device, PCI_VENDOR_ID), ==,
                    FAKE_KERNEL_VENDOR_ID);
    g_assert_cmpuint(guest->bar0_size, ==, FAKE_KERNEL_BAR0_SIZE);
    g_assert_cmpuint(qpci_msix_table_size(device), ==,
                     FAKE_KERNEL_MSIX_VECTORS);
}

/* @data is the device's properties: BAR 0 is mapped, or it is not */
static void test_registers(const void *data)
{
    g_autoptr(Guest) guest = guest_start(data);
    QPCIDevice *device = guest->device;
    QPCIBar bar = guest->bar0;
    uint64_t last = FAKE_KERNEL_BAR0_SIZE - 8;

    qpci_io_writeq(device, bar, last, 0x1122334455667788ull);
    qpci_io_writel(device, bar, last + 4, 0xaabbccdd);
    qpci_io_writew(device, bar, last + 2, 0xeeff);
    qpci_io_writeb(device, bar, last + 1, 0x99);
    g_assert_cmphex(qpci_io_readq(device, bar, last), ==,
                    0xaabbccddeeff9988ull);
    g_assert_cmphex(qpci_io_readl(device, bar, last), ==, 0xeeff9988);
    g_assert_cmphex(qpci_io_readw(device, bar, last + 2), ==, 0xeeff);
    g_assert_cmphex(qpci_io_readb(device, bar, last + 7), ==, 0xaa);
    g_assert_cmphex(qpci_io_readl(device, bar, FAKE_KERNEL_BAR0_ID), ==,
                    FAKE_KERNEL_BAR0_ID_VALUE);
}

/* --- interrupts --- */

static void ring_doorbell(Guest *guest, uint32_t value)
{
    qpci_io_writel(guest->device, guest->bar0, FAKE_KERNEL_BAR0_DOORBELL,
                   value);
}

/* The message goes to RAM, where it can be seen */
static void test_msix(const void *data)
{
    g_autoptr(Guest) guest = guest_start("x-no-mmap=on");
    unsigned vector;

    qpci_msix_enable(guest->device);
    for (vector = 0; vector < FAKE_KERNEL_MSIX_VECTORS; vector++) {
        pci_test_set_vector(guest->device, vector, MESSAGE + 4 * vector,
                            0x100 + vector);
    }
    for (vector = 0; vector < FAKE_KERNEL_MSIX_VECTORS; vector++) {
        g_assert_cmphex(qtest_readl(guest->vm->qts, MESSAGE + 4 * vector), ==,
                        0);
        ring_doorbell(guest, vector);
        pci_test_wait_message(guest->vm->qts, MESSAGE + 4 * vector,
                              0x100 + vector);
    }
    qpci_msix_disable(guest->device);
}

/*
 * The kernel masks the interrupt when it raises it. The guest's access to the
 * device is what ends it for QEMU, which unmasks it: the next one comes.
 */
static void test_intx(const void *data)
{
    g_autoptr(Guest) guest = NULL;
    int i;

    guest = guest_start("x-no-mmap=on");
    qtest_irq_intercept_in(guest->vm->qts, "ioapic");
    for (i = 0; i < 3; i++) {
        g_assert_false(pci_test_intx_level(guest->vm->qts));
        ring_doorbell(guest, FAKE_KERNEL_DOORBELL_INTX);
        pci_test_wait_intx(guest->vm->qts, true);
        qpci_io_readl(guest->device, guest->bar0, FAKE_KERNEL_BAR0_ID);
        kernel_test_settle(guest->vm);
    }
}

/* --- the life of a device --- */

/* The reset clears the memory that the guest has mapped, so it is the same. */
static void test_reset(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL);
    QPCIDevice *device = guest->device;
    uint64_t last = FAKE_KERNEL_BAR0_SIZE - 4;

    qpci_io_writel(device, guest->bar0, last, 0xfeedf00d);
    kernel_test_qmp(guest->vm, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(guest->vm->qts, "RESET");
    kernel_test_assert_journal(guest->vm, "RESET");
    qpci_config_writel(device, PCI_BASE_ADDRESS_0, guest->bar0.addr);
    qpci_config_writew(device, PCI_COMMAND, PCI_COMMAND_MEMORY);
    g_assert_cmphex(qpci_io_readl(device, guest->bar0, FAKE_KERNEL_BAR0_ID),
                    ==, FAKE_KERNEL_BAR0_ID_VALUE);
    g_assert_cmphex(qpci_io_readl(device, guest->bar0, last), ==, 0);
}

static unsigned count_fds(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    unsigned count = 0;

    g_assert_nonnull(dir);
    while (g_dir_read_name(dir)) {
        count++;
    }
    return count;
}

/* A device that is let go of can be had again */
static void test_unplug(const void *data)
{
    KernelTestVMConfig config = { .name = "guest", .machine = "pc" };
    g_autoptr(KernelTestVM) vm = kernel_test_vm_new(&config);
    unsigned fds = count_fds(vm->pid);
    int i;

    for (i = 0; i < 2; i++) {
        qpci_unplug_acpi_device_test(vm->qts, "dev0", KERNEL_TEST_DEVICE_SLOT);
        kernel_test_assert_journal(vm, "");
        kernel_test_qmp(vm, "{'execute': 'device_add', 'arguments': {"
                        "'driver': 'vfio-pci', 'id': 'dev0', 'addr': '5.0',"
                        "'x-enable-migration': true, 'sysfsdev': %s}}",
                        vm->sysfs);
        kernel_test_assert_journal(vm, "R 1, RESET");
        g_assert_cmpuint(count_fds(vm->pid), ==, fds);
    }
}

static const struct {
    const char *path;
    void (*run)(const void *data);
    const char *data;
} device_tests[] = {
    { "config-space", test_config_space },
    { "registers/mapped", test_registers },
    { "registers/not-mapped", test_registers, "x-no-mmap=on" },
    { "msix", test_msix },
    { "intx", test_intx },
    { "reset", test_reset },
    { "unplug", test_unplug },
};

void kernel_test_add_device(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(device_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-kernel/device/%s",
                                                device_tests[i].path);

        kernel_test_add(path, device_tests[i].run, device_tests[i].data);
    }
}
