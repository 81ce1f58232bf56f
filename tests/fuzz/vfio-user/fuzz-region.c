/*
 * Fuzz target: a region's description with its chain of capabilities, and the
 * one made from it for hw/vfio, which walks chains without looking.  The first
 * byte says how much was asked for, the rest is the reply.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "fuzz.h"
#include "hw/vfio-user/wire.h"

#define PAGE 0x1000

static void check_areas(const VFIOUserRegionDesc *region)
{
    uint32_t i, j;

    g_assert_cmpuint(region->nr_areas, <=, VFIO_USER_MAX_SPARSE_AREAS);
    for (i = 0; i < region->nr_areas; i++) {
        const VFIOUserSparseArea *area = &region->areas[i];

        g_assert_cmpuint(area->offset % PAGE, ==, 0);
        g_assert_cmpuint(area->size % PAGE, ==, 0);
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

/* As hw/vfio does; a step outside the block is the sanitizer's to see. */
static void walk_chain(const struct vfio_region_info *info,
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

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    FuzzInput input = { data, size };
    uint32_t argsz = sizeof(VFIOUserRegionInfo) + 8 * fuzz_byte(&input);
    uint32_t index = input.size >= 12 ? ldl_le_p(input.data + 8) : 0;
    g_autofree struct vfio_region_info *info = NULL;
    VFIOUserRegionDesc region;
    Error *err = NULL;
    bool ok = vfio_user_wire_get_region_info(input.data, input.size,
                                             index & 0xff, argsz, PAGE,
                                             &region, &err);

    fuzz_check_error(ok, err);
    if (!ok) {
        return 0;
    }
    g_assert_cmpuint(region.argsz, <=, VFIO_USER_MAX_REGION_INFO_SIZE);
    g_assert_cmpuint(region.size, <=, VFIO_USER_MAX_REGION_SIZE);
    if (!region.complete) {
        g_assert_cmpuint(region.argsz, >, argsz);
        return 0;
    }
    g_assert_cmpuint(region.argsz, <=, input.size);
    check_areas(&region);
    info = vfio_user_wire_build_region_info(&region, 0);
    walk_chain(info, &region);
    return 0;
}
