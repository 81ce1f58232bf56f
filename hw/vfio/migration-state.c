/*
 * device_state of a VFIO device in migration protocol v1.  Pure: it knows no
 * region, no socket and no migration stream.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "hw/vfio/migration-state.h"

#define STATE_BITS 7u

/* Which step the protocol allows from a state, one bit for each next one. */
static const uint8_t legal_steps[] = {
    [VFIO_MIGRATION_STATE_STOP] = 1 << VFIO_MIGRATION_STATE_RUNNING,
    [VFIO_MIGRATION_STATE_RUNNING] = 1 << VFIO_MIGRATION_STATE_STOP |
                                     1 << VFIO_MIGRATION_STATE_STOP_COPY |
                                     1 << VFIO_MIGRATION_STATE_PRE_COPY |
                                     1 << VFIO_MIGRATION_STATE_RESUMING,
    [VFIO_MIGRATION_STATE_STOP_COPY] = 1 << VFIO_MIGRATION_STATE_STOP |
                                       1 << VFIO_MIGRATION_STATE_RUNNING,
    [VFIO_MIGRATION_STATE_PRE_COPY] = 1 << VFIO_MIGRATION_STATE_STOP_COPY,
    [VFIO_MIGRATION_STATE_RESUMING] = 1 << VFIO_MIGRATION_STATE_RUNNING,
};

/*
 * What QEMU does with the register on an event when nothing is cached: keep
 * the bits in keep, set those in set.
 */
static const struct {
    uint8_t keep;
    uint8_t set;
} uncached_change[VFIO_MIGRATION_EVENT__MAX] = {
    [VFIO_MIGRATION_EVENT_VM_START] = { 0, VFIO_MIGRATION_STATE_RUNNING },
    [VFIO_MIGRATION_EVENT_VM_START_SAVE] = { 0, VFIO_MIGRATION_STATE_RUNNING },
    [VFIO_MIGRATION_EVENT_VM_STOP] = { 6, 0 },
    [VFIO_MIGRATION_EVENT_VM_STOP_SAVE] = { 6, VFIO_MIGRATION_STATE_STOP_COPY },
    [VFIO_MIGRATION_EVENT_SAVE_SETUP] = { 7, VFIO_MIGRATION_STATE_STOP_COPY },
    [VFIO_MIGRATION_EVENT_SAVE_STOPPED] = { 6, VFIO_MIGRATION_STATE_STOP_COPY },
    [VFIO_MIGRATION_EVENT_SAVE_DONE] = { 5, 0 },
    [VFIO_MIGRATION_EVENT_LOAD_SETUP] = { 0, VFIO_MIGRATION_STATE_RESUMING },
    [VFIO_MIGRATION_EVENT_ROLLBACK] = { 1, VFIO_MIGRATION_STATE_RUNNING },
};

const char *vfio_migration_state_name(uint32_t value)
{
    static const char *const names[] = {
        [VFIO_MIGRATION_STATE_STOP] = "stop",
        [VFIO_MIGRATION_STATE_RUNNING] = "running",
        [VFIO_MIGRATION_STATE_STOP_COPY] = "stop-copy",
        [VFIO_MIGRATION_STATE_PRE_COPY] = "pre-copy",
        [VFIO_MIGRATION_STATE_RESUMING] = "resuming",
        [VFIO_MIGRATION_STATE_ERROR] = "error",
    };

    value &= STATE_BITS;
    return value < ARRAY_SIZE(names) && names[value] ? names[value] : "unknown";
}

void vfio_migration_state_init(VFIOMigrationState *state,
                               const VFIOMigrationStateOps *ops, void *opaque,
                               bool cache, bool vm_running)
{
    *state = (VFIOMigrationState) {
        .ops = ops,
        .opaque = opaque,
        .cache = cache,
        .vm_running = vm_running,
        .vm_started = vm_running,
    };
    qemu_mutex_init(&state->lock);
}

void vfio_migration_state_destroy(VFIOMigrationState *state)
{
    qemu_mutex_destroy(&state->lock);
}

/* Where the device has to be: from the intent, never from a value read. */
static uint32_t state_target(const VFIOMigrationState *state)
{
    switch (state->phase) {
    case VFIO_MIGRATION_PHASE_SAVING:
        return state->vm_running ? VFIO_MIGRATION_STATE_PRE_COPY :
                                   VFIO_MIGRATION_STATE_STOP_COPY;
    case VFIO_MIGRATION_PHASE_SAVED:
        return VFIO_MIGRATION_STATE_STOP;
    case VFIO_MIGRATION_PHASE_RESUMING:
        return VFIO_MIGRATION_STATE_RESUMING;
    case VFIO_MIGRATION_PHASE_NONE:
        break;
    }
    return state->vm_running || !state->vm_started ?
           VFIO_MIGRATION_STATE_RUNNING : VFIO_MIGRATION_STATE_STOP;
}

static int state_read(VFIOMigrationState *state)
{
    uint32_t value;
    int ret;

    state->known = false;
    ret = state->ops->read(state->opaque, &value);
    if (ret) {
        return ret;
    }
    state->value = value & STATE_BITS;
    state->reserved = value & ~STATE_BITS;
    state->known = true;
    state->failed = state->value == VFIO_MIGRATION_STATE_ERROR;
    return state->failed ? -EIO : 0;
}

/* On an error answer the device may be anywhere: look, once. */
static int state_write(VFIOMigrationState *state, uint32_t value)
{
    int ret = state->ops->write(state->opaque, state->reserved | value);

    if (ret) {
        state_read(state);
        return state->failed ? -EIO : ret;
    }
    state->value = value;
    state->known = true;
    state->writes++;
    return 0;
}

static bool step_is_legal(uint32_t from, uint32_t to)
{
    return from < ARRAY_SIZE(legal_steps) && (legal_steps[from] & (1 << to));
}

/*
 * The next value to write on the way to @target.  All detours lead through
 * RUNNING, except from PRE_COPY, which only STOP_COPY follows.
 */
static uint32_t state_next_step(const VFIOMigrationState *state,
                                uint32_t target)
{
    if (step_is_legal(state->value, target)) {
        return target;
    }
    if (state->value == VFIO_MIGRATION_STATE_PRE_COPY) {
        /* not in the protocol, but spares the device a stop: try it first */
        return target == VFIO_MIGRATION_STATE_RUNNING &&
               !state->stops_before_running ? target :
                                              VFIO_MIGRATION_STATE_STOP_COPY;
    }
    return VFIO_MIGRATION_STATE_RUNNING;
}

static int state_drive(VFIOMigrationState *state, uint32_t target)
{
    int ret;

    if (state->failed) {
        return -EIO;
    }
    if (!state->known) {
        ret = state_read(state);
        if (ret) {
            return ret;
        }
    }
    if (state->value == target) {
        state->writes_skipped++;
        state->ops->skip(state->opaque, target);
        return 0;
    }
    while (state->value != target) {
        uint32_t from = state->value;
        uint32_t next = state_next_step(state, target);

        ret = state_write(state, next);
        if (ret && !state->stops_before_running && state->known &&
            from == VFIO_MIGRATION_STATE_PRE_COPY && state->value == from &&
            next == VFIO_MIGRATION_STATE_RUNNING) {
            state->stops_before_running = true;
            continue;
        }
        if (ret) {
            return ret;
        }
    }
    return 0;
}

/* The register as QEMU treats it when it remembers nothing. */
static int state_change_uncached(VFIOMigrationState *state,
                                 VFIOMigrationEvent event)
{
    int ret = state_read(state);
    uint32_t next;

    if (ret) {
        return ret;
    }
    next = (state->value & uncached_change[event].keep) |
           uncached_change[event].set;
    if (!step_is_legal(VFIO_MIGRATION_STATE_RUNNING, next) &&
        next != VFIO_MIGRATION_STATE_RUNNING) {
        return -EINVAL;
    }
    return state_write(state, next);
}

/* Returns whether @event changes nothing for QEMU without this module. */
static bool state_record_event(VFIOMigrationState *state,
                               VFIOMigrationEvent event)
{
    bool was_running = state->vm_running;

    switch (event) {
    case VFIO_MIGRATION_EVENT_VM_START:
        state->phase = VFIO_MIGRATION_PHASE_NONE;
        /* fall through */
    case VFIO_MIGRATION_EVENT_VM_START_SAVE:
        state->vm_running = true;
        state->vm_started = true;
        return was_running;
    case VFIO_MIGRATION_EVENT_VM_STOP_SAVE:
        state->phase = VFIO_MIGRATION_PHASE_SAVING;
        /* fall through */
    case VFIO_MIGRATION_EVENT_VM_STOP:
        state->vm_running = false;
        return !was_running;
    case VFIO_MIGRATION_EVENT_SAVE_SETUP:
    case VFIO_MIGRATION_EVENT_SAVE_STOPPED:
        state->phase = VFIO_MIGRATION_PHASE_SAVING;
        return false;
    case VFIO_MIGRATION_EVENT_SAVE_DONE:
        state->phase = VFIO_MIGRATION_PHASE_SAVED;
        return false;
    case VFIO_MIGRATION_EVENT_LOAD_SETUP:
        state->phase = VFIO_MIGRATION_PHASE_RESUMING;
        return false;
    case VFIO_MIGRATION_EVENT_ROLLBACK:
        state->phase = VFIO_MIGRATION_PHASE_NONE;
        return false;
    case VFIO_MIGRATION_EVENT__MAX:
        break;
    }
    g_assert_not_reached();
}

int vfio_migration_state_event(VFIOMigrationState *state,
                               VFIOMigrationEvent event)
{
    QEMU_LOCK_GUARD(&state->lock);
    bool repeated = state_record_event(state, event);

    if (state->cache) {
        return state_drive(state, state_target(state));
    }
    return repeated ? 0 : state_change_uncached(state, event);
}

int vfio_migration_state_sync(VFIOMigrationState *state)
{
    QEMU_LOCK_GUARD(&state->lock);
    int ret;

    state->failed = false;
    ret = state_read(state);
    if (ret || state->value == state_target(state)) {
        return ret;
    }
    return state_drive(state, state_target(state));
}

int vfio_migration_state_was_reset(VFIOMigrationState *state)
{
    QEMU_LOCK_GUARD(&state->lock);

    if (!state->cache) {
        return 0;
    }
    if (!state->known || state->value != VFIO_MIGRATION_STATE_RUNNING) {
        state->failed = false;
        state->known = false;
    } else if (state_target(state) == VFIO_MIGRATION_STATE_RUNNING) {
        return 0;
    }
    return state_drive(state, state_target(state));
}
