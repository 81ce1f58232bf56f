/*
 * The fake kernel's container: a type 1 IOMMU whose device shares QEMU's
 * address space, and the log of the pages that the device has written.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/auxv.h>

#include "fake-kernel.h"

#define PAGE_SIZE ((uint64_t)getauxval(AT_PAGESZ))
#define MAX_BITMAP_SIZE (1 << 28)
#define MAX_MAPPINGS 256
#define MAX_DIRTY 16

typedef struct Mapping {
    uint64_t iova;
    uint64_t size;
    uint8_t *memory;
    bool writable;
} Mapping;

static struct {
    bool attached;              /* the group is */
    bool ready;                 /* the IOMMU is set */
    bool logging;
    Mapping mappings[MAX_MAPPINGS];
    unsigned num_mappings;
    uint64_t dirty[MAX_DIRTY];  /* pages written since they were asked for */
    unsigned num_dirty;
} container;

void fake_kernel_container_close(void)
{
    memset(&container, 0, sizeof(container));
}

void fake_kernel_container_attach(bool attached)
{
    container.attached = attached;
    container.ready &= attached;
}

bool fake_kernel_container_is_ready(void)
{
    return container.attached && container.ready;
}

/* --- what it can do --- */

static long set_iommu(unsigned long type)
{
    if (!container.attached || container.ready || type != VFIO_TYPE1v2_IOMMU) {
        return -EINVAL;
    }
    container.ready = true;
    return 0;
}

/* The capabilities are left out where there is no room: the caller asks anew */
static long get_info(struct vfio_iommu_type1_info *info)
{
    struct {
        struct vfio_iommu_type1_info_dma_avail avail;
        uint32_t padding;
        struct vfio_iommu_type1_info_cap_migration migration;
    } caps = {
        .avail.header = {
            .id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, .version = 1,
            .next = sizeof(*info) + sizeof(caps.avail) + sizeof(caps.padding),
        },
        .avail.avail = MAX_MAPPINGS,
        .migration.header = {
            .id = VFIO_IOMMU_TYPE1_INFO_CAP_MIGRATION, .version = 1,
        },
        .migration.pgsize_bitmap = PAGE_SIZE,
        .migration.max_dirty_bitmap_size = MAX_BITMAP_SIZE,
    };
    size_t needed = sizeof(*info) + sizeof(caps);

    if (info->argsz < sizeof(*info)) {
        return -EINVAL;
    }
    info->flags = VFIO_IOMMU_INFO_PGSIZES | VFIO_IOMMU_INFO_CAPS;
    info->iova_pgsizes = -PAGE_SIZE;
    info->cap_offset = info->argsz < needed ? 0 : sizeof(*info);
    if (info->cap_offset) {
        memcpy(info + 1, &caps, sizeof(caps));
    }
    info->argsz = needed;
    return 0;
}

/* --- mappings --- */

static bool is_range(uint64_t iova, uint64_t size)
{
    return size && !((iova | size) % PAGE_SIZE) && iova + size - 1 >= iova;
}

/* Both are ranges */
static bool is_within(uint64_t iova, uint64_t size, const Mapping *mapping)
{
    return iova >= mapping->iova &&
           iova + size - 1 <= mapping->iova + mapping->size - 1;
}

static bool overlaps(uint64_t iova, uint64_t size, const Mapping *mapping)
{
    return iova <= mapping->iova + mapping->size - 1 &&
           mapping->iova <= iova + size - 1;
}

/* Does one end of the range lie inside of a mapping? */
static bool cuts_mapping(uint64_t iova, uint64_t size)
{
    unsigned i;

    for (i = 0; i < container.num_mappings; i++) {
        const Mapping *mapping = &container.mappings[i];
        const Mapping range = { .iova = iova, .size = size };

        if (overlaps(iova, size, mapping) &&
            !is_within(mapping->iova, mapping->size, &range)) {
            return true;
        }
    }
    return false;
}

static long map_dma(const struct vfio_iommu_type1_dma_map *map)
{
    unsigned i;

    if (map->argsz < sizeof(*map) || map->vaddr % PAGE_SIZE ||
        !is_range(map->iova, map->size) ||
        (map->flags & ~(VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE)) ||
        !map->flags) {
        return -EINVAL;
    }
    for (i = 0; i < container.num_mappings; i++) {
        if (overlaps(map->iova, map->size, &container.mappings[i])) {
            return -EEXIST;
        }
    }
    if (container.num_mappings == MAX_MAPPINGS) {
        return -ENOSPC;
    }
    container.mappings[container.num_mappings++] = (Mapping) {
        .iova = map->iova,
        .size = map->size,
        .memory = (uint8_t *)(uintptr_t)map->vaddr,
        .writable = map->flags & VFIO_DMA_MAP_FLAG_WRITE,
    };
    return 0;
}

/* --- the log of dirty pages --- */

static bool is_bitmap(const struct vfio_bitmap *bitmap, uint64_t size)
{
    return bitmap->pgsize == PAGE_SIZE && bitmap->size <= MAX_BITMAP_SIZE &&
           bitmap->size >= (size / PAGE_SIZE + 63) / 64 * 8;
}

/* Reports the dirty pages of a range, which then are so no more */
static void take_dirty(uint64_t iova, uint64_t size,
                       const struct vfio_bitmap *bitmap)
{
    unsigned i = 0;

    memset(bitmap->data, 0, bitmap->size);
    while (i < container.num_dirty) {
        uint64_t page = (container.dirty[i] - iova) / PAGE_SIZE;

        if (container.dirty[i] < iova || page >= size / PAGE_SIZE) {
            i++;
            continue;
        }
        bitmap->data[page / 64] |= 1ull << page % 64;
        container.dirty[i] = container.dirty[--container.num_dirty];
    }
}

static long get_dirty(const struct vfio_iommu_type1_dirty_bitmap *dirty)
{
    const struct vfio_iommu_type1_dirty_bitmap_get *range =
        (const void *)dirty->data;

    if (dirty->argsz < sizeof(*dirty) + sizeof(*range) || !container.logging ||
        !is_range(range->iova, range->size) ||
        !is_bitmap(&range->bitmap, range->size) ||
        cuts_mapping(range->iova, range->size)) {
        fake_kernel_journal("BAD request for dirty pages: %llx + %llx",
                            range->iova, range->size);
        return -EINVAL;
    }
    take_dirty(range->iova, range->size, &range->bitmap);
    return 0;
}

static long dirty_pages(const struct vfio_iommu_type1_dirty_bitmap *dirty)
{
    if (dirty->argsz < sizeof(*dirty) || !container.ready) {
        return -EINVAL;
    }
    switch (dirty->flags) {
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_START:
        container.logging = true;
        return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_STOP:
        container.logging = false;
        container.num_dirty = 0;
        return 0;
    case VFIO_IOMMU_DIRTY_PAGES_FLAG_GET_BITMAP:
        return get_dirty(dirty);
    }
    return -EINVAL;
}

/* All mappings in the range go; there may be none */
static long unmap_dma(struct vfio_iommu_type1_dma_unmap *unmap)
{
    const struct vfio_bitmap *bitmap = (const void *)unmap->data;
    const Mapping range = { .iova = unmap->iova, .size = unmap->size };
    unsigned i = 0;

    if (unmap->argsz < sizeof(*unmap) ||
        (unmap->flags & ~VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP) ||
        !is_range(unmap->iova, unmap->size) ||
        cuts_mapping(unmap->iova, unmap->size)) {
        return -EINVAL;
    }
    if (unmap->flags) {
        if (unmap->argsz < sizeof(*unmap) + sizeof(*bitmap) ||
            !container.logging || !is_bitmap(bitmap, unmap->size)) {
            return -EINVAL;
        }
        take_dirty(unmap->iova, unmap->size, bitmap);
    }
    unmap->size = 0;
    while (i < container.num_mappings) {
        Mapping *mapping = &container.mappings[i];

        if (!is_within(mapping->iova, mapping->size, &range)) {
            i++;
            continue;
        }
        unmap->size += mapping->size;
        *mapping = container.mappings[--container.num_mappings];
    }
    return 0;
}

void fake_kernel_dma_fill(uint64_t iova, uint8_t byte)
{
    unsigned i;

    for (i = 0; i < container.num_mappings; i++) {
        const Mapping *mapping = &container.mappings[i];

        if (!is_within(iova, PAGE_SIZE, mapping) || !mapping->writable) {
            continue;
        }
        memset(mapping->memory + (iova - mapping->iova), byte, PAGE_SIZE);
        if (container.logging && container.num_dirty < MAX_DIRTY) {
            container.dirty[container.num_dirty++] = iova;
        }
        return;
    }
    fake_kernel_journal("BAD address: %lx is not mapped", (unsigned long)iova);
}

long fake_kernel_container_ioctl(unsigned long request, void *argument)
{
    switch (request) {
    case VFIO_GET_API_VERSION:
        return VFIO_API_VERSION;
    case VFIO_CHECK_EXTENSION:
        return (uintptr_t)argument == VFIO_TYPE1v2_IOMMU;
    case VFIO_SET_IOMMU:
        return set_iommu((uintptr_t)argument);
    }
    if (container.ready) {
        switch (request) {
        case VFIO_IOMMU_GET_INFO:
            return get_info(argument);
        case VFIO_IOMMU_MAP_DMA:
            return map_dma(argument);
        case VFIO_IOMMU_UNMAP_DMA:
            return unmap_dma(argument);
        case VFIO_IOMMU_DIRTY_PAGES:
            return dirty_pages(argument);
        }
    }
    fake_kernel_journal("BAD ioctl %lx of the container", request);
    return -ENOTTY;
}
