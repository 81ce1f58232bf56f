/*
 * What the files of the vfio-user container share: its mappings, and how they
 * are told to the server.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_CONTAINER_INTERNAL_H
#define HW_VFIO_USER_CONTAINER_INTERNAL_H

#include "hw/vfio-user/container.h"

/* A mapping, exactly as the server was told of it, or is to be */
typedef struct VFIOUserMapping {
    hwaddr iova;
    hwaddr size;
    uint32_t flags;         /* of DMA_MAP */
    int fd;                 /* QEMU's; -1: the server cannot reach it itself */
    uint64_t fd_offset;
    bool told;              /* else the device is stopped, and is told later */
    QTAILQ_ENTRY(VFIOUserMapping) next;
} VFIOUserMapping;

typedef QTAILQ_HEAD(, VFIOUserMapping) VFIOUserMappings;

/*
 * The lists are guarded by the lock of vfio_migration_lock_stopped() and
 * changed with the BQL held, but for told and late_unmaps, which are settled
 * under that lock alone when the device is resumed.  Everything else is used
 * with the BQL held.
 */
struct VFIOUserContainer {
    VFIOContainer container;
    VFIOAddressSpace space;
    VFIOGroup group;
    VFIOHostDMAWindow window;
    VFIOUserDevice *device;
    VFIODevice *vbasedev;
    bool secure;
    VFIOUserMappings mappings;      /* what QEMU wants mapped */
    VFIOUserMappings late_unmaps;   /* no mapping any more, but not told so */
};

static inline VFIOUserContainer *vfio_user_container(VFIOContainer *container)
{
    return container_of(container, VFIOUserContainer, container);
}

/* dma.c: slots of VFIOContainerIOOps */
int vfio_user_container_dma_map(VFIOContainer *container,
                                struct vfio_iommu_type1_dma_map *map);
int vfio_user_container_dma_unmap(VFIOContainer *container,
                                  struct vfio_iommu_type1_dma_unmap *unmap);

/* dma.c: VFIOUserDevice.resume_dma */
void vfio_user_container_resumed(VFIODevice *vbasedev);

/* Forget all mappings without telling the server. */
void vfio_user_container_drop_mappings(VFIOUserContainer *user);

/* dirty.c: a slot of VFIOContainerIOOps */
int vfio_user_container_dirty_pages(VFIOContainer *container,
                                    struct vfio_iommu_type1_dirty_bitmap *log);

/*
 * Set @count bits of @to from @first on: those set in @from, or all of them
 * if that is NULL, since a page that might be dirty counts as such.
 */
void vfio_user_container_merge_dirty(unsigned long *to, uint64_t first,
                                     const uint8_t *from, uint64_t count);

#endif /* HW_VFIO_USER_CONTAINER_INTERNAL_H */
