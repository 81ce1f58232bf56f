/*
 * Device data on its way between a device's migration region and the
 * migration stream.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_MIGRATION_DATA_H
#define HW_VFIO_MIGRATION_DATA_H

typedef struct QEMUFile QEMUFile;
typedef struct VFIODevice VFIODevice;

/*
 * Where the next chunk of the device's data is in its migration region, and
 * how long; neither is checked.  Asking for the offset is what makes the
 * device get the chunk ready.  Returns 0, or -errno with the failure reported.
 * data_lock held.
 */
int vfio_migration_next_chunk(VFIODevice *vbasedev, uint64_t *offset,
                              uint64_t *size);

/*
 * Send @size bytes of the device's data at @offset of its migration region,
 * which vfio_migration_check_data() has passed, to @f, without a copy of
 * them: what is in @f goes out before this returns.  Returns 0 or -errno; a
 * device that fails is reported, an error of @f is left there.  data_lock
 * held, in the thread that saves.
 */
int vfio_migration_save_data(VFIODevice *vbasedev, QEMUFile *f,
                             uint64_t offset, uint64_t size);

/*
 * The other way round, from @f to the device.  Also a stream that ends early
 * is reported.  In the thread that loads.
 */
int vfio_migration_load_data(VFIODevice *vbasedev, QEMUFile *f,
                             uint64_t offset, uint64_t size);

/*
 * Around the saving of a device that is stopped, once it is: takes data_lock,
 * and lets go of the BQL in a migration, so that the monitor answers
 * meanwhile.  RAM that changes is noticed, since it is saved after devices'
 * data; devices can be neither plugged nor unplugged, as in all of a migration;
 * the guest cannot be started; and resets are held until the migration is over
 * (VFIO_MIGRATION_EVENT_SAVE_CLEANUP).  BQL held, in the thread that saves.
 */
VFIODevice *vfio_migration_data_begin(VFIODevice *vbasedev);
void vfio_migration_data_end(VFIODevice *vbasedev);

/* The same up to the end of the block */
typedef VFIODevice *VFIOMigrationDataGuard;
G_DEFINE_AUTO_CLEANUP_FREE_FUNC(VFIOMigrationDataGuard,
                                vfio_migration_data_end, NULL)
#define VFIO_MIGRATION_DATA_GUARD(vbasedev) \
    g_auto(VFIOMigrationDataGuard) data_guard G_GNUC_UNUSED = \
        vfio_migration_data_begin(vbasedev)

#endif /* HW_VFIO_MIGRATION_DATA_H */
