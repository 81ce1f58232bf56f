/*
 * Resets of a VFIO device that takes part in migration: kept apart from its
 * data, followed by a look at its state, and put off while it cannot be reset.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/range.h"
#include "hw/pci/pci.h"
#include "hw/vfio/pci.h"
#include "trace.h"

void vfio_migration_reset_begin(VFIODevice *vbasedev)
{
    VFIOMigrationControl *control;
    VFIOMigrationReset reset;

    if (!vbasedev->migration || vbasedev->migration->control.resetting) {
        return;
    }
    control = &vbasedev->migration->control;
    control->resetting = true;
    qemu_mutex_lock(&control->data_lock);
    reset = vfio_migration_state_reset_begin(&control->state);
    trace_vfio_migration_reset(vbasedev->name,
                               reset == VFIO_MIGRATION_RESET_NOW ? "now" :
                               reset == VFIO_MIGRATION_RESET_LATER ?
                               "later, the device is stopped" :
                               "never, the device is being loaded");
}

int vfio_migration_device_reset(VFIODevice *vbasedev)
{
    if (vbasedev->migration &&
        vbasedev->migration->control.state.reset != VFIO_MIGRATION_RESET_NOW) {
        return 0;
    }
    return vbasedev->io_ops->device_reset(vbasedev);
}

void vfio_migration_reset_end(VFIODevice *vbasedev)
{
    VFIOMigrationControl *control;
    int ret;

    if (!vbasedev->migration || !vbasedev->migration->control.resetting) {
        return;
    }
    control = &vbasedev->migration->control;
    vbasedev->migration->pending_bytes = 0;
    ret = vfio_migration_state_reset_end(&control->state);
    qemu_mutex_unlock(&control->data_lock);
    control->resetting = false;
    if (ret) {
        vfio_migration_abort(ret, NULL);
    }
}

/* The bits of @mask, in the byte at @at, that the write sets. */
static uint8_t config_written(uint32_t addr, uint32_t val, int len,
                              uint32_t at, uint8_t mask)
{
    return range_covers_byte(addr, len, at) ?
           (val >> (8 * (at - addr))) & mask : 0;
}

/*
 * From D3hot to D0 a function starts anew, unless it says it does not.  Where
 * it is only the device knows: QEMU's copy of the register is not written.
 */
static bool config_wakes(VFIOPCIDevice *vdev, uint32_t addr, uint32_t val,
                         int len)
{
    PCIDevice *pdev = &vdev->pdev;
    uint8_t pm = pci_find_capability(pdev, PCI_CAP_ID_PM);
    uint16_t control;

    if (!pm || !range_covers_byte(addr, len, pm + PCI_PM_CTRL) ||
        config_written(addr, val, len, pm + PCI_PM_CTRL,
                       PCI_PM_CTRL_STATE_MASK)) {
        return false;
    }
    control = vfio_pci_read_config(pdev, pm + PCI_PM_CTRL, sizeof(control));
    return (control & PCI_PM_CTRL_STATE_MASK) == 3 &&
           !(control & PCI_PM_CTRL_NO_SOFT_RESET);
}

bool vfio_migration_config_resets(VFIOPCIDevice *vdev, uint32_t addr,
                                  uint32_t val, int len)
{
    PCIDevice *pdev = &vdev->pdev;
    VFIODevice *vbasedev = &vdev->vbasedev;
    uint8_t express, features;

    if (!vbasedev->migration || vbasedev->migration->control.resetting) {
        return false;
    }
    express = pdev->exp.exp_cap ?: pci_find_capability(pdev, PCI_CAP_ID_EXP);
    features = pci_find_capability(pdev, PCI_CAP_ID_AF);
    if (!(express && config_written(addr, val, len,
                                    express + PCI_EXP_DEVCTL + 1,
                                    PCI_EXP_DEVCTL_BCR_FLR >> 8)) &&
        !(features && config_written(addr, val, len, features + PCI_AF_CTRL,
                                     PCI_AF_CTRL_FLR)) &&
        !config_wakes(vdev, addr, val, len)) {
        return false;
    }
    vfio_migration_reset_begin(vbasedev);
    return true;
}
