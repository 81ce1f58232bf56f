/*
 * vfio-user wire layer: region descriptions with their capability chain, and
 * the kernel's form of what was checked.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "hw/vfio-user/wire.h"
#include "wire-check.h"

/* Capabilities hold 64 bit fields, and chains are laid out to suit them. */
#define CAP_ALIGNMENT 8

void vfio_user_wire_put_region_info(VFIOUserRegionInfo *info, uint32_t index,
                                    uint32_t argsz)
{
    *info = (VFIOUserRegionInfo) {
        .argsz = cpu_to_le32(argsz),
        .index = cpu_to_le32(index),
    };
}

static bool check_area(const VFIOUserRegionDesc *region, uint32_t nr,
                       uint64_t page_size, Error **errp)
{
    const VFIOUserSparseArea *area = &region->areas[nr];

    if (!check_most("sparse area offset", area->offset, region->size, errp) ||
        !check_most("sparse area size", area->size,
                    region->size - area->offset, errp)) {
        return false;
    }
    if ((area->offset | area->size) & (page_size - 1)) {
        error_setg(errp, "sparse area is not page aligned (got 0x%" PRIx64
                   " bytes at 0x%" PRIx64 ", limit 0x%" PRIx64 ")",
                   area->size, area->offset, page_size);
        return false;
    }
    for (uint32_t i = 0; i < nr && area->size; i++) {
        const VFIOUserSparseArea *other = &region->areas[i];

        if (area->offset < other->offset + other->size &&
            other->offset < area->offset + area->size) {
            error_setg(errp, "sparse areas %" PRIu32 " and %" PRIu32
                       " overlap (got offset 0x%" PRIx64 ", limit 0x%" PRIx64
                       ")", i, nr, area->offset, other->offset + other->size);
            return false;
        }
    }
    return true;
}

/* @cap has at least the capability's header; @size is what follows in all */
static bool get_cap_sparse(const uint8_t *cap, size_t size, uint64_t page_size,
                           VFIOUserRegionDesc *region, Error **errp)
{
    VFIOUserCapSparse wire;
    uint32_t nr_areas;

    if (region->has_sparse) {
        error_setg(errp, "sparse capability appears twice (got 2, limit 1)");
        return false;
    }
    if (!check_least("sparse capability", size, sizeof(wire), errp)) {
        return false;
    }
    memcpy(&wire, cap, sizeof(wire));
    nr_areas = le32_to_cpu(wire.nr_areas);
    if (!check_most("sparse nr_areas", nr_areas, VFIO_USER_MAX_SPARSE_AREAS,
                    errp) ||
        !check_most("sparse nr_areas", nr_areas,
                    (size - sizeof(wire)) / sizeof(VFIOUserCapSparseArea),
                    errp)) {
        return false;
    }
    for (uint32_t i = 0; i < nr_areas; i++) {
        const uint8_t *area = cap + sizeof(wire) +
                              i * sizeof(VFIOUserCapSparseArea);

        region->areas[i] = (VFIOUserSparseArea) {
            .offset = ldq_le_p(area +
                               offsetof(VFIOUserCapSparseArea, offset)),
            .size = ldq_le_p(area + offsetof(VFIOUserCapSparseArea, size)),
        };
        if (!check_area(region, i, page_size, errp)) {
            return false;
        }
    }
    region->has_sparse = true;
    region->nr_areas = nr_areas;
    return true;
}

static bool get_cap_type(const uint8_t *cap, size_t size,
                         VFIOUserRegionDesc *region, Error **errp)
{
    VFIOUserCapType wire;

    if (region->has_type) {
        error_setg(errp, "type capability appears twice (got 2, limit 1)");
        return false;
    }
    if (!check_least("type capability", size, sizeof(wire), errp)) {
        return false;
    }
    memcpy(&wire, cap, sizeof(wire));
    region->has_type = true;
    region->type = le32_to_cpu(wire.type);
    region->subtype = le32_to_cpu(wire.subtype);
    return true;
}

/*
 * Walk the chain from @offset in the @size bytes of the description.  Each
 * capability has to start after the header of the one before it, so that the
 * walk ends whatever the peer sent.
 */
static bool get_caps(const uint8_t *payload, size_t size, uint32_t offset,
                     uint64_t page_size, VFIOUserRegionDesc *region,
                     Error **errp)
{
    const char *field = "cap_offset";
    uint32_t least = sizeof(VFIOUserRegionInfo);

    while (offset) {
        const uint8_t *cap = payload + offset;
        VFIOUserCapHeader wire;
        bool ok = true;

        if (!check_least(field, offset, least, errp) ||
            !check_most(field, offset, size - sizeof(wire), errp)) {
            return false;
        }
        if (offset % CAP_ALIGNMENT) {
            error_setg(errp, "%s is not aligned (got %" PRIu32 ", limit %d)",
                       field, offset, CAP_ALIGNMENT);
            return false;
        }
        memcpy(&wire, cap, sizeof(wire));

        switch (le16_to_cpu(wire.id)) {
        case VFIO_REGION_INFO_CAP_SPARSE_MMAP:
            ok = get_cap_sparse(cap, size - offset, page_size, region, errp);
            break;
        case VFIO_REGION_INFO_CAP_TYPE:
            ok = get_cap_type(cap, size - offset, region, errp);
            break;
        case VFIO_REGION_INFO_CAP_MSIX_MAPPABLE:
            region->msix_mappable = true;
            break;
        }
        if (!ok) {
            return false;
        }
        field = "capability's next";
        least = offset + sizeof(wire);
        offset = le32_to_cpu(wire.next);
    }
    return true;
}

/* The fixed part, but for what depends on how much of the rest came */
static bool get_region_fixed(const VFIOUserRegionInfo *wire, uint32_t index,
                             VFIOUserRegionDesc *region, Error **errp)
{
    *region = (VFIOUserRegionDesc) {
        .index = le32_to_cpu(wire->index),
        .flags = le32_to_cpu(wire->flags) & (VFIO_REGION_INFO_FLAG_READ |
                                             VFIO_REGION_INFO_FLAG_WRITE |
                                             VFIO_REGION_INFO_FLAG_MMAP),
        .size = le64_to_cpu(wire->size),
        .offset = le64_to_cpu(wire->offset),
        .argsz = le32_to_cpu(wire->argsz),
    };
    if (!check_least("argsz", region->argsz, sizeof(*wire), errp) ||
        !check_most("argsz", region->argsz, VFIO_USER_MAX_REGION_INFO_SIZE,
                    errp) ||
        !check_echo("index", region->index, index, errp) ||
        !check_most("size", region->size, VFIO_USER_MAX_REGION_SIZE, errp)) {
        return false;
    }
    return !(region->flags & VFIO_REGION_INFO_FLAG_MMAP) ||
           check_most("offset", region->offset, INT64_MAX - region->size,
                      errp);
}

bool vfio_user_wire_get_region_info(const uint8_t *payload, size_t size,
                                    uint32_t index, uint32_t argsz,
                                    uint64_t page_size,
                                    VFIOUserRegionDesc *region, Error **errp)
{
    VFIOUserRegionInfo wire;
    VFIOUserRegionDesc found;

    if (!check_least("payload length", size, sizeof(wire), errp) ||
        !check_most("payload length", size, argsz, errp)) {
        return false;
    }
    memcpy(&wire, payload, sizeof(wire));
    if (!get_region_fixed(&wire, index, &found, errp)) {
        return false;
    }
    found.complete = found.argsz <= argsz;
    if (found.complete) {
        if (!check_least("payload length", size, found.argsz, errp)) {
            return false;
        }
        if ((le32_to_cpu(wire.flags) & VFIO_REGION_INFO_FLAG_CAPS) &&
            !get_caps(payload, found.argsz, le32_to_cpu(wire.cap_offset),
                      page_size, &found, errp)) {
            return false;
        }
    }
    *region = found;
    return true;
}

/*
 * Append a capability of @cap_size bytes to the description and link it into
 * the chain.  @link is where the offset of the next one goes.
 */
static void *build_cap(struct vfio_region_info *info, uint32_t **link,
                       uint16_t id, size_t cap_size)
{
    struct vfio_info_cap_header *header = (void *)info + info->argsz;

    header->id = id;
    header->version = 1;
    **link = info->argsz;
    *link = &header->next;
    info->flags |= VFIO_REGION_INFO_FLAG_CAPS;
    info->argsz += ROUND_UP(cap_size, CAP_ALIGNMENT);
    return header;
}

struct vfio_region_info *
vfio_user_wire_build_region_info(const VFIOUserRegionDesc *region,
                                 uint64_t offset)
{
    struct vfio_region_info *info;
    struct vfio_region_info_cap_sparse_mmap *sparse;
    struct vfio_region_info_cap_type *type;
    size_t sparse_size = sizeof(*sparse) +
                         region->nr_areas * sizeof(sparse->areas[0]);
    uint32_t *link;

    info = g_malloc0(sizeof(*info) + sparse_size + sizeof(*type) +
                     sizeof(struct vfio_info_cap_header));
    info->argsz = sizeof(*info);
    info->flags = region->flags & ~VFIO_REGION_INFO_FLAG_CAPS;
    info->index = region->index;
    info->size = region->size;
    info->offset = offset;
    link = &info->cap_offset;

    if (region->has_sparse) {
        uint32_t nr_areas = 0;

        sparse = (void *)info + info->argsz;
        for (uint32_t i = 0; i < region->nr_areas; i++) {
            if (region->areas[i].size) {
                sparse->areas[nr_areas].offset = region->areas[i].offset;
                sparse->areas[nr_areas].size = region->areas[i].size;
                nr_areas++;
            }
        }
        sparse->nr_areas = nr_areas;
        build_cap(info, &link, VFIO_REGION_INFO_CAP_SPARSE_MMAP,
                  sizeof(*sparse) + nr_areas * sizeof(sparse->areas[0]));
    }
    if (region->has_type) {
        type = build_cap(info, &link, VFIO_REGION_INFO_CAP_TYPE,
                         sizeof(*type));
        type->type = region->type;
        type->subtype = region->subtype;
    }
    if (region->msix_mappable) {
        build_cap(info, &link, VFIO_REGION_INFO_CAP_MSIX_MAPPABLE,
                  sizeof(struct vfio_info_cap_header));
    }
    return info;
}
