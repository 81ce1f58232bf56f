/*
 * What the qtests of vfio-user-pci and of vfio-pci alike do with a device on
 * QEMU's PCI bus.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_PCI_H
#define TESTS_QTEST_VFIO_USER_PCI_H

#include "libqtest.h"
#include "libqos/pci.h"

/* How long each wait below may take */
#define PCI_TEST_DEADLINE_MS 20000

/* Let a vector of MSI-X, which is enabled, write @value to @address. */
void pci_test_set_vector(QPCIDevice *device, unsigned vector,
                         uint32_t address, uint32_t value);

/* Wait until @value is at @address, to where a vector has sent it. */
void pci_test_wait_message(QTestState *qts, uint64_t address, uint32_t value);

/* Is a line up that PCI interrupts of q35 take? "ioapic" is intercepted. */
bool pci_test_intx_level(QTestState *qts);

/* Wait until it is, or is not. */
void pci_test_wait_intx(QTestState *qts, bool level);

#endif /* TESTS_QTEST_VFIO_USER_PCI_H */
