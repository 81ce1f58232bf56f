/*
 * hw/vfio's backend for devices of the kernel's VFIO: ioctls, pread and
 * pwrite on the device's and the container's fd.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include <sys/ioctl.h>
#include <linux/vfio.h>

#include "hw/vfio/vfio-common.h"

/* ioctl() says -1 and errno; the ops say -errno and keep errno. */
static int vfio_kernel_ioctl(int fd, unsigned long request, void *argument)
{
    return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

static int vfio_kernel_get_region_info(VFIODevice *vbasedev,
                                       struct vfio_region_info *info)
{
    return vfio_kernel_ioctl(vbasedev->fd, VFIO_DEVICE_GET_REGION_INFO, info);
}

static int vfio_kernel_get_irq_info(VFIODevice *vbasedev,
                                    struct vfio_irq_info *info)
{
    return vfio_kernel_ioctl(vbasedev->fd, VFIO_DEVICE_GET_IRQ_INFO, info);
}

/* A positive answer counts the vectors that could have been had. */
static int vfio_kernel_set_irqs(VFIODevice *vbasedev,
                                struct vfio_irq_set *irqs)
{
    int ret = ioctl(vbasedev->fd, VFIO_DEVICE_SET_IRQS, irqs);

    return ret < 0 ? -errno : ret;
}

static ssize_t vfio_kernel_region_read(VFIODevice *vbasedev, off_t off,
                                       size_t size, void *data)
{
    ssize_t ret = pread(vbasedev->fd, data, size, off);

    return ret < 0 ? -errno : ret;
}

/* The kernel answers every write, so there is nothing to post. */
static ssize_t vfio_kernel_region_write(VFIODevice *vbasedev, off_t off,
                                        size_t size, const void *data,
                                        bool post)
{
    ssize_t ret = pwrite(vbasedev->fd, data, size, off);

    return ret < 0 ? -errno : ret;
}

static void *vfio_kernel_region_mmap(VFIODevice *vbasedev, off_t off,
                                     size_t size, int prot)
{
    return mmap(NULL, size, prot, MAP_SHARED, vbasedev->fd, off);
}

static int vfio_kernel_device_reset(VFIODevice *vbasedev)
{
    return vfio_kernel_ioctl(vbasedev->fd, VFIO_DEVICE_RESET, NULL);
}

const VFIODeviceIOOps vfio_device_io_ops_kernel = {
    .get_region_info = vfio_kernel_get_region_info,
    .get_irq_info = vfio_kernel_get_irq_info,
    .set_irqs = vfio_kernel_set_irqs,
    .region_read = vfio_kernel_region_read,
    .region_write = vfio_kernel_region_write,
    .region_mmap = vfio_kernel_region_mmap,
    .device_reset = vfio_kernel_device_reset,
};

void vfio_region_munmap(VFIODevice *vbasedev, const VFIOMmap *map)
{
    if (vbasedev->io_ops->region_munmap) {
        vbasedev->io_ops->region_munmap(vbasedev, map->mmap, map->size);
    } else {
        munmap(map->mmap, map->size);
    }
}

static int vfio_kernel_dma_map(VFIOContainer *container,
                               struct vfio_iommu_type1_dma_map *map)
{
    return vfio_kernel_ioctl(container->fd, VFIO_IOMMU_MAP_DMA, map);
}

static int vfio_kernel_dma_unmap(VFIOContainer *container,
                                 struct vfio_iommu_type1_dma_unmap *unmap)
{
    return vfio_kernel_ioctl(container->fd, VFIO_IOMMU_UNMAP_DMA, unmap);
}

static int vfio_kernel_dirty_pages(VFIOContainer *container,
                                   struct vfio_iommu_type1_dirty_bitmap *dirty)
{
    return vfio_kernel_ioctl(container->fd, VFIO_IOMMU_DIRTY_PAGES, dirty);
}

const VFIOContainerIOOps vfio_container_io_ops_kernel = {
    .dma_map = vfio_kernel_dma_map,
    .dma_unmap = vfio_kernel_dma_unmap,
    .dirty_pages = vfio_kernel_dirty_pages,
};
