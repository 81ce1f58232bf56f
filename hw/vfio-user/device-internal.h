/*
 * What the files of the vfio-user device's ops share.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_DEVICE_INTERNAL_H
#define HW_VFIO_USER_DEVICE_INTERNAL_H

#include "hw/vfio-user/device.h"

/*
 * Returns @ret, a -errno, with errno set for the caller's "%m"; but not
 * -EAGAIN and -EINTR, on which hw/vfio tries again for ever.
 */
int vfio_user_device_errno(int ret);

/* The same, and @err is reported and freed. */
int vfio_user_device_fail(VFIOUserDevice *device, int ret, Error *err);

/*
 * The region that @off, an offset of hw/vfio's flat space, lies in, and with
 * it @size bytes; *@region_off is where in there.  NULL where there is none.
 */
const VFIOUserRegion *vfio_user_device_region(VFIOUserDevice *device,
                                              off_t off, size_t size,
                                              uint64_t *region_off);

/*
 * Requests 0 to n - 1, of which up to @window are under way; a slot, less than
 * @window, is for what a request needs until it is over.  Answers are taken in
 * order.  Every callback runs in the thread that runs the pipeline.
 */
typedef struct VFIOUserPipeline {
    /* Send request @i.  0 or -errno: then nothing is under way in @slot. */
    int (*begin)(void *opaque, uint64_t i, unsigned int slot);
    /* Wait for the answer to request @i and take it.  0 or -errno */
    int (*end)(void *opaque, uint64_t i, unsigned int slot);
    /* Wait for the answer to request @i, which nobody wants any more. */
    void (*forget)(void *opaque, uint64_t i, unsigned int slot);
    unsigned int window;
    /*
     * When there are @window under way, wait until there are fewer than this,
     * as one for one puts both sides to sleep each time.  0: one for one
     */
    unsigned int low;
} VFIOUserPipeline;

/*
 * pipeline.c: 0, or the first -errno of a callback.  Nothing is sent after
 * that, and in any case nothing is under way any more on return.
 */
int vfio_user_pipeline_run(const VFIOUserPipeline *pipeline, uint64_t n,
                           void *opaque);

/* access.c: free what is kept between two chunks of device data. data_lock. */
void vfio_user_device_drop_spares(VFIOUserDevice *device);

/* access.c: slots of VFIODeviceIOOps */
ssize_t vfio_user_device_region_read(VFIODevice *vbasedev, off_t off,
                                     size_t size, void *data);
ssize_t vfio_user_device_region_write(VFIODevice *vbasedev, off_t off,
                                      size_t size, const void *data,
                                      bool post);
int vfio_user_device_registers_read(VFIODevice *vbasedev, const off_t *offs,
                                    uint64_t *values, unsigned int n,
                                    unsigned int *failed);
int vfio_user_device_data_read(VFIODevice *vbasedev, off_t off, size_t size,
                               VFIODataSink *sink, void *opaque);
int vfio_user_device_data_write(VFIODevice *vbasedev, off_t off, size_t size,
                                VFIODataSource *source, void *opaque);

/*
 * access.c: what migration is told of @ret (-errno).  However the connection
 * has ended, the device is lost; and a destination ends before the main loop
 * comes to say why, so this does.
 */
int vfio_user_access_errno(VFIODevice *vbasedev, int ret);

/*
 * mapped.c: @size bytes at @address are mapped from a file of @region's, until
 * region_munmap; at the same address again they replace what was there, and
 * what was found wrong with @region is forgotten.  From then on an access that
 * finds the file shorter gets memory that reads as ones (its first MiB), and
 * the session ends.  False when there are too many.  BQL held.
 */
bool vfio_user_mapped_add(VFIOUserDevice *device, uint32_t region,
                          void *address, size_t size);

/* Kill the session if that has happened.  Any thread. */
void vfio_user_mapped_check(VFIOUserDevice *device);

/* mapped.c: nothing is mapped at @address any more, or soon.  BQL held. */
void vfio_user_mapped_remove(void *address);

/* mapped.c: slots of VFIODeviceIOOps */
int vfio_user_device_region_munmap(VFIODevice *vbasedev, void *address,
                                   size_t size);
int vfio_user_device_check_mapped(VFIODevice *vbasedev, const void *address,
                                  size_t size);

/* identity.c: slots of VFIODeviceIOOps */
void vfio_user_device_save_identity(VFIODevice *vbasedev, QEMUFile *f);
int vfio_user_device_load_identity(VFIODevice *vbasedev, QEMUFile *f);

/* irqs.c: a slot of VFIODeviceIOOps */
int vfio_user_device_set_irqs(VFIODevice *vbasedev, struct vfio_irq_set *irqs);

/*
 * Tell the server what was set while its device was stopped; for
 * vfio_user_late_irqs_replay().
 */
void vfio_user_device_tell_late_irqs(VFIOUserDevice *device,
                                     const struct vfio_irq_set *irqs);

#endif /* HW_VFIO_USER_DEVICE_INTERNAL_H */
