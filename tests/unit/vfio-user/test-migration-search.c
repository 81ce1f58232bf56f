/*
 * Search through what can happen to a VM with a VFIO device: every sequence
 * of events up to a depth, on each kind of server, against a model of what
 * the device's state should be that knows nothing of how the module works.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "hw/vfio/migration-state.h"

#define DEPTH 7

typedef enum Behaviour {
    STRICT, LVU1, RESET_TO_RUNNING, STATE_KEPT, BEHAVIOURS,
} Behaviour;

static const char *const behaviour_names[] = {
    "strict", "lvu1", "reset-to-running", "state-kept",
};

/* What can happen; the last three befall the next write */
typedef enum Move {
    MOVE_STOP, MOVE_CONT, MOVE_RESET, MOVE_SETUP, MOVE_SWITCH, MOVE_DONE,
    MOVE_FAIL, MOVE_SAVEVM, MOVE_INCOMING,
    MOVE_REFUSE, MOVE_BREAK, MOVE_LOSE, MOVES,
} Move;

static const char *const move_names[] = {
    "stop", "cont", "reset", "setup", "switch", "done", "fail", "savevm",
    "incoming", "refuse", "break", "lose",
};

/* The server: what it has been told, and what it made of it */
typedef struct Server {
    Behaviour behaviour;
    uint32_t value;
    bool refuse;            /* the next write */
    bool error;             /* the next write leads to ERROR */
    bool lost;
    bool detour_tried;      /* 3 -> 1 was sent and refused */
    const char *wrong;      /* what the client did that it must not */
} Server;

/* The VM: what a user and QEMU have done to it */
typedef struct VM {
    bool running;
    bool started;
    bool saving;
    bool saved;
    bool loading;
    bool stopped_to_save;   /* goes on when saving fails */
} VM;

typedef struct World {
    Server server;
    VM vm;
    VFIOMigrationState state;
    int ret;                /* of the last event that the module was told */
} World;

typedef struct Search {
    Behaviour behaviour;
    Move moves[DEPTH];
    uint64_t sequences;
    GHashTable *states;
} Search;

/* The specification's transitions, a row for each state from 0 to 4 */
static bool is_legal(uint32_t from, uint32_t to)
{
    static const bool legal[5][5] = {
        { 0, 1, 0, 0, 0 },
        { 1, 0, 1, 1, 1 },
        { 1, 1, 0, 0, 0 },
        { 0, 0, 1, 0, 0 },
        { 0, 1, 0, 0, 0 },
    };

    return from < 5 && to < 5 && legal[from][to];
}

static bool server_accepts(const Server *server, uint32_t to)
{
    if (server->behaviour == LVU1 && server->value == 3) {
        return to < 3;
    }
    return is_legal(server->value, to) ||
           (server->behaviour == LVU1 && server->value == to);
}

static int server_read(void *opaque, uint32_t *value)
{
    Server *server = opaque;

    *value = server->value;
    return server->lost ? -ENOTCONN : 0;
}

static int server_write(void *opaque, uint32_t value)
{
    Server *server = opaque;
    bool detour = server->value == 3 && value == 1;

    if (server->lost) {
        return -ENOTCONN;
    }
    if (value == server->value) {
        server->wrong = "told the device the state that it has";
    } else if (detour && server->detour_tried) {
        server->wrong = "tried 3 to 1 again after it was refused";
    } else if (!detour && !is_legal(server->value, value)) {
        server->wrong = "sent an illegal transition";
    }
    if (server->refuse || server->error) {
        server->value = server->error ? 6 : server->value;
        server->detour_tried |= detour && server->refuse;
        server->refuse = server->error = false;
        return -EIO;
    }
    if (!server_accepts(server, value)) {
        server->detour_tried |= detour;
        return -EINVAL;
    }
    server->value = value;
    return 0;
}

static void server_skip(void *opaque, uint32_t value)
{
    Server *server = opaque;

    if (!server->lost && server->value != value) {
        server->wrong = "left out a write that was needed";
    }
}

static const VFIOMigrationStateOps server_ops = {
    .read = server_read,
    .write = server_write,
    .skip = server_skip,
};

static void server_reset(Server *server)
{
    bool stopped = server->value == 0 || server->value == 2;

    if (server->lost || server->value == 6 ||
        (stopped && server->behaviour != STRICT)) {
        return;
    }
    if (server->behaviour != STATE_KEPT) {
        server->value = 1;
    }
}

/* Where the device has to be when nothing went wrong. */
static uint32_t expected_value(const VM *vm)
{
    if (vm->running) {
        return vm->saving ? 3 : 1;
    }
    if (vm->loading) {
        return 4;
    }
    if (vm->saving) {
        return 2;
    }
    return vm->saved || vm->started ? 0 : 1;
}

static void tell(World *world, VFIOMigrationEvent event)
{
    world->ret = vfio_migration_state_event(&world->state, event);
}

/* As QEMU does on cont, and by itself when saving has failed */
static void vm_start(World *world)
{
    VM *vm = &world->vm;

    vm->running = vm->started = true;
    vm->loading = vm->saved = vm->stopped_to_save = false;
    tell(world, vm->saving ? VFIO_MIGRATION_EVENT_VM_START_SAVE :
                             VFIO_MIGRATION_EVENT_VM_START);
}

static void vm_stop(World *world, VFIOMigrationEvent event)
{
    world->vm.running = false;
    tell(world, event);
}

static void vm_fail(World *world)
{
    world->vm.saving = world->vm.saved = false;
    if (world->vm.stopped_to_save) {
        vm_start(world);
    }
    tell(world, VFIO_MIGRATION_EVENT_ROLLBACK);
}

static void vm_move_save(World *world, Move move)
{
    VM *vm = &world->vm;

    switch (move) {
    case MOVE_SETUP:
        vm->saving = true;
        vm->saved = false;
        tell(world, VFIO_MIGRATION_EVENT_SAVE_SETUP);
        break;
    case MOVE_SWITCH:
        vm->stopped_to_save = true;
        vm_stop(world, VFIO_MIGRATION_EVENT_VM_STOP);
        break;
    case MOVE_DONE:
        tell(world, VFIO_MIGRATION_EVENT_SAVE_STOPPED);
        if (!world->ret) {
            vm->saving = false;
            vm->saved = true;
            tell(world, VFIO_MIGRATION_EVENT_SAVE_DONE);
        }
        break;
    case MOVE_SAVEVM:
        vm->saving = vm->stopped_to_save = true;
        vm_stop(world, VFIO_MIGRATION_EVENT_VM_STOP_SAVE);
        tell(world, VFIO_MIGRATION_EVENT_SAVE_SETUP);
        break;
    case MOVE_FAIL:
        vm_fail(world);
        break;
    default:
        g_assert_not_reached();
    }
}

/* Make @move, if QEMU can in this situation. */
static bool world_move(World *world, Move move)
{
    VM *vm = &world->vm;
    bool possible[MOVES] = {
        [MOVE_STOP] = vm->running,
        [MOVE_CONT] = !vm->running && !vm->stopped_to_save,
        [MOVE_RESET] = !vm->loading,
        [MOVE_SETUP] = !vm->saving && !vm->loading,
        [MOVE_SWITCH] = vm->saving && vm->running,
        [MOVE_DONE] = vm->saving && !vm->running,
        [MOVE_FAIL] = vm->saving || (vm->saved && vm->stopped_to_save),
        [MOVE_SAVEVM] = vm->running && !vm->saving,
        [MOVE_INCOMING] = !vm->running && !vm->saving && !vm->saved,
        [MOVE_REFUSE] = !world->server.refuse && !world->server.error,
        [MOVE_BREAK] = !world->server.refuse && !world->server.error,
        [MOVE_LOSE] = !world->server.lost,
    };

    if (!possible[move]) {
        return false;
    }
    switch (move) {
    case MOVE_STOP:
        vm_stop(world, VFIO_MIGRATION_EVENT_VM_STOP);
        break;
    case MOVE_CONT:
        vm_start(world);
        break;
    case MOVE_RESET:
        server_reset(&world->server);
        world->ret = vfio_migration_state_was_reset(&world->state);
        break;
    case MOVE_INCOMING:
        vm->loading = true;
        tell(world, VFIO_MIGRATION_EVENT_LOAD_SETUP);
        break;
    case MOVE_REFUSE:
        world->server.refuse = true;
        break;
    case MOVE_BREAK:
        world->server.error = true;
        break;
    case MOVE_LOSE:
        world->server.lost = true;
        break;
    default:
        vm_move_save(world, move);
    }
    return true;
}

static void world_check(const Search *search, const World *world,
                        unsigned length)
{
    const Server *server = &world->server;
    const char *wrong = server->wrong;
    g_autoptr(GString) text = g_string_new(NULL);
    unsigned i;

    if (!wrong && !world->ret && !server->lost &&
        server->value != expected_value(&world->vm)) {
        wrong = "succeeded, and the device is not where it should be";
    }
    if (!wrong) {
        return;
    }
    for (i = 0; i < length; i++) {
        g_string_append_printf(text, " %s", move_names[search->moves[i]]);
    }
    g_test_message("%s:%s: %s (device in %u, expected %u)",
                   behaviour_names[search->behaviour], text->str, wrong,
                   server->value, expected_value(&world->vm));
    g_test_fail();
}

static void remember(Search *search, const World *world)
{
    const VM *vm = &world->vm;
    const VFIOMigrationState *state = &world->state;
    unsigned key = world->server.value | vm->running << 3 |
                   vm->started << 4 | vm->saving << 5 | vm->saved << 6 |
                   vm->loading << 7 | vm->stopped_to_save << 8 |
                   world->server.lost << 9 | world->server.refuse << 10 |
                   world->server.error << 11 | state->known << 12 |
                   state->failed << 13 | state->stops_before_running << 14 |
                   state->phase << 15;

    g_hash_table_add(search->states, GUINT_TO_POINTER(key));
}

/* Live through the first @length moves; false when the last cannot be. */
static bool live(Search *search, unsigned length)
{
    World world = {
        .server = { .behaviour = search->behaviour, .value = 1 },
    };
    bool possible = true;
    unsigned i;

    vfio_migration_state_init(&world.state, &server_ops, &world.server, true,
                              false);
    vfio_migration_state_sync(&world.state);
    for (i = 0; i < length && possible; i++) {
        possible = world_move(&world, search->moves[i]);
    }
    if (possible) {
        world_check(search, &world, length);
        remember(search, &world);
    }
    vfio_migration_state_destroy(&world.state);
    return possible;
}

static void search_from(Search *search, unsigned length)
{
    Move move;

    for (move = 0; move < MOVES && !g_test_failed(); move++) {
        search->moves[length] = move;
        if (live(search, length + 1)) {
            search->sequences++;
            if (length + 1 < DEPTH) {
                search_from(search, length + 1);
            }
        }
    }
}

static void test_migration_search(const void *data)
{
    Search search = {
        .behaviour = GPOINTER_TO_UINT(data),
        .states = g_hash_table_new(NULL, NULL),
    };

    search_from(&search, 0);
    g_test_message("%s: %" PRIu64 " sequences of up to %d events, %u states",
                   behaviour_names[search.behaviour], search.sequences, DEPTH,
                   g_hash_table_size(search.states));
    g_assert_cmpuint(search.sequences, >, 10000);
    g_hash_table_unref(search.states);
}

int main(int argc, char **argv)
{
    Behaviour behaviour;

    g_test_init(&argc, &argv, NULL);
    g_test_set_nonfatal_assertions();
    for (behaviour = 0; behaviour < BEHAVIOURS; behaviour++) {
        g_autofree char *path = g_strdup_printf("/vfio/migration-search/%s",
                                                behaviour_names[behaviour]);

        g_test_add_data_func(path, GUINT_TO_POINTER(behaviour),
                             test_migration_search);
    }
    return g_test_run();
}
