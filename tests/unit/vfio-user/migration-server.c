/*
 * Servers of each kind as a model to search: what they make of what they are
 * told, and what they must not be told.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "migration-model.h"

/* The first thing that is wrong explains what follows. */
void world_complain(World *world, const char *wrong)
{
    if (!world->wrong) {
        world->wrong = wrong;
    }
}

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

bool server_is_stopped(const Server *server)
{
    return server->value == 0 || server->value == 2;
}

/* Two events must not reach the device at once. */
static void judge_lock(World *world)
{
    if (!qemu_mutex_trylock(&world->state.lock)) {
        qemu_mutex_unlock(&world->state.lock);
        world_complain(world, "reached the device without the lock");
    }
}

static int server_read(void *opaque, uint32_t *value)
{
    World *world = opaque;
    Server *server = &world->server;

    judge_lock(world);
    if (server->lost_told) {
        world_complain(world, "read from a device that was found lost");
    }
    *value = server->value;
    server->lost_told |= server->lost;
    return server->lost ? -ENOTCONN : 0;
}

static void server_judge_write(World *world, uint32_t value, bool detour)
{
    const Server *server = &world->server;

    if (server->lost) {
        if (server->lost_told) {
            world_complain(world, "wrote to a device that was found lost");
        }
    } else if (value == server->value) {
        world_complain(world, "told the device the state that it has");
    } else if (detour && server->detour_tried) {
        world_complain(world, "tried 3 to 1 again after it was refused");
    } else if (!detour && !is_legal(server->value, value)) {
        world_complain(world, "sent an illegal transition");
    }
}

/* What is to become of the write that comes now */
static Move server_meet_fate(Server *server)
{
    Move fate = server->fate;

    if (server->spared) {
        server->spared--;
        return MOVES;
    }
    server->fate = MOVES;
    return fate;
}

static int server_write(void *opaque, uint32_t value)
{
    World *world = opaque;
    Server *server = &world->server;
    bool detour = server->value == 3 && value == 1;
    Move fate = server_meet_fate(server);

    judge_lock(world);
    server_judge_write(world, value, detour);
    server->lost_told |= server->lost;
    if (server->lost) {
        return -ENOTCONN;
    }
    if (fate == MOVE_TIMEOUT || fate == MOVE_LATE) {
        if (fate == MOVE_LATE && server_accepts(server, value)) {
            server->value = value;
        }
        server->lost = server->lost_told = true;
        return -ETIMEDOUT;
    }
    if (fate == MOVE_BREAK) {
        server->value = 6;
        return -EIO;
    }
    if (fate == MOVE_REFUSE || !server_accepts(server, value)) {
        server->detour_tried |= detour;
        return fate == MOVE_REFUSE ? -EIO : -EINVAL;
    }
    server->value = value;
    return fate == MOVE_LIE ? -EIO : 0;
}

int server_reset(World *world)
{
    Server *server = &world->server;

    if (server->lost) {
        return 0;
    }
    if (server_is_stopped(server) && server->behaviour != KERNEL) {
        world_complain(world, "reset a device that is stopped");
        return -EINVAL;
    }
    if (server->value == 6 && server->behaviour == LVU1) {
        return -EINVAL;
    }
    if (server->behaviour != STATE_KEPT || server->value == 6) {
        server->value = 1;
    }
    return 0;
}

static int server_late_reset(void *opaque)
{
    World *world = opaque;

    world->vm.reset_wanted = false;
    return server_reset(world);
}

static void server_resume(void *opaque)
{
    World *world = opaque;

    if (server_is_stopped(&world->server) && !world->server.lost) {
        world_complain(world, "took a device that is stopped for resumed");
    }
    if (world->vm.reset_wanted) {
        world_complain(world, "told the device of changes before its reset");
    }
    world->vm.change_wanted = false;
}

static void server_skip(void *opaque, uint32_t value, const char *reason)
{
    World *world = opaque;
    const Server *server = &world->server;

    if (!server->lost && server->value != value && server->value != 6) {
        world_complain(world, "left out a write that was needed");
    }
}

static void server_forget(void *opaque, const char *cause)
{
}

static void server_fail(void *opaque, uint32_t value, int ret)
{
}

const VFIOMigrationStateOps server_ops = {
    .read = server_read,
    .write = server_write,
    .reset = server_late_reset,
    .resume = server_resume,
    .skip = server_skip,
    .forget = server_forget,
    .fail = server_fail,
};
