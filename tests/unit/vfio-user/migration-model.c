/*
 * A VM, its VFIO device and what can happen to them, as a model to search.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/lockable.h"
#include "migration-model.h"

const char *const behaviour_names[BEHAVIOURS] = {
    "strict", "lvu1", "reset-to-running", "state-kept", "kernel",
};

const char *const move_names[MOVES] = {
    "stop", "cont", "reset", "change", "setup", "switch", "done", "fail",
    "savevm", "loadvm", "incoming", "loaded", "unplug", "lose", "refuse",
    "lie", "break", "timeout", "late", "later",
};

/*
 * The VM
 */

static bool tell(World *world, VFIOMigrationEvent event)
{
    world->ret = vfio_migration_state_event(&world->state, event);
    return !world->ret;
}

static void vm_stop(World *world, VFIOMigrationEvent event)
{
    world->vm.running = false;
    tell(world, event);
}

static bool device_runs(const World *world)
{
    return world->server.lost || world->server.value == 1 ||
           world->server.value == 3;
}

/* As on cont; a device that does not run stops the guest before it starts. */
static void vm_start(World *world)
{
    VM *vm = &world->vm;
    bool loaded = vm->loaded;

    vm->running = vm->started = true;
    vm->loaded = vm->saved = vm->stopped_to_save = false;
    tell(world, vm->saving ? VFIO_MIGRATION_EVENT_VM_START_SAVE :
                             VFIO_MIGRATION_EVENT_VM_START);
    if (!vfio_migration_state_may_run(&world->state)) {
        vm->loaded = loaded && world->server.value == 4;
        vm_stop(world, VFIO_MIGRATION_EVENT_VM_STOP);
    } else if (!device_runs(world)) {
        world_complain(world, "let vCPUs run while the device does not");
    }
}

static void vm_reset(World *world)
{
    VM *vm = &world->vm;

    switch (vfio_migration_state_reset_begin(&world->state)) {
    case VFIO_MIGRATION_RESET_NOW:
        if (vm->loading) {
            world_complain(world, "reset a device that is being loaded");
        }
        vm->reset_wanted = false;
        vm->loaded = false;
        server_reset(world);
        break;
    case VFIO_MIGRATION_RESET_LATER:
        vm->reset_wanted = true;
        break;
    case VFIO_MIGRATION_RESET_NEVER:
        if (!vm->loading) {
            world_complain(world, "lost a reset");
        }
        break;
    }
    world->ret = vfio_migration_state_reset_end(&world->state);
    if (world->state.reset != VFIO_MIGRATION_RESET_NOW && !world->ret) {
        world->ret = -EAGAIN;   /* nothing was tried, so nothing to check */
    }
}

static void vm_change(World *world)
{
    QEMU_LOCK_GUARD(&world->state.lock);

    if (vfio_migration_state_is_stopped(&world->state)) {
        world->vm.change_wanted = true;
    } else if (server_is_stopped(&world->server) && !world->server.lost &&
               world->server.behaviour != KERNEL) {
        world_complain(world,
                       "changed what surrounds a device that is stopped");
    }
}

static void vm_done(World *world)
{
    VM *vm = &world->vm;
    bool done = tell(world, VFIO_MIGRATION_EVENT_SAVE_STOPPED);

    vm->finishing = true;
    if (!done || vm->doomed) {
        return;     /* QEMU will find that saving has failed */
    }
    if (vm->reset_wanted) {
        world_complain(world, "saved a device that should have been reset");
    }
    vm->saving = false;
    vm->saved = true;
    if (!tell(world, VFIO_MIGRATION_EVENT_SAVE_DONE)) {
        return;
    }
    vm->finishing = false;
    tell(world, VFIO_MIGRATION_EVENT_SAVE_CLEANUP);
    if (vm->savevm && vm->stopped_to_save) {
        vm_start(world);
    }
    vm->savevm = false;
}

/* A migration starts the guest again, then cleans up; savevm the reverse. */
static void vm_fail(World *world)
{
    VM *vm = &world->vm;
    bool savevm = vm->savevm, start = vm->stopped_to_save;

    /* a snapshot's failure is not told to devices that have given all */
    vm->saved &= savevm;
    vm->saving = vm->savevm = vm->finishing = vm->stopped_to_save = false;
    if (start && !savevm) {
        vm_start(world);
    }
    tell(world, VFIO_MIGRATION_EVENT_SAVE_CLEANUP);
    if (start && savevm) {
        vm_start(world);
    } else if (!savevm) {
        tell(world, VFIO_MIGRATION_EVENT_ROLLBACK);
    }
}

static void vm_setup(World *world)
{
    world->vm.saving = true;
    world->vm.saved = world->vm.loaded = false;
    tell(world, VFIO_MIGRATION_EVENT_SAVE_SETUP);
}

static void vm_savevm(World *world)
{
    VM *vm = &world->vm;

    vm->saving = vm->savevm = true;
    if (vm->running) {
        vm->stopped_to_save = true;
        vm_stop(world, VFIO_MIGRATION_EVENT_VM_STOP_SAVE);
    }
    vm_setup(world);
}

/* All in one go; a guest that ran goes on when it is loaded. */
static void vm_loadvm(World *world)
{
    VM *vm = &world->vm;
    bool ran = vm->running, loaded;

    if (ran) {
        vm_stop(world, VFIO_MIGRATION_EVENT_VM_STOP);
    }
    vm_reset(world);
    vm->saved = false;
    loaded = tell(world, VFIO_MIGRATION_EVENT_LOAD_SETUP);
    if (loaded && vm->reset_wanted) {
        world_complain(world, "loaded a device that should have been reset");
    }
    vm->loaded = true;
    tell(world, VFIO_MIGRATION_EVENT_LOAD_CLEANUP);
    if (ran && loaded) {
        vm_start(world);
    }
}

static bool vm_can(const World *world, Move move)
{
    const VM *vm = &world->vm;
    bool idle = !vm->saving && !vm->loading && !vm->finishing &&
                !vm->stopped_to_save;

    if (vm->gone) {
        return false;
    }
    switch (move) {
    case MOVE_STOP:
        return vm->running;
    case MOVE_CONT:
        return !vm->running && !vm->finishing && !vm->stopped_to_save &&
               !vm->savevm && !vm->loading;
    case MOVE_RESET:
    case MOVE_CHANGE:
        return !vm->savevm;
    case MOVE_SETUP:
    case MOVE_SAVEVM:
    case MOVE_LOADVM:
    case MOVE_UNPLUG:
        return idle;
    case MOVE_SWITCH:
        return vm->saving && vm->running;
    case MOVE_DONE:
        return vm->saving && !vm->running;
    case MOVE_FAIL:
        return vm->saving || vm->finishing || vm->stopped_to_save;
    case MOVE_INCOMING:
        return idle && !vm->started && !vm->saved && !vm->loaded;
    case MOVE_LOADED:
        return vm->loading;
    case MOVE_LOSE:
        return !world->server.lost;
    case MOVE_LATER:
        return world->server.fate != MOVES && world->server.spared < 2;
    default:
        return !world->server.lost && world->server.fate == MOVES;
    }
}

static void vm_do(World *world, Move move)
{
    VM *vm = &world->vm;

    switch (move) {
    case MOVE_STOP:
        vm_stop(world, VFIO_MIGRATION_EVENT_VM_STOP);
        break;
    case MOVE_CONT:
        vm_start(world);
        break;
    case MOVE_RESET:
        vm_reset(world);
        break;
    case MOVE_CHANGE:
        vm_change(world);
        break;
    case MOVE_SETUP:
        vm_setup(world);
        break;
    case MOVE_SWITCH:
        vm->stopped_to_save = true;
        vm_stop(world, VFIO_MIGRATION_EVENT_VM_STOP);
        break;
    case MOVE_DONE:
        vm_done(world);
        break;
    case MOVE_FAIL:
        vm_fail(world);
        break;
    case MOVE_SAVEVM:
        vm_savevm(world);
        break;
    case MOVE_LOADVM:
        vm_loadvm(world);
        break;
    case MOVE_INCOMING:
        vm->loading = true;
        /* QEMU ends where nothing can be loaded */
        vm->gone = !tell(world, VFIO_MIGRATION_EVENT_LOAD_SETUP);
        break;
    case MOVE_LOADED:
        vm->loading = false;
        vm->loaded = true;
        tell(world, VFIO_MIGRATION_EVENT_LOAD_CLEANUP);
        break;
    case MOVE_UNPLUG:
        vm->gone = true;
        tell(world, VFIO_MIGRATION_EVENT_UNPLUG);
        break;
    case MOVE_LOSE:
        world->server.lost = true;
        break;
    case MOVE_LATER:
        world->server.spared++;
        break;
    default:
        world->server.fate = move;
    }
}

/*
 * The world
 */

uint32_t world_expected(const World *world)
{
    const VM *vm = &world->vm;

    if (vm->gone) {
        return 1;
    }
    if (vm->running) {
        return vm->saving ? 3 : 1;
    }
    if (vm->loading || vm->loaded) {
        return 4;
    }
    if (vm->saving) {
        return 2;
    }
    return vm->saved || vm->started ? 0 : 1;
}

static void world_check(World *world)
{
    const Server *server = &world->server;
    const VM *vm = &world->vm;

    if (server->lost) {
        if (server->lost_told && world->state.known) {
            world_complain(world, "takes for known what a lost device holds");
        }
        return;
    }
    if (!world->ret && server->value != world_expected(world)) {
        world_complain(world,
                       "succeeded, and the device is not where it should be");
    }
    if (!vm->running) {
        return;
    }
    if (vm->reset_wanted) {
        world_complain(world,
                       "vCPUs run on a device that should have been reset");
    }
    if (vm->change_wanted) {
        world_complain(world, "vCPUs run on a device that missed changes");
    }
}

bool world_move(World *world, Move move)
{
    world->wrong = NULL;
    world->ret = 0;
    if (!vm_can(world, move)) {
        return false;
    }
    vm_do(world, move);
    if (move < MOVE_LOSE && move != MOVE_CHANGE) {
        world_check(world);
    }
    world->vm.doomed = world->vm.saving &&
                       (world->vm.doomed ||
                        (world->ret && world->ret != -EAGAIN));
    return true;
}

bool world_init(World *world, Behaviour behaviour, uint32_t found)
{
    VFIOMigrationStateConfig config = {
        .ops = &server_ops,
        .opaque = world,
        .cache = true,
        .refuses = behaviour != KERNEL,
    };

    *world = (World) {
        .server = { .behaviour = behaviour, .value = found, .fate = MOVES },
    };
    vfio_migration_state_init(&world->state, &config);
    world->ret = vfio_migration_state_sync(&world->state);
    world_check(world);
    return !world->ret;
}

void world_copy(World *world, const World *from)
{
    *world = *from;
    world->state.config.opaque = world;
    qemu_mutex_init(&world->state.lock);
}

void world_destroy(World *world)
{
    vfio_migration_state_destroy(&world->state);
}

typedef struct KeyField {
    unsigned value;
    unsigned bits;
} KeyField;

uint64_t world_key(const World *world)
{
    const Server *server = &world->server;
    const VM *vm = &world->vm;
    const VFIOMigrationState *state = &world->state;
    const KeyField fields[] = {
        { server->value, 3 }, { server->fate, 5 }, { server->lost, 1 },
        { server->lost_told, 1 },
        { server->detour_tried, 1 }, { server->spared, 2 },
        { vm->running, 1 }, { vm->started, 1 }, { vm->saving, 1 },
        { vm->savevm, 1 }, { vm->doomed, 1 },
        { vm->finishing, 1 }, { vm->saved, 1 }, { vm->loading, 1 },
        { vm->loaded, 1 }, { vm->stopped_to_save, 1 }, { vm->gone, 1 },
        { vm->reset_wanted, 1 }, { vm->change_wanted, 1 },
        { state->known ? state->value : 7, 3 }, { state->failed, 1 },
        { state->lost, 1 }, { state->stops_before_running, 1 },
        { state->phase, 3 }, { state->vm_running, 1 },
        { state->vm_started, 1 }, { state->reset, 2 },
        { state->reset_due, 1 }, { state->was_stopped, 1 },
        { state->was_resumed, 1 },
    };
    uint64_t key = 0;
    size_t i;

    for (i = 0; i < ARRAY_SIZE(fields); i++) {
        g_assert_cmpuint(fields[i].value, <, 1u << fields[i].bits);
        key = key << fields[i].bits | fields[i].value;
    }
    return key;
}
