/*
 * How hw/vfio's migration reaches a device's registers and follows the VM:
 * what VFIOMigration has beyond QEMU's own, and who calls it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_MIGRATION_DEVICE_H
#define HW_VFIO_MIGRATION_DEVICE_H

#include "hw/vfio/migration-state.h"
#include "qom/object.h"
#include "sysemu/runstate.h"

typedef struct VFIODevice VFIODevice;
typedef struct VFIOPCIDevice VFIOPCIDevice;

/*
 * @data_lock makes a chunk of device data (its offset, its size, its bytes),
 * a change of device_state and a reset exclude each other.  It guards the
 * fields up to the BQL's, and pending_bytes and device_state of the
 * VFIOMigration.  A thread that holds it may send to the migration stream.
 * Lock order: BQL, @data_lock, @state.lock.
 */
typedef struct VFIOMigrationControl {
    VFIOMigrationState state;   /* has a lock of its own */

    QemuMutex data_lock;
    uint64_t saved;             /* bytes of device data in this migration */
    uint64_t least_pending;     /* since the device has stopped */
    int64_t least_since;        /* ms of QEMU_CLOCK_REALTIME */
    bool without_bql;           /* who saves has let go of it */

    /* BQL */
    bool resetting;             /* between reset_begin and reset_end */
    bool start_failed;          /* the device was to run, and did not */
    bool told;                  /* of an event that the device is to hear of, */
    VFIOMigrationEvent told_what;   /* this one */
    int result;                 /* what came of that */
    VMChangeStateEntry *settle;
} VFIOMigrationControl;

/*
 * Set up @vbasedev->migration, which has its region: learn where the device
 * is, once, and bring it to where the VM is.  BQL held.  Returns 0, or -errno
 * with a line printed; then stop() is not to be called.
 */
int vfio_migration_device_start(VFIODevice *vbasedev);

/*
 * Let the device go: it is told RUNNING if it is not, so that whoever comes
 * next finds it so.  BQL held, before the region goes.
 */
void vfio_migration_device_stop(VFIODevice *vbasedev);

/*
 * The backend cannot reach the device any more: its state is unknown.  Returns
 * whether a migration under way, if there is one, must fail: not when all of
 * the device has been saved, since the guest may run at the destination
 * already.  BQL held; nothing to do for a device without migration.
 */
bool vfio_migration_device_lost(VFIODevice *vbasedev);

/*
 * It can again: what it reaches is a device of which nothing is known.  Learn
 * where it is, once, and bring it to where the VM is.  BQL held, no migration
 * under way.  Returns 0, also without migration, or -errno.
 */
int vfio_migration_device_back(VFIODevice *vbasedev);

/*
 * For a backend that is about to reach the device in another way: until
 * unlock() no thread is within a function of its io_ops, except this one, if
 * the BQL is held as well, and no device is loaded.  Nothing to do for a device
 * without migration, which only threads with the BQL access.
 */
void vfio_migration_lock_device(VFIODevice *vbasedev);
void vfio_migration_unlock_device(VFIODevice *vbasedev);

/*
 * vfio_migration_state_event() for @vbasedev, in between two chunks of its
 * data.  Any thread that does not hold data_lock.
 */
int vfio_migration_device_event(VFIODevice *vbasedev,
                                VFIOMigrationEvent event);

/*
 * The same for an event that each of the VM's devices is about to hear of, in
 * any order: the first one that does has all of them follow at the same time,
 * and the others find it done.  Devices with x-cache-device-state=off go one
 * by one.  BQL held, without data_lock; other threads are at work meanwhile
 * that do without the BQL.
 */
int vfio_migration_event_together(VFIODevice *vbasedev,
                                  VFIOMigrationEvent event);

/*
 * The VM has stopped or is about to run; a device that does not follow fails
 * the migration that is under way.  BQL held.
 */
void vfio_migration_vm_changed(VFIODevice *vbasedev, bool running,
                               RunState state);

/*
 * Tell the user, and query-migrate, what is wrong with the register of
 * @vbasedev at offset @off of its migration region.  @ret is -errno; nothing
 * is printed for -ENOTCONN, which the backend has reported.  Any thread.
 */
void vfio_migration_fail(VFIODevice *vbasedev, off_t off, int ret,
                         const char *what);

/*
 * End the migration under way, if there is one, with -errno @ret: what it is to
 * save is lost, or not what it should be.  @reason, which may be NULL, becomes
 * query-migrate's error-desc unless that has one.  Any thread.
 */
void vfio_migration_abort(int ret, const Error *reason);

/*
 * Do @size bytes of device data at @offset lie behind the registers and within
 * the region, and, when they are @saved, within x-max-device-state?  Returns
 * 0, or -EINVAL with the failure reported.  data_lock held if @saved.
 */
int vfio_migration_check_data(VFIODevice *vbasedev, uint64_t offset,
                              uint64_t size, bool saved);

/*
 * In stop-and-copy, after pending_bytes was read: a count that does not become
 * less for longer than the device's bulk deadline is a lie.  @data_size is
 * what the last chunk had.  Returns 0, or -errno with the failure reported.
 * data_lock held.
 */
int vfio_migration_check_progress(VFIODevice *vbasedev, uint64_t data_size);

/*
 * A reset of the device begins and ends, however it is made: no chunk, no
 * change of state is in between.  Nothing to do for a device without
 * migration, nor for a reset within a reset.  BQL held.
 */
void vfio_migration_reset_begin(VFIODevice *vbasedev);
void vfio_migration_reset_end(VFIODevice *vbasedev);

/*
 * io_ops->device_reset for a reset that has begun; 0 without asking the device
 * if it is put off.  BQL held.
 */
int vfio_migration_device_reset(VFIODevice *vbasedev);

/*
 * The guest writes @len bytes of @val to config space at @addr: if that resets
 * the function, returns true and a reset has begun.  The caller ends it after
 * the write.  BQL held.
 */
bool vfio_migration_config_resets(VFIOPCIDevice *vdev, uint32_t addr,
                                  uint32_t val, int len);

/*
 * For a backend that is about to change what surrounds the device (mappings,
 * interrupts): is it stopped, so that it would refuse?  Until unlock() it
 * stays what it is, and io_ops->device_resumed is not called.  False for a
 * device without migration.  BQL held; other locks of the backend come later.
 */
bool vfio_migration_lock_stopped(VFIODevice *vbasedev);
void vfio_migration_unlock_stopped(VFIODevice *vbasedev);

/* For a class of VFIOPCIDevice: its properties about migration. */
void vfio_migration_add_properties(ObjectClass *klass);

#endif /* HW_VFIO_MIGRATION_DEVICE_H */
