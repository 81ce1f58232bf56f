/*
 * vfio-user device: what a guest has seen of its device, which has to be the
 * same where it migrates to.  The source says it before all else, so that a
 * destination whose server has another device refuses while the guest runs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/error-report.h"
#include "hw/vfio/pci.h"
#include "migration/qemu-file.h"
#include "device-internal.h"

/* In the stream: how many there are, then their values; never reorder. */
static const char *const identity_names[] = {
    "vendor ID", "device ID", "subsystem vendor ID", "subsystem ID",
    "class and revision", "number of regions", "size of config space",
    "size of BAR 0", "size of BAR 1", "size of BAR 2",
    "size of BAR 3", "size of BAR 4", "size of BAR 5", "size of ROM",
    "type of BAR 0", "type of BAR 1", "type of BAR 2",
    "type of BAR 3", "type of BAR 4", "type of BAR 5",
    "number of MSI-X vectors", "place of MSI-X table", "place of MSI-X PBA",
    "list of capabilities",
};

/* A later QEMU may have more to say. */
#define IDENTITY_MOST 1024

/* A number for the capabilities and where they are: the FNV-1a hash */
static uint64_t identity_capabilities(const uint8_t *config)
{
    uint8_t at = config[PCI_CAPABILITY_LIST];
    uint64_t hash = 0xcbf29ce484222325ull;
    int i;

    for (i = 0; at && i < PCI_CONFIG_SPACE_SIZE; i++) {
        hash = (hash ^ at) * 0x100000001b3ull;
        hash = (hash ^ config[at + PCI_CAP_LIST_ID]) * 0x100000001b3ull;
        at = config[at + PCI_CAP_LIST_NEXT];
    }
    return hash;
}

static void identity_get(VFIODevice *vbasedev, uint64_t *value)
{
    VFIOPCIDevice *vdev = container_of(vbasedev, VFIOPCIDevice, vbasedev);
    const VFIOUserDevice *device = vbasedev->io_opaque;
    const VFIOMSIXInfo *msix = vdev->msix;
    const uint8_t *config = vdev->pdev.config;
    int i;

    *value++ = pci_get_word(config + PCI_VENDOR_ID);
    *value++ = pci_get_word(config + PCI_DEVICE_ID);
    *value++ = pci_get_word(config + PCI_SUBSYSTEM_VENDOR_ID);
    *value++ = pci_get_word(config + PCI_SUBSYSTEM_ID);
    *value++ = pci_get_long(config + PCI_CLASS_REVISION);
    *value++ = device->num_regions;
    *value++ = vdev->config_size;
    for (i = 0; i < PCI_ROM_SLOT; i++) {
        *value++ = vdev->bars[i].size;
    }
    *value++ = device->regions[VFIO_PCI_ROM_REGION_INDEX].desc.size;
    for (i = 0; i < PCI_ROM_SLOT; i++) {
        *value++ = vdev->bars[i].type;
    }
    *value++ = msix ? msix->entries : 0;
    *value++ = msix ? (uint64_t)msix->table_bar << 32 | msix->table_offset : 0;
    *value++ = msix ? (uint64_t)msix->pba_bar << 32 | msix->pba_offset : 0;
    *value++ = identity_capabilities(config);
}

void vfio_user_device_save_identity(VFIODevice *vbasedev, QEMUFile *f)
{
    uint64_t values[ARRAY_SIZE(identity_names)];
    int i;

    identity_get(vbasedev, values);
    qemu_put_be32(f, ARRAY_SIZE(values));
    for (i = 0; i < ARRAY_SIZE(values); i++) {
        qemu_put_be64(f, values[i]);
    }
}

int vfio_user_device_load_identity(VFIODevice *vbasedev, QEMUFile *f)
{
    uint64_t values[ARRAY_SIZE(identity_names)];
    uint32_t number = qemu_get_be32(f), i;

    if (number > IDENTITY_MOST) {
        error_report("%s: identity: too many values (got %u, limit %u)",
                     vbasedev->name, number, IDENTITY_MOST);
        return -EINVAL;
    }
    identity_get(vbasedev, values);
    for (i = 0; i < number; i++) {
        uint64_t there = qemu_get_be64(f);

        if (qemu_file_get_error(f)) {
            error_report("%s: identity: ends early", vbasedev->name);
            return -EINVAL;
        }
        if (i < ARRAY_SIZE(values) && there != values[i]) {
            error_report("%s: not the source's device: %s is 0x%" PRIx64
                         ", and 0x%" PRIx64 " at the source", vbasedev->name,
                         identity_names[i], values[i], there);
            return -EINVAL;
        }
    }
    return 0;
}
