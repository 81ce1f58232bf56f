/*
 * What the qtests of vfio-user-pci and of vfio-pci alike do with a device on
 * QEMU's PCI bus.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "pci.h"
#include "qapi/qmp/qdict.h"
#include "standard-headers/linux/pci_regs.h"

static gint64 new_deadline(void)
{
    return g_get_monotonic_time() +
           PCI_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
}

/* Let QEMU's main loop do something. */
static void settle(QTestState *qts)
{
    int i;

    for (i = 0; i < 2; i++) {
        qobject_unref(qtest_qmp(qts, "{'execute': 'query-status'}"));
    }
}

void pci_test_set_vector(QPCIDevice *device, unsigned vector,
                         uint32_t address, uint32_t value)
{
    uint64_t entry = device->msix_table_off + vector * PCI_MSIX_ENTRY_SIZE;
    QPCIBar bar = device->msix_table_bar;

    qpci_io_writel(device, bar, entry + PCI_MSIX_ENTRY_LOWER_ADDR, address);
    qpci_io_writel(device, bar, entry + PCI_MSIX_ENTRY_UPPER_ADDR, 0);
    qpci_io_writel(device, bar, entry + PCI_MSIX_ENTRY_DATA, value);
    qpci_io_writel(device, bar, entry + PCI_MSIX_ENTRY_VECTOR_CTRL, 0);
}

void pci_test_wait_message(QTestState *qts, uint64_t address, uint32_t value)
{
    gint64 deadline = new_deadline();

    while (qtest_readl(qts, address) != value &&
           g_get_monotonic_time() < deadline) {
        settle(qts);
    }
    g_assert_cmphex(qtest_readl(qts, address), ==, value);
}

bool pci_test_intx_level(QTestState *qts)
{
    bool level = false;
    int i;

    /* inputs of its IO-APIC that PCI interrupts may be routed to */
    for (i = 16; i < 24; i++) {
        level |= qtest_get_irq(qts, i);
    }
    return level;
}

void pci_test_wait_intx(QTestState *qts, bool level)
{
    gint64 deadline = new_deadline();

    while (pci_test_intx_level(qts) != level &&
           g_get_monotonic_time() < deadline) {
        settle(qts);
    }
    g_assert_cmpint(pci_test_intx_level(qts), ==, level);
}
