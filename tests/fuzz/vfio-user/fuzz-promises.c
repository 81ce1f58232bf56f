/*
 * What hw/vfio and hw/pci take for granted of a device.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "fuzz.h"
#include "qemu/host-utils.h"
#include "qemu/units.h"
#include "hw/pci/pci.h"
#include "fuzz-promises.h"

void fuzz_check_areas(const VFIOUserRegionDesc *region, uint64_t page_size)
{
    uint32_t i, j;

    g_assert_cmpuint(region->nr_areas, <=, VFIO_USER_MAX_SPARSE_AREAS);
    for (i = 0; i < region->nr_areas; i++) {
        const VFIOUserSparseArea *area = &region->areas[i];

        g_assert_cmpuint(area->offset % page_size, ==, 0);
        g_assert_cmpuint(area->size % page_size, ==, 0);
        g_assert_cmpuint(area->offset, <=, region->size);
        g_assert_cmpuint(area->size, <=, region->size - area->offset);
        for (j = 0; j < i; j++) {
            const VFIOUserSparseArea *other = &region->areas[j];

            g_assert_true(!area->size || !other->size ||
                          area->offset >= other->offset + other->size ||
                          other->offset >= area->offset + area->size);
        }
    }
}

void fuzz_check_chain(const struct vfio_region_info *info,
                      const VFIOUserRegionDesc *region)
{
    uint32_t offset = info->cap_offset, last = sizeof(*info) - 1;
    unsigned int found = 0;

    g_assert_true(!offset == !(info->flags & VFIO_REGION_INFO_FLAG_CAPS));
    while (offset) {
        const struct vfio_info_cap_header *header = (void *)info + offset;

        g_assert_cmpuint(offset, >, last);
        g_assert_cmpuint(offset, <, info->argsz);
        last = offset;
        found |= 1 << header->id;
        if (header->id == VFIO_REGION_INFO_CAP_SPARSE_MMAP) {
            const struct vfio_region_info_cap_sparse_mmap *sparse =
                (const void *)header;

            for (uint32_t i = 0; i < sparse->nr_areas; i++) {
                g_assert_cmpuint(sparse->areas[i].size, >, 0);
                g_assert_cmpuint(sparse->areas[i].offset, <, region->size);
            }
        }
        offset = header->next;
    }
    g_assert_cmpuint(found, ==,
                     region->has_sparse << VFIO_REGION_INFO_CAP_SPARSE_MMAP |
                     region->has_type << VFIO_REGION_INFO_CAP_TYPE |
                     region->msix_mappable <<
                     VFIO_REGION_INFO_CAP_MSIX_MAPPABLE);
}

void fuzz_check_sizes(const uint64_t *sizes)
{
    uint64_t config = sizes[VFIO_PCI_CONFIG_REGION_INDEX];

    for (int i = 0; i < PCI_ROM_SLOT; i++) {
        g_assert_true(!sizes[i] ||
                      (sizes[i] >= 16 && ctpop64(sizes[i]) == 1));
    }
    g_assert_cmpuint(sizes[VFIO_PCI_ROM_REGION_INDEX], <=, 128 * MiB);
    g_assert_true(config == PCI_CONFIG_SPACE_SIZE ||
                  config == PCIE_CONFIG_SPACE_SIZE);
}

static void check_bars(const uint8_t *config, const uint64_t *sizes)
{
    for (int i = 0; i < PCI_ROM_SLOT; i++) {
        uint8_t type = config[PCI_BASE_ADDRESS_0 + 4 * i];

        if (sizes[i] && (type & 5) == 4) {
            g_assert_cmpint(i, <, PCI_ROM_SLOT - 1);
            i++;
            g_assert_cmpuint(sizes[i], ==, 0);
        } else {
            g_assert_cmpuint(sizes[i], <=, 2 * GiB);
        }
    }
}

/* A table of @size bytes at @place, its BAR's number and offset */
static void check_table(uint32_t place, uint64_t size, const uint64_t *sizes)
{
    uint32_t bar = place % 8;

    g_assert_cmpuint(bar, <, PCI_ROM_SLOT);
    g_assert_cmpuint(place - bar + size, <=, sizes[bar]);
}

/* A capability @at is used as far as this, by its id. */
static void check_capability(const uint8_t *config, uint8_t at,
                             const uint64_t *sizes)
{
    static const uint8_t msi_sizes[] = { 10, 14, 20, 24 };
    unsigned int flags = lduw_le_p(config + at + 2), size = 0;
    uint64_t entries = (flags & 0x7ff) + 1ull;

    switch (config[at]) {
    case PCI_CAP_ID_PM:
        size = 8;
        break;
    case PCI_CAP_ID_MSI:
        g_assert_cmpuint(flags >> 1 & 7, <=, 5);
        size = msi_sizes[flags >> 7 & 3];
        break;
    case PCI_CAP_ID_EXP:
        size = 20;
        break;
    case PCI_CAP_ID_MSIX:
        size = 12;
        check_table(ldl_le_p(config + at + 4), entries * 16, sizes);
        check_table(ldl_le_p(config + at + 8), (entries + 63) / 64 * 8,
                    sizes);
        break;
    }
    g_assert_cmpuint(at + size, <=, PCI_CONFIG_SPACE_SIZE);
}

/* As hw/vfio does: it has what is left up to the next one in place. */
static void check_extended(const uint8_t *config, unsigned int at)
{
    unsigned int next, end = PCIE_CONFIG_SPACE_SIZE;

    g_assert_cmpuint(at, >=, PCI_CONFIG_SPACE_SIZE);
    g_assert_cmpuint(at % 4, ==, 0);
    for (next = PCI_CONFIG_SPACE_SIZE; next;
         next = PCI_EXT_CAP_NEXT(ldl_le_p(config + next))) {
        end = next > at ? MIN(end, next) : end;
    }
    g_assert_true(end - at >= 8 || !lduw_le_p(config + at));
}

static bool is_vmd(uint16_t id)
{
    return id == 0x201d || id == 0x467f || id == 0x4c3d || id == 0x9a0b;
}

void fuzz_check_config(const uint8_t *config, const uint64_t *sizes)
{
    unsigned int at, steps = 0;
    bool has_list = config[PCI_STATUS] & PCI_STATUS_CAP_LIST;

    g_assert_cmpuint(config[PCI_HEADER_TYPE] % 0x80, ==, 0);
    /* VMD, RTL8168, and graphics cards of NVIDIA's */
    g_assert_false(lduw_le_p(config) == 0x8086 &&
                   is_vmd(lduw_le_p(config + 2)));
    g_assert_true(ldl_le_p(config) != 0x816810ec || sizes[2]);
    g_assert_true(lduw_le_p(config) != 0x10de ||
                  lduw_le_p(config + PCI_CLASS_DEVICE) != 0x300 || sizes[0]);
    check_bars(config, sizes);
    for (at = has_list ? config[PCI_CAPABILITY_LIST] : 0; at;
         at = config[at + PCI_CAP_LIST_NEXT]) {
        g_assert_cmpuint(++steps, <=, 48);
        g_assert_cmpuint(at, >=, 64);
        g_assert_cmpuint(at % 4, ==, 0);
        check_capability(config, at, sizes);
    }
    if (sizes[VFIO_PCI_CONFIG_REGION_INDEX] == PCI_CONFIG_SPACE_SIZE) {
        return;
    }
    for (at = PCI_CONFIG_SPACE_SIZE, steps = 0; at;
         at = PCI_EXT_CAP_NEXT(ldl_le_p(config + at))) {
        g_assert_cmpuint(++steps, <=, 960);
        check_extended(config, at);
    }
}
