/*
 * vfio-user device: is the one behind a new connection the one that was lost,
 * so that what hw/vfio, hw/pci and the guest have built on it stays right?
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/bswap.h"
#include "hw/pci/pci.h"
#include "hw/vfio-user/device.h"

/* Compare one number of @what; a difference is told. */
static bool same(const char *what, uint64_t was, uint64_t is, Error **errp)
{
    if (was == is) {
        return true;
    }
    error_setg(errp, "not the device that was lost: %s (got 0x%" PRIx64
               ", was 0x%" PRIx64 ")", what, is, was);
    return false;
}

static bool same_caps(const VFIOUserCaps *was, const VFIOUserCaps *is,
                      Error **errp)
{
    return same("page sizes for mappings", was->pgsizes, is->pgsizes, errp) &&
           same("capability to migrate", was->migration, is->migration,
                errp) &&
           (!was->migration ||
            same("page size for migration", was->migration_pgsize,
                 is->migration_pgsize, errp));
}

static bool same_areas(const VFIOUserRegionDesc *was,
                       const VFIOUserRegionDesc *is, Error **errp)
{
    uint32_t i;

    if (!same("number of areas to map", was->nr_areas, is->nr_areas, errp)) {
        return false;
    }
    for (i = 0; i < was->nr_areas; i++) {
        if (!same("offset of an area to map", was->areas[i].offset,
                  is->areas[i].offset, errp) ||
            !same("size of an area to map", was->areas[i].size,
                  is->areas[i].size, errp)) {
            return false;
        }
    }
    return true;
}

static bool same_region(const VFIOUserRegionDesc *was,
                        const VFIOUserRegionDesc *is, Error **errp)
{
    ERRP_GUARD();

    if (same("size", was->size, is->size, errp) &&
        same("flags", was->flags, is->flags, errp) &&
        same("whether it has a type", was->has_type, is->has_type, errp) &&
        same("type", was->type, is->type, errp) &&
        same("subtype", was->subtype, is->subtype, errp) &&
        same("whether MSI-X can be mapped", was->msix_mappable,
             is->msix_mappable, errp) &&
        same("whether only areas can be mapped", was->has_sparse,
             is->has_sparse, errp) &&
        same_areas(was, is, errp)) {
        return true;
    }
    error_prepend(errp, "region %u: ", was->index);
    return false;
}

static bool same_irq(uint32_t index, const VFIOUserIRQDesc *was,
                     const VFIOUserIRQDesc *is, Error **errp)
{
    ERRP_GUARD();

    if (same("flags", was->flags, is->flags, errp) &&
        same("count", was->count, is->count, errp)) {
        return true;
    }
    error_prepend(errp, "interrupt type %u: ", index);
    return false;
}

/* Config space: the bits of @mask in the @size bytes at @at */
static bool same_field(const VFIOUserDevice *was, const VFIOUserDevice *is,
                       const char *what, uint32_t at, unsigned int size,
                       uint32_t mask, Error **errp)
{
    uint32_t old = ldn_le_p(was->config + at, size);
    uint32_t new = ldn_le_p(is->config + at, size);

    return same(what, old & mask, new & mask, errp);
}

/*
 * What a capability fixes about its device, behind its id and the place of the
 * next one.  What is in none of the masks a driver may have set.
 */
static const struct {
    uint8_t id;
    uint8_t at;
    uint8_t size;
    uint32_t mask;
} capability_fields[] = {
    { PCI_CAP_ID_PM, PCI_PM_PMC, 2, UINT16_MAX },
    { PCI_CAP_ID_MSI, PCI_MSI_FLAGS, 2,
      PCI_MSI_FLAGS_QMASK | PCI_MSI_FLAGS_64BIT | PCI_MSI_FLAGS_MASKBIT },
    { PCI_CAP_ID_VNDR, PCI_CAP_FLAGS, 1, UINT8_MAX },
    { PCI_CAP_ID_EXP, PCI_EXP_FLAGS, 2, UINT16_MAX },
    { PCI_CAP_ID_EXP, PCI_EXP_DEVCAP, 4, UINT32_MAX },
    { PCI_CAP_ID_MSIX, PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_QSIZE },
    { PCI_CAP_ID_MSIX, PCI_MSIX_TABLE, 4, UINT32_MAX },
    { PCI_CAP_ID_MSIX, PCI_MSIX_PBA, 4, UINT32_MAX },
    { PCI_CAP_ID_AF, PCI_AF_CAP, 1, UINT8_MAX },
};

static bool same_capability(const VFIOUserDevice *was,
                            const VFIOUserDevice *is, uint32_t position,
                            Error **errp)
{
    g_autofree char *what = g_strdup_printf("capability at 0x%x of config "
                                            "space", position);
    uint8_t id = was->config[position];
    size_t i;

    if (!same_field(was, is, what, position, 2, UINT16_MAX, errp)) {
        return false;
    }
    for (i = 0; i < G_N_ELEMENTS(capability_fields); i++) {
        uint32_t at = position + capability_fields[i].at;

        if (capability_fields[i].id == id &&
            at + capability_fields[i].size <= PCI_CONFIG_SPACE_SIZE &&
            !same_field(was, is, what, at, capability_fields[i].size,
                        capability_fields[i].mask, errp)) {
            return false;
        }
    }
    return true;
}

/* Both lists have an end, and the same one as far as they are the same. */
static bool same_capabilities(const VFIOUserDevice *was,
                              const VFIOUserDevice *is, Error **errp)
{
    uint32_t position;

    if (!same_field(was, is, "capability list", PCI_STATUS, 2,
                    PCI_STATUS_CAP_LIST, errp)) {
        return false;
    }
    if (!(pci_get_word(was->config + PCI_STATUS) & PCI_STATUS_CAP_LIST)) {
        return true;
    }
    if (!same_field(was, is, "capability list", PCI_CAPABILITY_LIST, 1,
                    UINT8_MAX, errp)) {
        return false;
    }
    for (position = was->config[PCI_CAPABILITY_LIST]; position;
         position = was->config[position + PCI_CAP_LIST_NEXT]) {
        if (!same_capability(was, is, position, errp)) {
            return false;
        }
    }
    return true;
}

/* Of extended ones only where they are: id, version, and the next one. */
static bool same_extended(const VFIOUserDevice *was, const VFIOUserDevice *is,
                          Error **errp)
{
    uint64_t size = was->regions[VFIO_PCI_CONFIG_REGION_INDEX].desc.size;
    uint32_t position = size > PCI_CONFIG_SPACE_SIZE ? PCI_CONFIG_SPACE_SIZE :
                                                       0;

    while (position) {
        if (!same_field(was, is, "extended capabilities", position, 4,
                        UINT32_MAX, errp)) {
            return false;
        }
        position = PCI_EXT_CAP_NEXT(pci_get_long(was->config + position));
    }
    return true;
}

static bool same_config(const VFIOUserDevice *was, const VFIOUserDevice *is,
                        Error **errp)
{
    int i;

    for (i = 0; i < PCI_ROM_SLOT; i++) {
        uint32_t at = PCI_BASE_ADDRESS_0 + 4 * i;
        bool io = pci_get_long(was->config + at) & PCI_BASE_ADDRESS_SPACE_IO;

        /* the upper half of a 64 bit BAR has no type, and size 0 */
        if (was->regions[i].desc.size &&
            !same_field(was, is, "type of a BAR", at, 4,
                        io ? ~PCI_BASE_ADDRESS_IO_MASK :
                             ~PCI_BASE_ADDRESS_MEM_MASK, errp)) {
            return false;
        }
    }
    return same_field(was, is, "vendor and device id", PCI_VENDOR_ID, 4,
                      UINT32_MAX, errp) &&
           same_field(was, is, "class and revision", PCI_CLASS_REVISION, 4,
                      UINT32_MAX, errp) &&
           same_field(was, is, "header type", PCI_HEADER_TYPE, 1, UINT8_MAX,
                      errp) &&
           same_field(was, is, "subsystem's ids", PCI_SUBSYSTEM_VENDOR_ID, 4,
                      UINT32_MAX, errp) &&
           same_field(was, is, "interrupt pin", PCI_INTERRUPT_PIN, 1,
                      UINT8_MAX, errp) &&
           same_capabilities(was, is, errp) && same_extended(was, is, errp);
}

bool vfio_user_device_is_same(const VFIOUserDevice *was,
                              const VFIOUserDevice *is, Error **errp)
{
    uint32_t i;

    if (!same("device flags", was->flags, is->flags, errp) ||
        !same("number of regions", was->num_regions, is->num_regions, errp) ||
        !same("number of interrupt types", was->num_irqs, is->num_irqs,
              errp) ||
        !same_caps(vfio_user_session_caps(was->session),
                   vfio_user_session_caps(is->session), errp)) {
        return false;
    }
    for (i = 0; i < was->num_regions; i++) {
        if (!same_region(&was->regions[i].desc, &is->regions[i].desc, errp)) {
            return false;
        }
    }
    for (i = 0; i < was->num_irqs; i++) {
        if (!same_irq(i, &was->irqs[i], &is->irqs[i], errp)) {
            return false;
        }
    }
    return same_config(was, is, errp);
}
