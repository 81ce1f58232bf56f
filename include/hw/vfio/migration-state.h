/*
 * device_state of a VFIO device in migration protocol v1: what it should be,
 * what it was last told, and the writes that lead from one to the other.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_MIGRATION_STATE_H
#define HW_VFIO_MIGRATION_STATE_H

#include "qemu/thread.h"

/* Values of the register, as linux/vfio.h has them bit by bit. */
enum {
    VFIO_MIGRATION_STATE_STOP = 0,
    VFIO_MIGRATION_STATE_RUNNING = 1,
    VFIO_MIGRATION_STATE_STOP_COPY = 2,
    VFIO_MIGRATION_STATE_PRE_COPY = 3,
    VFIO_MIGRATION_STATE_RESUMING = 4,
    VFIO_MIGRATION_STATE_ERROR = 6,
};

/* What happens to the VM that the device has to follow. */
typedef enum VFIOMigrationEvent {
    VFIO_MIGRATION_EVENT_VM_START,      /* vCPUs are about to run */
    VFIO_MIGRATION_EVENT_VM_START_SAVE, /* they are, and saving goes on */
    VFIO_MIGRATION_EVENT_VM_STOP,       /* vCPUs have stopped */
    VFIO_MIGRATION_EVENT_VM_STOP_SAVE,  /* they have, to save a snapshot */
    VFIO_MIGRATION_EVENT_SAVE_SETUP,    /* saving begins */
    VFIO_MIGRATION_EVENT_SAVE_STOPPED,  /* saving goes on, vCPUs stopped */
    VFIO_MIGRATION_EVENT_SAVE_DONE,     /* all has been saved */
    VFIO_MIGRATION_EVENT_LOAD_SETUP,    /* loading begins */
    VFIO_MIGRATION_EVENT_ROLLBACK,      /* saving was given up */
    VFIO_MIGRATION_EVENT__MAX,
} VFIOMigrationEvent;

/*
 * How the register is reached.  Called with the lock of the
 * VFIOMigrationState held, by whichever thread brought the event.
 */
typedef struct VFIOMigrationStateOps {
    /* Read the register.  Returns 0 with @value set, or -errno. */
    int (*read)(void *opaque, uint32_t *value);
    /*
     * Write the register and wait for the answer.  Returns 0 when the device
     * has taken the value, or -errno.
     */
    int (*write)(void *opaque, uint32_t value);
    /* A wanted write was left out: the device has @value already. */
    void (*skip)(void *opaque, uint32_t value);
} VFIOMigrationStateOps;

/* Which migration the device takes part in. */
typedef enum VFIOMigrationPhase {
    VFIO_MIGRATION_PHASE_NONE,
    VFIO_MIGRATION_PHASE_SAVING,
    VFIO_MIGRATION_PHASE_SAVED,
    VFIO_MIGRATION_PHASE_RESUMING,
} VFIOMigrationPhase;

/*
 * One device's state.  @ops, @opaque and @cache do not change after init.
 * @lock guards all that follows it and is held while the device answers, so
 * that two events never cross on the wire; nothing that serves the device's
 * own requests may take it.  Lock order: BQL, then @lock.
 */
typedef struct VFIOMigrationState {
    const VFIOMigrationStateOps *ops;
    void *opaque;
    bool cache;

    QemuMutex lock;
    /* the register: last value that is known to be there */
    uint32_t value;
    uint32_t reserved;          /* bits 3-31 as found, written back */
    bool known;
    bool failed;                /* the device reported ERROR */
    bool stops_before_running;  /* refused 3 -> 1: goes by 2 since */
    /* the intent */
    VFIOMigrationPhase phase;
    bool vm_running;
    bool vm_started;            /* has run since the device is there */
    /* the counts, both modes */
    uint64_t writes;
    uint64_t writes_skipped;
} VFIOMigrationState;

/*
 * Prepare @state for a device whose VM is @vm_running.  With @cache off every
 * event reads and writes the register whatever it holds, as QEMU does without
 * this module.  @ops and @opaque must outlive @state.  No device access.
 */
void vfio_migration_state_init(VFIOMigrationState *state,
                               const VFIOMigrationStateOps *ops, void *opaque,
                               bool cache, bool vm_running);

/* Undo init.  No other thread may use @state any more.  No device access. */
void vfio_migration_state_destroy(VFIOMigrationState *state);

/*
 * The one read at realize (or after a reconnect): learn the register's value
 * and drive the device to where its VM is, RUNNING for a VM that has not run
 * yet.  Returns 0, or -errno: the register cannot be read, the device reports
 * ERROR (-EIO), or it refuses to leave the state it was found in.
 */
int vfio_migration_state_sync(VFIOMigrationState *state);

/*
 * Bring the device to where @event puts it.  Takes @state->lock; any thread.
 * Nothing is read or written when the device is there already; a change that
 * the protocol does not allow in one step is made in several.  After an
 * error answer the register is read once, so that the next event starts from
 * what the device really holds.
 *
 * The intent is recorded even on failure: the next event tries again.
 * Returns 0 when the device is in the wanted state, -EIO when it is in ERROR,
 * else the -errno of the access that failed.
 */
int vfio_migration_state_event(VFIOMigrationState *state,
                               VFIOMigrationEvent event);

/*
 * The device was reset: a device that was RUNNING still is, any other may
 * have fallen to RUNNING, so look once and put it back to where it should
 * be.  Returns as vfio_migration_state_event().
 */
int vfio_migration_state_was_reset(VFIOMigrationState *state);

/* Name of a register value, as QMP shows it ("stop-copy"); never NULL. */
const char *vfio_migration_state_name(uint32_t value);

#endif /* HW_VFIO_MIGRATION_STATE_H */
