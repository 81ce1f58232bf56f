/*
 * The device as the guest sees it and as its server sees the guest: config
 * space, registers, interrupts, DMA, reset and unplug.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "pci.h"
#include "qemu/bswap.h"
#include "standard-headers/linux/pci_regs.h"

#define PAGE 0x1000
/* Guest addresses, in memory that is nothing but RAM */
#define BUFFER 0x00300000
#define MESSAGE 0x00400000

static void test_device_config_space(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    QPCIDevice *device = guest->device;

    g_assert_cmphex(qpci_config_readw(device, PCI_VENDOR_ID), ==,
                    MOCK_PCI_VENDOR_ID);
    g_assert_cmphex(qpci_config_readw(device, PCI_DEVICE_ID), ==,
                    MOCK_PCI_DEVICE_ID);
    g_assert_cmphex(qpci_config_readl(device, PCI_CLASS_REVISION) >> 8, ==,
                    MOCK_PCI_CLASS);
    g_assert_cmphex(qpci_config_readw(device, PCI_SUBSYSTEM_VENDOR_ID), ==,
                    MOCK_PCI_SUBSYSTEM_VENDOR_ID);
    qpci_config_writeb(device, PCI_CACHE_LINE_SIZE, 0x10);
    g_assert_cmphex(qpci_config_readb(device, PCI_CACHE_LINE_SIZE), ==, 0x10);
    g_assert_cmphex(qpci_msix_table_size(device), ==, MOCK_MSIX_VECTORS);
}

static void test_device_vendor_property(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, "x-pci-vendor-id=0x1234");

    g_assert_cmphex(qpci_config_readw(guest->device, PCI_VENDOR_ID), ==,
                    0x1234);
}

/* What the guest reads of a register is what the server has there */
static void assert_scratch(Guest *guest, unsigned index, uint64_t value)
{
    g_assert_cmphex(qpci_io_readq(guest->device, guest->bar0,
                                  MOCK_BAR0_SCRATCH + 8 * index), ==, value);
    g_assert_cmphex(mock_scratch_get(guest->vm->mock, index), ==, value);
}

static void test_device_registers(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    QPCIDevice *device = guest->device;
    uint64_t scratch = MOCK_BAR0_SCRATCH;

    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_ID), ==, MOCK_BAR0_ID_VALUE);

    mock_scratch_set(guest->vm->mock, 3, 0x0123456789abcdefull);
    assert_scratch(guest, 3, 0x0123456789abcdefull);
    g_assert_cmphex(qpci_io_readl(device, guest->bar0, scratch + 28), ==,
                    0x01234567);
    g_assert_cmphex(qpci_io_readw(device, guest->bar0, scratch + 26), ==,
                    0x89ab);
    g_assert_cmphex(qpci_io_readb(device, guest->bar0, scratch + 25), ==,
                    0xcd);

    qpci_io_writeq(device, guest->bar0, scratch, 0x1122334455667788ull);
    assert_scratch(guest, 0, 0x1122334455667788ull);
    qpci_io_writel(device, guest->bar0, scratch + 4, 0xaabbccdd);
    assert_scratch(guest, 0, 0xaabbccdd55667788ull);
    qpci_io_writew(device, guest->bar0, scratch + 2, 0xeeff);
    assert_scratch(guest, 0, 0xaabbccddeeff7788ull);
    qpci_io_writeb(device, guest->bar0, scratch + 1, 0x99);
    assert_scratch(guest, 0, 0xaabbccddeeff9988ull);
}

static bool register_write_wants_reply(Guest *guest)
{
    static const MockPattern write = MOCK_PATTERN_REGION(MOCK_REGION_WRITE,
                                                         MOCK_REGION_BAR0,
                                                         MOCK_BAR0_SCRATCH);
    VFIOUserTestVM *vm = guest->vm;
    MockEntry entry;
    int index;

    index = mock_journal_wait(vm->mock, vm->mark, &write, 1,
                              VFIO_USER_TEST_DEADLINE_MS);
    g_assert_cmpint(index, >=, 0);
    g_assert_true(mock_journal_get(vm->mock, index, &entry));
    return !entry.no_reply;
}

/* The server reads its socket in order: after a read, the write is there */
static void test_device_posted_write(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, NULL);

    guest_writel(guest, MOCK_BAR0_SCRATCH, 0xfeedf00d);
    guest_readl(guest, MOCK_BAR0_ID);
    g_assert_cmphex(mock_scratch_get(guest->vm->mock, 0), ==, 0xfeedf00d);
    g_assert_false(register_write_wants_reply(guest));
}

static void test_device_answered_write(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, "x-no-posted-writes=on");

    guest_writel(guest, MOCK_BAR0_SCRATCH, 0xfeedf00d);
    g_assert_cmphex(mock_scratch_get(guest->vm->mock, 0), ==, 0xfeedf00d);
    g_assert_true(register_write_wants_reply(guest));
}

/* --- interrupts --- */

/* Does a vector's message, @value, go to RAM at @address? */
static void assert_interrupts(Guest *guest, unsigned irq, unsigned vector,
                              uint64_t address, uint32_t value)
{
    QTestState *qts = guest->vm->qts;

    g_assert_cmphex(qtest_readl(qts, address), ==, 0);
    g_assert_cmpint(mock_raise_irq(guest->vm->mock, irq, vector), ==, 0);
    pci_test_wait_message(qts, address, value);
}

static void test_device_msi(const void *data)
{
    VFIOUserTestVMConfig config = { .name = "guest" };
    g_autoptr(Guest) guest = NULL;
    MockConfig mock;
    uint16_t flags;
    uint8_t msi;

    mock_config_init(&mock);
    mock.msi = true;
    config.mock = &mock;
    guest = guest_start_vm(&config);
    msi = qpci_find_capability(guest->device, PCI_CAP_ID_MSI, 0);
    g_assert_cmpuint(msi, !=, 0);
    flags = qpci_config_readw(guest->device, msi + PCI_MSI_FLAGS);
    g_assert_cmphex(flags & PCI_MSI_FLAGS_64BIT, !=, 0);
    qpci_config_writel(guest->device, msi + PCI_MSI_ADDRESS_LO, MESSAGE);
    qpci_config_writel(guest->device, msi + PCI_MSI_ADDRESS_HI, 0);
    qpci_config_writew(guest->device, msi + PCI_MSI_DATA_64, 0x123);
    qpci_config_writew(guest->device, msi + PCI_MSI_FLAGS,
                       flags | PCI_MSI_FLAGS_ENABLE);
    g_assert_cmpuint(mock_irq_count(guest->vm->mock, MOCK_IRQ_MSI), ==, 1);
    g_assert_cmpuint(mock_irq_count(guest->vm->mock, MOCK_IRQ_INTX), ==, 0);
    assert_interrupts(guest, MOCK_IRQ_MSI, 0, MESSAGE, 0x123);

    qpci_config_writew(guest->device, msi + PCI_MSI_FLAGS, flags);
    g_assert_cmpuint(mock_irq_count(guest->vm->mock, MOCK_IRQ_MSI), ==, 0);
    g_assert_cmpuint(mock_irq_count(guest->vm->mock, MOCK_IRQ_INTX), ==, 1);
}

static void test_device_msix(const void *data)
{
    unsigned max_fds = GPOINTER_TO_UINT(data), vector, i;
    VFIOUserTestVMConfig config = { .name = "guest" };
    g_autoptr(Guest) guest = NULL;
    MockConfig mock_config;
    MockEntry entry;
    Mock *mock;

    mock_config_init(&mock_config);
    mock_config.max_msg_fds = max_fds;
    config.mock = &mock_config;
    guest = guest_start_vm(&config);
    mock = guest->vm->mock;
    g_assert_cmpuint(mock_irq_count(mock, MOCK_IRQ_MSIX), ==, 0);
    qpci_msix_enable(guest->device);
    for (vector = 0; vector < MOCK_MSIX_VECTORS; vector++) {
        pci_test_set_vector(guest->device, vector, MESSAGE + 4 * vector,
                            0x100 + vector);
    }
    g_assert_cmpuint(mock_irq_count(mock, MOCK_IRQ_MSIX), ==,
                     MOCK_MSIX_VECTORS);
    g_assert_cmpuint(mock_irq_count(mock, MOCK_IRQ_INTX), ==, 0);
    for (vector = 0; vector < MOCK_MSIX_VECTORS; vector++) {
        assert_interrupts(guest, MOCK_IRQ_MSIX, vector, MESSAGE + 4 * vector,
                          0x100 + vector);
    }
    for (i = 0; mock_journal_get(mock, i, &entry); i++) {
        g_assert_true(entry.command != MOCK_DEVICE_SET_IRQS ||
                      entry.fds <= max_fds);
    }

    qpci_msix_disable(guest->device);
    g_assert_cmpuint(mock_irq_count(mock, MOCK_IRQ_MSIX), ==, 0);
    g_assert_cmpuint(mock_irq_count(mock, MOCK_IRQ_INTX), ==, 1);
}

/* The guest's access to the device is what ends the interrupt for QEMU */
static void test_device_intx(const void *data)
{
    g_autoptr(Guest) guest = guest_start("q35", NULL);
    Mock *mock = guest->vm->mock;
    int i;

    qtest_irq_intercept_in(guest->vm->qts, "ioapic");
    g_assert_cmpuint(mock_irq_count(mock, MOCK_IRQ_INTX), ==, 1);
    for (i = 0; i < 2; i++) {
        g_assert_false(pci_test_intx_level(guest->vm->qts));
        g_assert_cmpint(mock_raise_irq(mock, MOCK_IRQ_INTX, 0), ==, 0);
        pci_test_wait_intx(guest->vm->qts, true);
        g_assert_cmphex(guest_readl(guest, MOCK_BAR0_INTX_STATUS), ==, 1);
        guest_writel(guest, MOCK_BAR0_INTX_STATUS, 1);
        pci_test_wait_intx(guest->vm->qts, false);
    }
}

/* --- DMA --- */

static void assert_sees_guest(Guest *guest, uint64_t address)
{
    Mock *mock = guest->vm->mock;
    uint64_t value = 0x1000000000000000ull | address, seen = 0;

    qtest_writeq(guest->vm->qts, address, value);
    g_assert_cmpint(mock_dma_read(mock, address, &seen, sizeof(seen)), ==, 0);
    g_assert_cmphex(le64_to_cpu(seen), ==, value);
    seen = cpu_to_le64(~value);
    g_assert_cmpint(mock_dma_write(mock, address, &seen, sizeof(seen)), ==, 0);
    g_assert_cmphex(qtest_readq(guest->vm->qts, address), ==, ~value);
}

static void test_device_dma_maps(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    Mock *mock = guest->vm->mock;
    uint64_t address, value = 0;

    assert_sees_guest(guest, 0);
    assert_sees_guest(guest, 0xa0000 - PAGE);
    for (address = 0x100000; address < VFIO_USER_TEST_RAM_SIZE;
         address += 1024 * 1024) {
        assert_sees_guest(guest, address);
    }
    assert_sees_guest(guest, VFIO_USER_TEST_RAM_SIZE - 8);

    g_assert_cmpint(mock_dma_read(mock, VFIO_USER_TEST_RAM_SIZE, &value, 8),
                    ==, -ENOENT);
    /* firmware is not for the device to write */
    g_assert_cmpint(mock_dma_write(mock, 0xfffffff0, &value, 8), ==, -EACCES);
}

/* The guest has its device do the DMA */
static void test_device_dma_by_guest(const void *data)
{
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    QTestState *qts = guest->vm->qts;

    guest_dma(guest, BUFFER, 0x100, 0x5a, MOCK_DMA_FILL);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_DMA_STATUS), ==, 0);
    g_assert_cmphex(qtest_readl(qts, BUFFER), ==, 0x5a5a5a5a);
    g_assert_cmphex(qtest_readl(qts, BUFFER + 0xfc), ==, 0x5a5a5a5a);
    g_assert_cmphex(qtest_readl(qts, BUFFER + 0x100), ==, 0);

    qtest_writeb(qts, BUFFER, 0x5b);
    guest_dma(guest, BUFFER, 0x100, 0x5a, MOCK_DMA_SUM);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_DMA_STATUS), ==, 0);
    g_assert_cmphex(guest_readl(guest, MOCK_BAR0_DMA_RESULT), ==,
                    0x5a * 0x100 + 1);
}

/* --- the life of a device --- */

static void test_device_reset(const void *data)
{
    static const MockPattern reset = MOCK_PATTERN_COMMAND(MOCK_DEVICE_RESET);
    g_autoptr(Guest) guest = guest_start(NULL, NULL);
    VFIOUserTestVM *vm = guest->vm;
    unsigned resets = mock_reset_count(vm->mock);

    vm->mark = mock_journal_length(vm->mock);
    vfio_user_test_qmp(vm, "{'execute': 'system_reset'}");
    qtest_qmp_eventwait(vm->qts, "RESET");
    g_assert_cmpint(mock_journal_wait(vm->mock, vm->mark, &reset, 1,
                                      VFIO_USER_TEST_DEADLINE_MS), >=, 0);
    vfio_user_test_settle(vm);
    g_assert_cmpuint(mock_reset_count(vm->mock), ==, resets + 1);
    g_assert_cmpuint(mock_device_state(vm->mock), ==, MOCK_STATE_RUNNING);
    vfio_user_test_assert_states(vm, "");
}

static void test_device_unplug(const void *data)
{
    g_autoptr(Guest) guest = guest_start("pc", NULL);
    VFIOUserTestVM *vm = guest->vm;
    unsigned fds = vfio_user_test_count_fds(vm->pid);
    int i;

    for (i = 0; i < 3; i++) {
        qpci_unplug_acpi_device_test(vm->qts, "dev0",
                                     VFIO_USER_TEST_DEVICE_SLOT);
        g_assert_true(mock_wait_connected(vm->mock, false,
                                          VFIO_USER_TEST_DEADLINE_MS));
        g_assert_cmpuint(mock_dma_region_count(vm->mock), ==, 0);
        vfio_user_test_qmp(vm, "{'execute': 'device_add', 'arguments': {"
                           "'driver': 'vfio-user-pci', 'id': 'dev0',"
                           "'addr': '5.0', 'socket': %s}}", vm->socket_path);
        g_assert_true(mock_wait_connected(vm->mock, true,
                                          VFIO_USER_TEST_DEADLINE_MS));
        g_assert_cmpuint(vfio_user_test_count_fds(vm->pid), ==, fds);
    }
}

static const struct {
    const char *path;
    void (*run)(const void *data);
    unsigned number;
} device_tests[] = {
    { "config-space", test_device_config_space },
    { "vendor-property", test_device_vendor_property },
    { "registers", test_device_registers },
    { "posted-write", test_device_posted_write },
    { "answered-write", test_device_answered_write },
    { "msi", test_device_msi },
    { "msix", test_device_msix, 8 },
    { "msix/one-fd", test_device_msix, 1 },
    { "intx", test_device_intx },
    { "dma-maps", test_device_dma_maps },
    { "dma-by-guest", test_device_dma_by_guest },
    { "reset", test_device_reset },
    { "unplug", test_device_unplug },
};

void vfio_user_test_add_device(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(device_tests); i++) {
        g_autofree char *path = g_strdup_printf("/vfio-user/device/%s",
                                                device_tests[i].path);

        vfio_user_test_add(path, device_tests[i].run,
                           GUINT_TO_POINTER(device_tests[i].number));
    }
}
