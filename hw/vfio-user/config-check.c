/*
 * vfio-user device: a look through the server's config space for what
 * hw/vfio and hw/pci take on trust from hardware.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/pci/pci.h"
#include "hw/pci/msix.h"
#include "hw/vfio-user/device.h"

#define MAX_MSI_VECTORS 32

typedef struct ConfigCheck {
    const VFIOUserDevice *device;
    uint8_t config[PCIE_CONFIG_SPACE_SIZE];
    size_t size;
} ConfigCheck;

static bool config_check_header(const ConfigCheck *check, Error **errp)
{
    uint8_t type = check->config[PCI_HEADER_TYPE] &
                   ~PCI_HEADER_TYPE_MULTI_FUNCTION;

    if (type != PCI_HEADER_TYPE_NORMAL) {
        error_setg(errp, "config space: header type is not an endpoint's "
                   "(got %u)", type);
        return false;
    }
    return true;
}

/* A 64 bit BAR takes the next one's place as well. */
static bool config_check_bars(const ConfigCheck *check, Error **errp)
{
    const VFIOUserRegion *regions = check->device->regions;
    int i;

    for (i = 0; i < PCI_ROM_SLOT; i++) {
        uint32_t bar = pci_get_long(check->config + PCI_BASE_ADDRESS_0 + 4 * i);
        bool wide = !(bar & PCI_BASE_ADDRESS_SPACE_IO) &&
                    (bar & PCI_BASE_ADDRESS_MEM_TYPE_64);

        if (!regions[i].desc.size) {
            continue;
        }
        if (wide && (i + 1 == PCI_ROM_SLOT || regions[i + 1].desc.size)) {
            error_setg(errp, "config space: BAR %d: 64 bit, but the next BAR "
                       "is not free for its upper half", i);
            return false;
        }
        if (!wide && regions[i].desc.size > 2 * GiB) {
            error_setg(errp, "config space: BAR %d: 32 bit, but too large "
                       "(got 0x%" PRIx64 ")", i, regions[i].desc.size);
            return false;
        }
        if (wide) {
            i++;
        }
    }
    return true;
}

/* Devices that hw/vfio has quirks for: put into a BAR unseen, or at an fd */
static const struct {
    uint16_t vendor;
    uint16_t field;             /* where another number is, and that: */
    uint16_t value;
    int bar;                    /* -1: nothing would do */
} quirks[] = {
    { PCI_VENDOR_ID_REALTEK, PCI_DEVICE_ID, 0x8168, 2 },
    { PCI_VENDOR_ID_NVIDIA, PCI_CLASS_DEVICE, PCI_CLASS_DISPLAY_VGA, 0 },
    { PCI_VENDOR_ID_INTEL, PCI_DEVICE_ID, 0x201d, -1 },
    { PCI_VENDOR_ID_INTEL, PCI_DEVICE_ID, 0x467f, -1 },
    { PCI_VENDOR_ID_INTEL, PCI_DEVICE_ID, 0x4c3d, -1 },
    { PCI_VENDOR_ID_INTEL, PCI_DEVICE_ID, 0x9a0b, -1 },
};

static bool config_check_quirks(const ConfigCheck *check, Error **errp)
{
    uint16_t vendor = pci_get_word(check->config + PCI_VENDOR_ID);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(quirks); i++) {
        uint16_t value = pci_get_word(check->config + quirks[i].field);
        int bar = quirks[i].bar;

        if (vendor == quirks[i].vendor && value == quirks[i].value &&
            (bar < 0 || !check->device->regions[bar].desc.size)) {
            g_autofree char *missing = bar < 0 ?
                g_strdup("the host's driver") : g_strdup_printf("BAR %d", bar);

            error_setg(errp, "config space: device 0x%x:0x%x cannot be "
                       "without %s", vendor,
                       pci_get_word(check->config + PCI_DEVICE_ID), missing);
            return false;
        }
    }
    return true;
}

/* @what, @size bytes at @offset of BAR @bar: is there room for it? */
static bool config_check_msix_part(const ConfigCheck *check, const char *what,
                                   uint32_t place, uint64_t size, Error **errp)
{
    uint32_t bar = place & PCI_MSIX_FLAGS_BIRMASK;
    uint64_t offset = place & ~PCI_MSIX_FLAGS_BIRMASK;

    if (bar >= PCI_ROM_SLOT ||
        offset + size > check->device->regions[bar].desc.size) {
        error_setg(errp, "config space: MSI-X: %s is outside its BAR "
                   "(BAR %u, offset 0x%" PRIx64 ", size 0x%" PRIx64 ")",
                   what, bar, offset, size);
        return false;
    }
    return true;
}

static bool config_check_msix(const ConfigCheck *check, const uint8_t *cap,
                              Error **errp)
{
    uint64_t entries = (pci_get_word(cap + PCI_MSIX_FLAGS) &
                        PCI_MSIX_FLAGS_QSIZE) + 1;

    return config_check_msix_part(check, "table",
                                  pci_get_long(cap + PCI_MSIX_TABLE),
                                  entries * PCI_MSIX_ENTRY_SIZE, errp) &&
           config_check_msix_part(check, "PBA",
                                  pci_get_long(cap + PCI_MSIX_PBA),
                                  DIV_ROUND_UP(entries, 64) * 8, errp);
}

static bool config_check_msi(const uint8_t *cap, Error **errp)
{
    unsigned int vectors = 1 << ((pci_get_word(cap + PCI_MSI_FLAGS) &
                                  PCI_MSI_FLAGS_QMASK) >> 1);

    if (vectors > MAX_MSI_VECTORS) {
        error_setg(errp, "config space: MSI: too many vectors (got %u, "
                   "limit %d)", vectors, MAX_MSI_VECTORS);
        return false;
    }
    return true;
}

/* As many bytes of a capability are used, whether config space has them. */
static size_t config_check_used(const uint8_t *cap)
{
    uint16_t flags = pci_get_word(cap + PCI_CAP_FLAGS);

    switch (cap[PCI_CAP_LIST_ID]) {
    case PCI_CAP_ID_PM:
        return PCI_PM_SIZEOF;
    case PCI_CAP_ID_MSI:
        return 10 + (flags & PCI_MSI_FLAGS_64BIT ? 4 : 0) +
               (flags & PCI_MSI_FLAGS_MASKBIT ? 10 : 0);
    case PCI_CAP_ID_MSIX:
        return MSIX_CAP_LENGTH;
    case PCI_CAP_ID_EXP:
        return PCI_CAP_EXP_ENDPOINT_SIZEOF_V1;
    default:
        return PCI_CAP_SIZEOF;
    }
}

static bool config_check_capability(const ConfigCheck *check, uint8_t position,
                                    Error **errp)
{
    const uint8_t *cap = check->config + position;

    if (position + config_check_used(cap) > PCI_CONFIG_SPACE_SIZE) {
        error_setg(errp, "config space: capability 0x%x at 0x%x does not fit",
                   cap[PCI_CAP_LIST_ID], position);
        return false;
    }
    switch (cap[PCI_CAP_LIST_ID]) {
    case PCI_CAP_ID_MSI:
        return config_check_msi(cap, errp);
    case PCI_CAP_ID_MSIX:
        return config_check_msix(check, cap, errp);
    default:
        return true;
    }
}

static bool config_check_capabilities(const ConfigCheck *check, Error **errp)
{
    DECLARE_BITMAP(seen, PCI_CONFIG_SPACE_SIZE) = { 0 };
    uint8_t position = check->config[PCI_CAPABILITY_LIST];

    if (!(pci_get_word(check->config + PCI_STATUS) & PCI_STATUS_CAP_LIST)) {
        return true;
    }
    while (position) {
        if (position < PCI_CONFIG_HEADER_SIZE || position % 4 ||
            test_and_set_bit(position, seen)) {
            error_setg(errp, "config space: capability list is broken "
                       "at 0x%x", position);
            return false;
        }
        if (!config_check_capability(check, position, errp)) {
            return false;
        }
        position = check->config[position + PCI_CAP_LIST_NEXT];
    }
    return true;
}

/* hw/pci asserts that there are 8 bytes for each before the next in place. */
static bool config_check_extended_room(const ConfigCheck *check,
                                       const unsigned long *seen, Error **errp)
{
    unsigned long position;

    for (position = find_first_bit(seen, PCIE_CONFIG_SPACE_SIZE);
         position < PCIE_CONFIG_SPACE_SIZE;
         position = find_next_bit(seen, PCIE_CONFIG_SPACE_SIZE,
                                  position + 1)) {
        bool taken = position + 4 == PCIE_CONFIG_SPACE_SIZE ||
                     test_bit(position + 4, seen);

        /* id 0 is but a header */
        if (taken && pci_get_word(check->config + position)) {
            error_setg(errp, "config space: extended capability at 0x%lx does "
                       "not fit", position);
            return false;
        }
    }
    return true;
}

static bool config_check_extended(const ConfigCheck *check, Error **errp)
{
    DECLARE_BITMAP(seen, PCIE_CONFIG_SPACE_SIZE) = { 0 };
    uint32_t position = PCI_CONFIG_SPACE_SIZE;

    while (position && check->size > PCI_CONFIG_SPACE_SIZE) {
        if (position < PCI_CONFIG_SPACE_SIZE || position % 4 ||
            test_and_set_bit(position, seen)) {
            error_setg(errp, "config space: extended capability list is "
                       "broken at 0x%x", position);
            return false;
        }
        position = PCI_EXT_CAP_NEXT(pci_get_long(check->config + position));
    }
    return config_check_extended_room(check, seen, errp);
}

bool vfio_user_device_check_config(VFIODevice *vbasedev, Error **errp)
{
    VFIOUserDevice *device = vbasedev->io_opaque;
    g_autofree ConfigCheck *check = g_new0(ConfigCheck, 1);
    off_t off = (off_t)VFIO_PCI_CONFIG_REGION_INDEX << VFIO_USER_REGION_SHIFT;

    check->device = device;
    check->size = device->regions[VFIO_PCI_CONFIG_REGION_INDEX].desc.size;
    if (vbasedev->io_ops->region_read(vbasedev, off, check->size,
                                      check->config) != check->size) {
        error_setg_errno(errp, errno, "config space: cannot be read");
        return false;
    }
    g_free(device->config);
    device->config = g_memdup2(check->config, check->size);
    if (!config_check_header(check, errp) ||
        !config_check_bars(check, errp) ||
        !config_check_quirks(check, errp) ||
        !config_check_capabilities(check, errp) ||
        !config_check_extended(check, errp)) {
        return false;
    }
    device->config_is_fixed = true;
    return true;
}

void vfio_user_device_release_config(VFIOUserDevice *device)
{
    device->config_is_fixed = false;
}
