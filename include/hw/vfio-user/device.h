/*
 * A vfio-user server's device as hw/vfio sees it: what it consists of, and
 * the io_ops that reach it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_DEVICE_H
#define HW_VFIO_USER_DEVICE_H

#include "hw/vfio/vfio-common.h"
#include "hw/vfio-user/session.h"
#include "hw/vfio-user/wire.h"

/* hw/vfio sees region n at this offset times n */
#define VFIO_USER_REGION_SHIFT 40

typedef struct VFIOUserRegion {
    VFIOUserRegionDesc desc;
    /* one fd for each area of desc, or one for all; owned */
    int fds[VFIO_USER_MAX_FDS];
    size_t num_fds;
    bool migration;         /* v1 migration region: never posted to */
} VFIOUserRegion;

typedef struct VFIOUserLateIRQs VFIOUserLateIRQs;

/*
 * Messages with device data under way at once, so that neither side waits for
 * the other at each.  Reads may be of 1 MiB.
 */
#define VFIO_USER_DATA_READS 2
#define VFIO_USER_DATA_WRITES 16

/* Of so many writes under way, when there are fewer more are sent. */
#define VFIO_USER_DATA_WRITES_LOW(window) DIV_ROUND_UP(window, 2)

/*
 * All but @late_irqs, @spares, @shrunk, @config_is_fixed, @resume_dma,
 * @settle_dma and @ask_dirty is set up by vfio_user_device_init() and does not
 * change until cleanup, except when the server is another one:
 * vfio_user_device_take_over().
 */
typedef struct VFIOUserDevice {
    VFIOUserSession *session;   /* borrowed; has its own locks */
    size_t max_write;           /* bytes of data in one REGION_WRITE */
    bool no_posted_writes;
    bool told_lost;             /* vfio_user_device_tell_lost(); BQL */
    bool quiet;                 /* report() prints nothing */
    uint32_t flags;             /* VFIO_DEVICE_FLAGS_* */
    uint32_t num_regions;
    uint32_t num_irqs;
    VFIOUserRegion *regions;
    VFIOUserIRQDesc *irqs;
    uint8_t *config;            /* as check_config() has read it */
    /*
     * The container's part when the device runs again: mappings that came and
     * went while it was stopped.  NULL without a container.  Called with the
     * lock of vfio_migration_lock_stopped() held, by any thread.
     */
    void (*resume_dma)(VFIODevice *vbasedev);
    /*
     * Its part before device_state changes: answers that are to come.  The
     * same otherwise.
     */
    void (*settle_dma)(VFIODevice *vbasedev);
    /*
     * Its part before a stopped device's data is saved: which pages the device
     * has written.  The same, but without that lock.
     */
    void (*ask_dirty)(VFIODevice *vbasedev);
    /* the server has refused one; vfio_migration_lock_stopped() */
    bool no_unmask_eventfd;
    /*
     * Memory for device data, kept from one chunk to the next; the migration's
     * data_lock
     */
    void *spares[VFIO_USER_DATA_READS];
    size_t spare_size;
    /* @config is what is read: the device is being realized.  BQL */
    bool config_is_fixed;
    uint32_t shrunk;            /* region found too short, plus 1; atomic */
    /* set while the device was stopped; vfio_migration_lock_stopped() */
    QSIMPLEQ_HEAD(, VFIOUserLateIRQs) late_irqs;
} VFIOUserDevice;

/*
 * Ask the server what its device consists of, check it, and make @vbasedev
 * use @device: its io_ops, counts and flags.  @device->session, max_write and
 * no_posted_writes are set by the caller.  BQL held, or both are only this
 * thread's.
 *
 * A server that refuses DEVICE_GET_INFO because an earlier client left its
 * device stopped is told to run it first.
 *
 * Returns false with @errp set when a call fails or the device is none that
 * QEMU can use; vfio_user_device_cleanup() is safe then as well.
 * (Specification: DEVICE_GET_INFO, DEVICE_GET_REGION_INFO,
 * DEVICE_GET_IRQ_INFO.)
 */
bool vfio_user_device_init(VFIOUserDevice *device, VFIODevice *vbasedev,
                           Error **errp);

/*
 * Free what init and check_config made and close the regions' fds; idempotent.
 * As init.
 */
void vfio_user_device_cleanup(VFIOUserDevice *device);

/*
 * The server answered @command with nonsense, which @errp says (from a
 * vfio_user_wire_get function; not NULL): what follows can not be trusted
 * either, so the session dies of it.  @errp becomes the session's reason.
 * Returns -EPROTO.  Any thread.
 */
int vfio_user_device_protocol_error(VFIOUserDevice *device, uint16_t command,
                                    Error **errp);

/*
 * Fail the migration under way, if any, for @ret (-errno): query-migrate says
 * @err behind the name of @vbasedev.  Otherwise without effect.  @err is
 * borrowed.  Any thread, any lock of this device's.
 */
void vfio_user_device_fail_migration(VFIODevice *vbasedev, int ret,
                                     const Error *err);

/*
 * Print the one line that says the device is lost and for what @reason, unless
 * it has been printed.  BQL held.
 */
void vfio_user_device_tell_lost(VFIOUserDevice *device, VFIODevice *vbasedev,
                                const Error *reason);

/*
 * Print @err, which is freed and may be NULL; but nothing of a lost server,
 * whose story the one line at its death has told, nor of a quiet device.  Any
 * thread.
 */
void vfio_user_device_report(VFIOUserDevice *device, Error *err);

/*
 * Keep a copy of @irqs, with fds of its own, for replay.  The lock of
 * vfio_migration_lock_stopped() held.
 */
void vfio_user_late_irqs_add(VFIOUserDevice *device,
                             const struct vfio_irq_set *irqs);

/* @tell what was added, in order, and drop it; NULL only drops.  Lock held. */
void vfio_user_late_irqs_replay(VFIOUserDevice *device,
                                void (*tell)(VFIOUserDevice *device,
                                             const struct vfio_irq_set *irqs));

/* The ops that init gives to a VFIODevice. */
extern const VFIODeviceIOOps vfio_user_device_io_ops;

/*
 * Check the server's config space where hw/vfio and hw/pci take it on trust:
 * header type, BAR types, identities with quirks, capabilities.  BQL held.
 * Returns false with @errp set when it cannot be read or must not be used.
 * Keeps what was read.
 *
 * What has been checked is what is read of it until
 * vfio_user_device_release_config(), whatever the server says by then; but not
 * the ROM's register, whose size is read after a write.
 */
bool vfio_user_device_check_config(VFIODevice *vbasedev, Error **errp);

/*
 * The device is realized: config space is the server's again, but for the
 * interrupt pin.  BQL held.
 */
void vfio_user_device_release_config(VFIOUserDevice *device);

/*
 * Could @is take the place of @was, and neither hw/vfio nor a driver in the
 * guest notice more than a reset?  Regions, interrupts, what the device can do,
 * its identity, and which capabilities are where; not what a driver sets.  Both
 * have passed check_config.  Pure.  Returns false with @errp set, which says
 * what differs.
 */
bool vfio_user_device_is_same(const VFIOUserDevice *was,
                              const VFIOUserDevice *is, Error **errp);

/*
 * Let @device, whose session is dead, go on with @fresh's session and files;
 * vfio_user_device_is_same() for them.  The caller still cleans @fresh up.  BQL
 * and vfio_migration_lock_device() held, so that nobody is between a look at
 * the session and the end of a call on it.
 */
void vfio_user_device_take_over(VFIOUserDevice *device, VFIOUserDevice *fresh);

#endif /* HW_VFIO_USER_DEVICE_H */
