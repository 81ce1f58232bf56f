/*
 * The seam between hw/vfio and the backend that reaches a device: the
 * kernel's ioctls, or a vfio-user server.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_VFIO_IO_OPS_H
#define HW_VFIO_VFIO_IO_OPS_H

#include <linux/vfio.h>

typedef struct VFIODevice VFIODevice;
typedef struct VFIOContainer VFIOContainer;
struct VFIOMmap;

/*
 * Takes @size bytes of device data, which stay the caller's and are valid
 * until it returns.  Returns 0, or -errno to have no more.
 */
typedef int VFIODataSink(void *opaque, const void *data, size_t size);

/* Fills in @size bytes of device data.  Returns 0, or -errno to end it. */
typedef int VFIODataSource(void *opaque, void *data, size_t size);

/*
 * How hw/vfio talks to one device.  The structures are those of linux/vfio.h
 * with the same meaning.  Unless a slot says otherwise it returns 0, or
 * -errno with errno left at the same value, so that "%m" in a caller's
 * message tells the truth.  Called with the BQL held, except that a device
 * in migration has its regions and reset used by the migration thread too.
 */
typedef struct VFIODeviceIOOps {
    /*
     * Describe region @info->index.  When @info->argsz is smaller than the
     * description, only the fixed part is filled in and @info->argsz says
     * how much is needed; the capability chain a backend returns is sound.
     */
    int (*get_region_info)(VFIODevice *vbasedev, struct vfio_region_info *info);

    /* Describe interrupt type @info->index. */
    int (*get_irq_info)(VFIODevice *vbasedev, struct vfio_irq_info *info);

    /* Set, mask, unmask or trigger a range of vectors; fds stay the caller's */
    int (*set_irqs)(VFIODevice *vbasedev, struct vfio_irq_set *irqs);

    /*
     * Read @size bytes, in as large pieces as the backend can.  @off is the
     * offset that get_region_info reported for the region, plus the offset
     * within the region: all regions of a device lie in one flat space.
     * Returns how many bytes were read, which is less than @size only when
     * the device gave less, or -errno.
     */
    ssize_t (*region_read)(VFIODevice *vbasedev, off_t off, size_t size,
                           void *data);

    /*
     * Write @size bytes at @off.  @post allows the backend not to wait for
     * the device's answer; it is never set for a migration region.
     * Returns how many bytes were written, or -errno.
     */
    ssize_t (*region_write)(VFIODevice *vbasedev, off_t off, size_t size,
                            const void *data, bool post);

    /*
     * Read the @n registers of 8 bytes at @offs, all of one region, into
     * @values: in this order, without waiting for each.  Of the first that
     * cannot be read the index is in *@failed.  NULL: region_read() is as
     * good.
     */
    int (*registers_read)(VFIODevice *vbasedev, const off_t *offs,
                          uint64_t *values, unsigned int n,
                          unsigned int *failed);

    /*
     * Read @size bytes of a migration region's data at @off, as much at a
     * time as the backend likes, and give them to @sink in order; the device
     * may be at the next ones meanwhile.  Returns -errno also where @sink
     * did; nothing is under way then.  NULL: region_read() is as good.
     */
    int (*data_read)(VFIODevice *vbasedev, off_t off, size_t size,
                     VFIODataSink *sink, void *opaque);

    /* The same for writing what @source has. */
    int (*data_write)(VFIODevice *vbasedev, off_t off, size_t size,
                      VFIODataSource *source, void *opaque);

    /*
     * Map @size bytes at @off with the PROT_* bits in @prot.  The caller
     * unmaps all of it with region_munmap().  Returns MAP_FAILED and sets
     * errno on failure.
     */
    void *(*region_mmap)(VFIODevice *vbasedev, off_t off, size_t size,
                         int prot);

    /* Undo region_mmap().  NULL: munmap() does. */
    int (*region_munmap)(VFIODevice *vbasedev, void *address, size_t size);

    /*
     * This thread is about to access @size bytes at @address, which are
     * mapped: are they still there?  NULL where they always are.
     */
    int (*check_mapped)(VFIODevice *vbasedev, const void *address,
                        size_t size);

    /*
     * Put into a migration stream what the device is to a guest, and compare
     * that with this device: -EINVAL, reported, if it is another one.  NULL
     * where nothing is put there.
     */
    void (*save_identity)(VFIODevice *vbasedev, QEMUFile *f);
    int (*load_identity)(VFIODevice *vbasedev, QEMUFile *f);

    /*
     * The device has stopped, and its data is about to be saved: what QEMU will
     * ask it for after that can be asked for now.  NULL for a backend that
     * answers at once.  Called with the migration's data_lock held, with or
     * without the BQL.  What fails is reported, not returned.
     */
    void (*save_begin)(VFIODevice *vbasedev);

    /* Reset the device's function. */
    int (*device_reset)(VFIODevice *vbasedev);

    /*
     * A device that was stopped for migration runs again, and vCPUs do not
     * yet: tell it now what it would have refused meanwhile.  NULL for a
     * backend whose devices refuse nothing, a reset included.  Called with
     * the lock of vfio_migration_lock_stopped() held, with or without the
     * BQL.  What fails is reported, not returned.
     */
    void (*device_resumed)(VFIODevice *vbasedev);
} VFIODeviceIOOps;

/*
 * How hw/vfio gives a device access to guest memory.  Same conventions as
 * above; called with the BQL held.
 */
typedef struct VFIOContainerIOOps {
    /* Map the process memory at @map->vaddr to @map->iova. */
    int (*dma_map)(VFIOContainer *container,
                   struct vfio_iommu_type1_dma_map *map);

    /*
     * Unmap a range; with VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP, which a
     * backend without dirty_pages does not get, a struct vfio_bitmap follows
     * and its buffer is filled in.
     */
    int (*dma_unmap)(VFIOContainer *container,
                     struct vfio_iommu_type1_dma_unmap *unmap);

    /*
     * Start or stop dirty page tracking, or get the bitmap of a range: a
     * struct vfio_iommu_type1_dirty_bitmap_get follows then, and a page that
     * might be dirty has its bit set.  NULL for a backend whose container has
     * a listener that does this itself.
     */
    int (*dirty_pages)(VFIOContainer *container,
                       struct vfio_iommu_type1_dirty_bitmap *dirty);
} VFIOContainerIOOps;

/* The kernel's VFIO, through the fds of device and container. */
extern const VFIODeviceIOOps vfio_device_io_ops_kernel;
extern const VFIOContainerIOOps vfio_container_io_ops_kernel;

/* Undo region_mmap() of @map, which is @vbasedev's, with whatever backend. */
void vfio_region_munmap(VFIODevice *vbasedev, const struct VFIOMmap *map);

#endif /* HW_VFIO_VFIO_IO_OPS_H */
