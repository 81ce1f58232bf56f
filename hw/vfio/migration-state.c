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
    /* the others make no access then */
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
                               const VFIOMigrationStateConfig *config)
{
    *state = (VFIOMigrationState) {
        .config = *config,
        .vm_running = config->vm_running,
        .vm_started = config->vm_running,
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
    case VFIO_MIGRATION_PHASE_RESUMED:
        return VFIO_MIGRATION_STATE_RESUMING;
    case VFIO_MIGRATION_PHASE_GONE:
        return VFIO_MIGRATION_STATE_RUNNING;
    case VFIO_MIGRATION_PHASE_NONE:
        break;
    }
    return state->vm_running || !state->vm_started ?
           VFIO_MIGRATION_STATE_RUNNING : VFIO_MIGRATION_STATE_STOP;
}

bool vfio_migration_state_is_stopped(const VFIOMigrationState *state)
{
    return state->config.cache && state->config.refuses && state->known &&
           (state->value == VFIO_MIGRATION_STATE_STOP ||
            state->value == VFIO_MIGRATION_STATE_STOP_COPY);
}

static void state_forget(VFIOMigrationState *state, const char *cause)
{
    if (state->known) {
        state->known = false;
        state->config.ops->forget(state->config.opaque, cause);
    }
}

/* An answer that comes late could be taken for another one. */
static void state_note_loss(VFIOMigrationState *state, int ret)
{
    state->lost |= ret == -ENOTCONN || ret == -ETIMEDOUT;
}

static int state_read(VFIOMigrationState *state)
{
    uint32_t value;
    int ret;

    state->known = false;
    ret = state->config.ops->read(state->config.opaque, &value);
    if (ret) {
        state_note_loss(state, ret);
        return ret;
    }
    state->value = value & STATE_BITS;
    state->reserved = value & ~STATE_BITS;
    state->known = true;
    state->was_stopped |= vfio_migration_state_is_stopped(state);
    state->failed = state->value == VFIO_MIGRATION_STATE_ERROR;
    return state->failed ? -EIO : 0;
}

/* On an error answer the device may be anywhere: look, once. */
static int state_write(VFIOMigrationState *state, uint32_t value)
{
    int ret = state->config.ops->write(state->config.opaque,
                                       state->reserved | value);

    if (ret) {
        state_forget(state, "write failed");
        state_note_loss(state, ret);
        if (!state->lost) {
            state_read(state);
        }
        return state->failed ? -EIO : state->lost ? -ENOTCONN : ret;
    }
    state->value = value;
    state->known = true;
    state->was_stopped |= vfio_migration_state_is_stopped(state);
    state->writes++;
    return 0;
}

static int state_reset(VFIOMigrationState *state)
{
    int ret = state->config.ops->reset(state->config.opaque);

    if (ret) {
        return ret;
    }
    state_forget(state, "reset");
    state->failed = false;
    return state_read(state);
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

/* The way from @from to @next was refused: is there another one? */
static bool state_find_detour(VFIOMigrationState *state, uint32_t from,
                              uint32_t next, bool *may_reset)
{
    if (next != VFIO_MIGRATION_STATE_RUNNING || !state->known ||
        state->value != from) {
        return false;
    }
    if (from == VFIO_MIGRATION_STATE_PRE_COPY) {
        if (state->stops_before_running) {
            return false;
        }
        state->stops_before_running = true;
        return true;
    }
    if (!*may_reset && !(state->reset_due &&
                         from == VFIO_MIGRATION_STATE_RESUMING)) {
        return false;
    }
    *may_reset = false;
    state->reset_due = false;
    return !state_reset(state) && state->value != from;
}

/*
 * Once the device runs, it gets what was put off.  A reset comes first: it
 * would clear the rest.
 */
static void state_catch_up(VFIOMigrationState *state)
{
    if (!state->known || !(state->value & VFIO_MIGRATION_STATE_RUNNING)) {
        return;
    }
    if (state->reset_due) {
        state->reset_due = false;
        state->config.ops->reset(state->config.opaque);
    }
    if (state->was_stopped) {
        state->was_stopped = false;
        state->config.ops->resume(state->config.opaque);
    }
}

static int state_walk(VFIOMigrationState *state, uint32_t target,
                      bool may_reset)
{
    while (state->value != target) {
        uint32_t from = state->value;
        uint32_t next = state_next_step(state, target);
        int ret = state_write(state, next);
        bool lost_way = ret && !state_find_detour(state, from, next,
                                                  &may_reset);

        state_catch_up(state);
        if (lost_way) {
            return ret;
        }
    }
    return 0;
}

static int state_drive(VFIOMigrationState *state, uint32_t target,
                       bool may_reset)
{
    const VFIOMigrationStateOps *ops = state->config.ops;
    void *opaque = state->config.opaque;
    int ret = 0;

    if (state->lost || state->failed) {
        ops->skip(opaque, target, state->lost ? "lost" : "in error");
        return state->lost ? -ENOTCONN : -EIO;
    }
    if (!state->known) {
        ret = state_read(state);
    }
    state_catch_up(state);
    if (!ret && state->value == target) {
        state->writes_skipped++;
        ops->skip(opaque, target, "there already");
        return 0;
    }
    if (!ret) {
        ret = state_walk(state, target, may_reset);
    }
    if (ret) {
        ops->fail(opaque, target, ret);
    }
    return ret;
}

/* The register as QEMU treats it when it remembers nothing. */
static int state_change_uncached(VFIOMigrationState *state,
                                 VFIOMigrationEvent event)
{
    int ret = state_read(state);
    uint32_t next = (state->value & uncached_change[event].keep) |
                    uncached_change[event].set;

    if (!ret && !step_is_legal(VFIO_MIGRATION_STATE_RUNNING, next) &&
        next != VFIO_MIGRATION_STATE_RUNNING) {
        ret = -EINVAL;
    }
    if (!ret) {
        ret = state_write(state, next);
    }
    if (ret) {
        state->config.ops->fail(state->config.opaque, next, ret);
    }
    return ret;
}

/* Returns whether @event changes nothing for QEMU without this module. */
static bool state_record_event(VFIOMigrationState *state,
                               VFIOMigrationEvent event)
{
    bool was_running = state->vm_running;

    switch (event) {
    case VFIO_MIGRATION_EVENT_VM_START:
    case VFIO_MIGRATION_EVENT_VM_START_SAVE:
        state->was_resumed = state->phase == VFIO_MIGRATION_PHASE_RESUMED;
        if (event == VFIO_MIGRATION_EVENT_VM_START ||
            state->phase != VFIO_MIGRATION_PHASE_SAVING) {
            state->phase = VFIO_MIGRATION_PHASE_NONE;
        }
        state->vm_running = true;
        state->vm_started = true;
        return was_running;
    case VFIO_MIGRATION_EVENT_VM_STOP_SAVE:
        state->phase = VFIO_MIGRATION_PHASE_SAVING;
        /* fall through */
    case VFIO_MIGRATION_EVENT_VM_STOP:
        if (state->was_resumed) {
            state->phase = VFIO_MIGRATION_PHASE_RESUMED; /* nothing has run */
        }
        state->was_resumed = false;
        state->vm_running = false;
        return !was_running;
    case VFIO_MIGRATION_EVENT_SAVE_SETUP:
    case VFIO_MIGRATION_EVENT_SAVE_STOPPED:
        state->phase = VFIO_MIGRATION_PHASE_SAVING;
        return false;
    case VFIO_MIGRATION_EVENT_SAVE_DONE:
        state->phase = VFIO_MIGRATION_PHASE_SAVED;
        return false;
    case VFIO_MIGRATION_EVENT_SAVE_CLEANUP:
        if (state->phase == VFIO_MIGRATION_PHASE_SAVING) {
            state->phase = VFIO_MIGRATION_PHASE_NONE;
        }
        return true;
    case VFIO_MIGRATION_EVENT_LOAD_SETUP:
        state->phase = VFIO_MIGRATION_PHASE_RESUMING;
        return false;
    case VFIO_MIGRATION_EVENT_LOAD_CLEANUP:
        if (state->phase == VFIO_MIGRATION_PHASE_RESUMING) {
            state->phase = VFIO_MIGRATION_PHASE_RESUMED;
        }
        return true;
    case VFIO_MIGRATION_EVENT_ROLLBACK:
        state->phase = VFIO_MIGRATION_PHASE_NONE;
        return false;
    case VFIO_MIGRATION_EVENT_UNPLUG:
        state->phase = VFIO_MIGRATION_PHASE_GONE;
        return true;
    case VFIO_MIGRATION_EVENT__MAX:
        break;
    }
    g_assert_not_reached();
}

/*
 * Has an earlier migration that did not end well left the device where this
 * one begins?  What it has of that one must not become a part of this one.
 */
static bool state_is_left_over(const VFIOMigrationState *state,
                               VFIOMigrationPhase before,
                               VFIOMigrationEvent event)
{
    if (!state->known) {
        return false;
    }
    return (event == VFIO_MIGRATION_EVENT_LOAD_SETUP &&
            state->value == VFIO_MIGRATION_STATE_RESUMING) ||
           (state->phase == VFIO_MIGRATION_PHASE_SAVING &&
            before != VFIO_MIGRATION_PHASE_SAVING &&
            (state->value == VFIO_MIGRATION_STATE_PRE_COPY ||
             state->value == VFIO_MIGRATION_STATE_STOP_COPY));
}

int vfio_migration_state_event(VFIOMigrationState *state,
                               VFIOMigrationEvent event)
{
    QEMU_LOCK_GUARD(&state->lock);
    VFIOMigrationPhase before = state->phase;
    bool repeated = state_record_event(state, event);
    int ret = 0;

    if (!state->config.cache) {
        return repeated ? 0 : state_change_uncached(state, event);
    }
    if (state_is_left_over(state, before, event)) {
        ret = state_drive(state, VFIO_MIGRATION_STATE_RUNNING, false);
    }
    ret = ret ?: state_drive(state, state_target(state), false);
    if (!ret || state->value != VFIO_MIGRATION_STATE_RESUMING) {
        state->was_resumed = false;
    }
    return ret;
}

int vfio_migration_state_sync(VFIOMigrationState *state)
{
    QEMU_LOCK_GUARD(&state->lock);
    int ret;

    /* what an earlier device has missed, refused or loaded is gone with it */
    state->was_stopped = state->reset_due = false;
    state->stops_before_running = state->was_resumed = false;
    if (state->phase == VFIO_MIGRATION_PHASE_RESUMED) {
        state->phase = VFIO_MIGRATION_PHASE_NONE;
    }
    state->failed = state->lost = false;
    ret = state_read(state);
    if (state->failed) {
        ret = state_reset(state);
    }
    if (ret || state->value == state_target(state)) {
        return ret;
    }
    return state_drive(state, state_target(state), true);
}

/* What is saved must be reset.  The data begins anew after that. */
static void state_run_for_reset(VFIOMigrationState *state)
{
    if (state->phase == VFIO_MIGRATION_PHASE_SAVING &&
        vfio_migration_state_is_stopped(state)) {
        state_drive(state, VFIO_MIGRATION_STATE_RUNNING, false);
    }
}

static VFIOMigrationReset state_plan_reset(VFIOMigrationState *state)
{
    bool resumed = state->phase == VFIO_MIGRATION_PHASE_RESUMED &&
                   state->known &&
                   state->value == VFIO_MIGRATION_STATE_RESUMING;

    if (!state->config.cache) {
        return VFIO_MIGRATION_RESET_NOW;
    }
    if (state->phase == VFIO_MIGRATION_PHASE_RESUMING) {
        return VFIO_MIGRATION_RESET_NEVER;
    }
    if (!state->config.refuses) {
        return VFIO_MIGRATION_RESET_NOW;
    }
    state_run_for_reset(state);
    return resumed || vfio_migration_state_is_stopped(state) ?
           VFIO_MIGRATION_RESET_LATER : VFIO_MIGRATION_RESET_NOW;
}

VFIOMigrationReset vfio_migration_state_reset_begin(VFIOMigrationState *state)
{
    QEMU_LOCK_GUARD(&state->lock);

    state->reset = state_plan_reset(state);
    if (state->reset != VFIO_MIGRATION_RESET_NEVER) {
        state->reset_due = state->reset == VFIO_MIGRATION_RESET_LATER;
    }
    return state->reset;
}

int vfio_migration_state_reset_end(VFIOMigrationState *state)
{
    QEMU_LOCK_GUARD(&state->lock);

    if (!state->config.cache || state->reset == VFIO_MIGRATION_RESET_NEVER) {
        return 0;
    }
    if (state->reset == VFIO_MIGRATION_RESET_LATER) {
        return state->phase == VFIO_MIGRATION_PHASE_SAVING ? -EBUSY : 0;
    }
    if (state->phase == VFIO_MIGRATION_PHASE_RESUMED) {
        state->phase = VFIO_MIGRATION_PHASE_NONE; /* loaded for nothing */
    }
    if (!state->known || state->value != VFIO_MIGRATION_STATE_RUNNING) {
        state->failed = false;
        state_forget(state, "reset");
    } else if (state_target(state) == VFIO_MIGRATION_STATE_RUNNING) {
        return 0;
    }
    return state_drive(state, state_target(state), false);
}

bool vfio_migration_state_lose(VFIOMigrationState *state)
{
    QEMU_LOCK_GUARD(&state->lock);

    state_forget(state, "lost");
    state->lost = true;
    return state->phase != VFIO_MIGRATION_PHASE_SAVED;
}

bool vfio_migration_state_may_run(VFIOMigrationState *state)
{
    QEMU_LOCK_GUARD(&state->lock);

    return !state->config.cache || state->lost ||
           (state->known && !state->failed &&
            (state->value & VFIO_MIGRATION_STATE_RUNNING));
}
