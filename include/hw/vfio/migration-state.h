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
    VFIO_MIGRATION_EVENT_SAVE_CLEANUP,  /* saving is over, done or not */
    VFIO_MIGRATION_EVENT_LOAD_SETUP,    /* loading begins */
    VFIO_MIGRATION_EVENT_LOAD_CLEANUP,  /* loading is over, done or not */
    VFIO_MIGRATION_EVENT_ROLLBACK,      /* the migration was given up */
    VFIO_MIGRATION_EVENT_UNPLUG,        /* the device is let go */
    VFIO_MIGRATION_EVENT__MAX,
} VFIOMigrationEvent;

/*
 * How the device is reached, and who is told.  Called with the lock of the
 * VFIOMigrationState held, by whichever thread brought the event.
 */
typedef struct VFIOMigrationStateOps {
    /* Read the register.  Returns 0 with @value set, or -errno. */
    int (*read)(void *opaque, uint32_t *value);
    /*
     * Write the register and wait for the answer.  Returns 0 when the device
     * has taken the value, or -errno.  From either, -ENOTCONN and
     * -ETIMEDOUT say that the device is lost for good.
     */
    int (*write)(void *opaque, uint32_t value);
    /* Reset the device.  Returns 0, or -errno. */
    int (*reset)(void *opaque);
    /*
     * The device is RUNNING now, and vCPUs do not run yet: bring its
     * surroundings up to date that a stopped device refuses to change.
     */
    void (*resume)(void *opaque);
    /* A wanted write of @value was left out, for @reason. */
    void (*skip)(void *opaque, uint32_t value, const char *reason);
    /* The value that was known is so no more, for @cause. */
    void (*forget)(void *opaque, const char *cause);
    /* The device could not be brought to @value: -errno @ret. */
    void (*fail)(void *opaque, uint32_t value, int ret);
} VFIOMigrationStateOps;

/* Which migration the device takes part in. */
typedef enum VFIOMigrationPhase {
    VFIO_MIGRATION_PHASE_NONE,
    VFIO_MIGRATION_PHASE_SAVING,
    VFIO_MIGRATION_PHASE_SAVED,
    VFIO_MIGRATION_PHASE_RESUMING,
    VFIO_MIGRATION_PHASE_RESUMED,       /* loaded, the guest has not run yet */
    VFIO_MIGRATION_PHASE_GONE,          /* unplugged */
} VFIOMigrationPhase;

/* What becomes of a reset. */
typedef enum VFIOMigrationReset {
    VFIO_MIGRATION_RESET_NOW,
    VFIO_MIGRATION_RESET_LATER,     /* the device is stopped: when it runs */
    VFIO_MIGRATION_RESET_NEVER,     /* what is being loaded replaces it */
} VFIOMigrationReset;

typedef struct VFIOMigrationStateConfig {
    const VFIOMigrationStateOps *ops;
    void *opaque;
    bool cache;             /* off: access the register on every event */
    bool refuses;           /* a stopped device may, unless it is to run */
    bool vm_running;
} VFIOMigrationStateConfig;

/*
 * One device's state.  @config does not change after init.  @lock guards all
 * that follows it and is held while the device answers, so that two events
 * never cross on the wire; nothing that serves the device's own requests may
 * take it.  Lock order: BQL, then @lock.
 */
typedef struct VFIOMigrationState {
    VFIOMigrationStateConfig config;

    QemuMutex lock;
    /* the register: last value that is known to be there */
    uint32_t value;
    uint32_t reserved;          /* bits 3-31 as found, written back */
    bool known;
    bool failed;                /* the device reported ERROR */
    bool lost;                  /* it can be reached no more */
    bool was_stopped;           /* and has not caught up since */
    bool stops_before_running;  /* refused 3 -> 1: goes by 2 since */
    /* the intent */
    VFIOMigrationPhase phase;
    bool vm_running;
    bool vm_started;            /* has run since the device is there */
    bool was_resumed;           /* until a start of the VM that has failed */
    VFIOMigrationReset reset;   /* of the reset under way, or the last one */
    bool reset_due;             /* one was put off */
    /* the counts, both modes */
    uint64_t writes;
    uint64_t writes_skipped;
} VFIOMigrationState;

/*
 * Prepare @state.  @config is copied; what it points to must outlive @state.
 * With its cache off every event reads and writes the register whatever it
 * holds, as QEMU does without this module, and no reset is put off.  No
 * device access.
 */
void vfio_migration_state_init(VFIOMigrationState *state,
                               const VFIOMigrationStateConfig *config);

/* Undo init.  No other thread may use @state any more.  No device access. */
void vfio_migration_state_destroy(VFIOMigrationState *state);

/*
 * The one read at realize (or after a reconnect): learn the register's value
 * and drive the device to where its VM is, RUNNING for a VM that has not run
 * yet; by a reset where it will not go otherwise.  What was put off, learned
 * or loaded before is forgotten: the device is another one.  Returns 0, or
 * -errno: the register cannot be read, the device reports ERROR (-EIO), or it
 * refuses to leave the state it was found in.
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
 * -ENOTCONN when it is lost, else the -errno of the access that failed.
 */
int vfio_migration_state_event(VFIOMigrationState *state,
                               VFIOMigrationEvent event);

/*
 * The device is about to be reset.  Returns what is to become of it: only NOW
 * may the device be told; LATER it will be through ops->reset, after it has
 * been told RUNNING and before vCPUs run.  A device that is stopped while
 * it saves is told RUNNING at once for the purpose.  end() must follow.
 */
VFIOMigrationReset vfio_migration_state_reset_begin(VFIOMigrationState *state);

/*
 * The device was reset, or was not, as begin() said: a device that was
 * RUNNING still is, any other may have fallen to RUNNING, so look once and
 * put it back to where it should be.  Returns as vfio_migration_state_event(),
 * or -EBUSY when a reset had to be put off that what is saved now must have.
 */
int vfio_migration_state_reset_end(VFIOMigrationState *state);

/*
 * The device can be reached no more, and nobody knows what it does: nothing is
 * read or written until the next sync.  Returns false if it has just been
 * saved, so that the migration does not need it.  Takes the lock; any thread.
 */
bool vfio_migration_state_lose(VFIOMigrationState *state);

/*
 * Whether vCPUs may run: the device does, or it is lost and answers nobody.
 * Takes the lock; always true with the cache off.
 */
bool vfio_migration_state_may_run(VFIOMigrationState *state);

/*
 * Whether the device is known to be stopped, so that it may refuse to have
 * its surroundings changed until ops->resume.  Lock held, and to be kept for
 * as long as the answer is to hold; always false for one that refuses nothing
 * (@config.refuses), and with the cache off.
 */
bool vfio_migration_state_is_stopped(const VFIOMigrationState *state);

/* Name of a register value, as QMP shows it ("stop-copy"); never NULL. */
const char *vfio_migration_state_name(uint32_t value);

#endif /* HW_VFIO_MIGRATION_STATE_H */
