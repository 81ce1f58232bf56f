/*
 * A VM whose device is enabled as a guest's driver does it, for the vfio-user
 * qtests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "guest.h"
#include "standard-headers/linux/pci_regs.h"

/* The device has no I/O ports, which qpci_device_enable() insists on. */
void guest_enable(Guest *guest)
{
    qpci_config_writew(guest->device, PCI_COMMAND,
                       PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

Guest *guest_start_vm(const VFIOUserTestVMConfig *config)
{
    Guest *guest = g_new0(Guest, 1);

    guest->vm = vfio_user_test_vm_new(config);
    guest->bus = qpci_new_pc(guest->vm->qts, NULL);
    guest->device = qpci_device_find(guest->bus,
        QPCI_DEVFN(VFIO_USER_TEST_DEVICE_SLOT, 0));
    g_assert_nonnull(guest->device);
    guest_enable(guest);
    guest->bar0 = qpci_iomap(guest->device, 0, NULL);
    return guest;
}

Guest *guest_start(const char *machine, const char *properties)
{
    VFIOUserTestVMConfig config = {
        .name = "guest", .machine = machine, .device = properties,
    };

    return guest_start_vm(&config);
}

void guest_stop(Guest *guest)
{
    g_free(guest->device);
    qpci_free_pc(guest->bus);
    vfio_user_test_vm_free(guest->vm);
    g_free(guest);
}

uint32_t guest_readl(Guest *guest, uint64_t offset)
{
    return qpci_io_readl(guest->device, guest->bar0, offset);
}

void guest_writel(Guest *guest, uint64_t offset, uint32_t value)
{
    qpci_io_writel(guest->device, guest->bar0, offset, value);
}

void guest_dma(Guest *guest, uint64_t address, uint32_t length,
               uint8_t pattern, uint32_t operation)
{
    qpci_io_writeq(guest->device, guest->bar0, MOCK_BAR0_DMA_ADDR, address);
    guest_writel(guest, MOCK_BAR0_DMA_LENGTH, length);
    guest_writel(guest, MOCK_BAR0_DMA_PATTERN, pattern);
    guest_writel(guest, MOCK_BAR0_DMA_DOORBELL, operation);
}
