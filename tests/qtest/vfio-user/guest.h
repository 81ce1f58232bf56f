/*
 * A VM whose device is enabled as a guest's driver does it, for the vfio-user
 * qtests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_GUEST_H
#define TESTS_QTEST_VFIO_USER_GUEST_H

#include "framework.h"
#include "libqos/pci.h"
#include "libqos/pci-pc.h"

/* Memory and bus mastering are on, and BAR0 is mapped. */
typedef struct Guest {
    VFIOUserTestVM *vm;
    QPCIBus *bus;
    QPCIDevice *device;
    QPCIBar bar0;
} Guest;

/* Start one. NULL takes the default; @properties are the device's. */
Guest *guest_start(const char *machine, const char *properties);

/* The same from a config for the VM. */
Guest *guest_start_vm(const VFIOUserTestVMConfig *config);

/* Turn memory and bus mastering on, again after a reset; BARs stay. */
void guest_enable(Guest *guest);

/* End it with its VM. */
void guest_stop(Guest *guest);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Guest, guest_stop)

/* Registers of BAR0, MOCK_BAR0_... */
uint32_t guest_readl(Guest *guest, uint64_t offset);
void guest_writel(Guest *guest, uint64_t offset, uint32_t value);

/*
 * Have the device do DMA on @length bytes at @address: @operation is what to
 * write to the doorbell, MOCK_DMA_... Posted writes, unless they are off.
 */
void guest_dma(Guest *guest, uint64_t address, uint32_t length,
               uint8_t pattern, uint32_t operation);

#endif /* TESTS_QTEST_VFIO_USER_GUEST_H */
