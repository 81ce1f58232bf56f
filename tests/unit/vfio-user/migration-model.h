/*
 * A VM, its VFIO device and what can happen to them, as a model to search:
 * it knows what QEMU does and what servers do, but not how the module that
 * is searched works.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_MIGRATION_MODEL_H
#define TESTS_UNIT_MIGRATION_MODEL_H

#include "hw/vfio/migration-state.h"

/* The four of the mock server, and a kernel, which is reset in every state */
typedef enum Behaviour {
    STRICT, LVU1, RESET_TO_RUNNING, STATE_KEPT, KERNEL, BEHAVIOURS,
} Behaviour;

/*
 * What can happen. Those from refuse on befall the next write, or, with a
 * later before the write comes, the one after it.
 */
typedef enum Move {
    MOVE_STOP,
    MOVE_CONT,
    MOVE_RESET,
    MOVE_CHANGE,        /* of memory or interrupts */
    MOVE_SETUP,         /* saving begins */
    MOVE_SWITCH,        /* the guest is stopped to save the rest */
    MOVE_DONE,
    MOVE_FAIL,          /* or cancel */
    MOVE_SAVEVM,
    MOVE_LOADVM,
    MOVE_INCOMING,
    MOVE_LOADED,
    MOVE_UNPLUG,
    MOVE_LOSE,          /* the connection */
    MOVE_REFUSE,        /* an error reply */
    MOVE_LIE,           /* an error reply, but done */
    MOVE_BREAK,         /* an error reply, and the device is in ERROR */
    MOVE_TIMEOUT,       /* no reply, nothing done */
    MOVE_LATE,          /* no reply in time, but done */
    MOVE_LATER,
    MOVES,
} Move;

/* The server: what it has been told, and what it made of it */
typedef struct Server {
    Behaviour behaviour;
    uint32_t value;
    Move fate;              /* of a write to come; MOVES: none */
    unsigned spared;        /* how many writes come before it */
    bool lost;
    bool lost_told;         /* and the client knows */
    bool detour_tried;      /* 3 -> 1 was sent and refused */
} Server;

/* The VM: what a user and QEMU have done to it */
typedef struct VM {
    bool running;
    bool started;
    bool saving;
    bool savevm;            /* to a snapshot: nothing else happens meanwhile */
    bool doomed;            /* something failed: saving will, too */
    bool saved;
    bool loading;
    bool loaded;            /* and not run since */
    bool finishing;         /* no cont until saving is over */
    bool stopped_to_save;   /* goes on when saving is over without success */
    bool gone;
    bool reset_wanted;      /* and the device does not know yet */
    bool change_wanted;     /* likewise */
} VM;

typedef struct World {
    Server server;
    VM vm;
    VFIOMigrationState state;
    int ret;                /* of the last that the module was told */
    const char *wrong;      /* what the last move must not have led to */
} World;

extern const char *const behaviour_names[BEHAVIOURS];
extern const char *const move_names[MOVES];

/* migration-server.c: the ops of world->state, with the world as opaque */
extern const VFIOMigrationStateOps server_ops;
bool server_is_stopped(const Server *server);
/* A reset that comes to the server, 0 or -errno. */
int server_reset(World *world);

/* The first thing that is wrong explains what follows. */
void world_complain(World *world, const char *wrong);

/*
 * A VM that has not run yet, just connected to a device that is found in
 * state @found. Returns whether the device can be used. Undo with
 * world_destroy().
 */
bool world_init(World *world, Behaviour behaviour, uint32_t found);

/* A copy of what @from is now, to be destroyed by itself. */
void world_copy(World *world, const World *from);

void world_destroy(World *world);

/*
 * Make @move, if QEMU can in this situation, and check what came of it.
 * Returns whether it could; world->wrong is NULL if all is well.
 */
bool world_move(World *world, Move move);

/* All that what comes next depends on. Equal keys: equal futures. */
uint64_t world_key(const World *world);

/* Where the device has to be when nothing went wrong. */
uint32_t world_expected(const World *world);

#endif /* TESTS_UNIT_MIGRATION_MODEL_H */
