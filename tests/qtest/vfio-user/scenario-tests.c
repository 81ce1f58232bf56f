/*
 * What a device is told of its state in every scenario, by the patched QEMU on
 * servers of each behaviour, and as stock QEMU does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "scenario.h"

#define KEPT MOCK_BEHAVIOUR_STATE_KEPT
#define LVU1 MOCK_BEHAVIOUR_LVU1
#define FALLS MOCK_BEHAVIOUR_RESET_TO_RUNNING
#define STRICT MOCK_BEHAVIOUR_STRICT

/* Refuse the nth write of this value */
#define REFUSE(v, n) \
    { .where = MOCK_PATTERN_STATE_WRITE(v), .nth = (n), \
      .action = MOCK_ACTION_ERROR, .error = EIO }

/* The first read of device data is refused */
#define REFUSE_DATA \
    { .where = MOCK_PATTERN_DATA(MOCK_REGION_READ), .nth = 1, \
      .action = MOCK_ACTION_ERROR, .error = EIO }

static const Scenario scenarios[] = {
    { "cold-boot", "cold boot", { SCENARIO_CONT },
      .paused = true, .source = "", .status = "running" },
    { "stop-cont", "stop, cont", { SCENARIO_STOP, SCENARIO_CONT },
      .source = "W0 W1", .status = "running" },

    /* migration */
    { "migrate", "migration", { SCENARIO_BEGIN, SCENARIO_COMPLETE },
      .source = "W3 W2 W0", .destination = "W4 W1",
      .status = "postmigrate", .there_status = "running" },
    { "migrate-cont", "migration, then cont at the source",
      { SCENARIO_BEGIN, SCENARIO_COMPLETE, SCENARIO_CONT },
      .source = "W3 W2 W0 W1", .destination = "W4 W1",
      .status = "running", .there_status = "running" },
    { "migrate-there-paused", "migration to -S, then cont there",
      { SCENARIO_BEGIN, SCENARIO_COMPLETE, SCENARIO_THERE_CONT },
      .there_paused = true, .source = "W3 W2 W0", .destination = "W4 W1",
      .status = "postmigrate", .there_status = "running" },
    { "migrate-paused", "migration of a paused guest",
      { SCENARIO_STOP, SCENARIO_BEGIN_PAUSED, SCENARIO_COMPLETE },
      .source = "W0 W1 W2 W0", .destination = "W4",
      .status = "postmigrate", .there_status = "paused" },
    { "migrate-paused-fails", "the same, the destination dies",
      { SCENARIO_STOP, SCENARIO_BEGIN_PAUSED, SCENARIO_LOSE },
      .source = "W0 W1 W2 W0", .destination = "W4", .status = "paused" },
    { "migrate-never-started", "migration of a guest that never ran",
      { SCENARIO_BEGIN_PAUSED, SCENARIO_COMPLETE },
      .paused = true, .source = "W2 W0", .destination = "W4",
      .status = "postmigrate", .there_status = "prelaunch" },
    { "migrate-stop", "stop in pre-copy, then completed",
      { SCENARIO_BEGIN, SCENARIO_STOP, SCENARIO_COMPLETE },
      .source = "W3 W2 W0", .destination = "W4",
      .status = "postmigrate", .there_status = "paused" },
    { "migrate-stop-cont", "stop and cont in pre-copy, then completed",
      { SCENARIO_BEGIN, SCENARIO_STOP, SCENARIO_CONT, SCENARIO_COMPLETE },
      .source = "W3 W2 W1 W3 W2 W0", .destination = "W4 W1",
      .status = "postmigrate", .there_status = "running" },

    /* given up */
    { "cancel", "cancel in pre-copy", { SCENARIO_BEGIN, SCENARIO_CANCEL },
      .source = "W3 W1! R W2 W1", .sources = { [LVU1] = "W3 W1" },
      .destination = "W4", .status = "running" },
    { "stop-cancel", "stop, then cancel in pre-copy",
      { SCENARIO_BEGIN, SCENARIO_STOP, SCENARIO_CANCEL },
      .source = "W3 W2 W0", .destination = "W4", .status = "paused" },
    { "unreachable", "destination unreachable", { SCENARIO_UNREACHABLE },
      .source = "", .status = "running" },
    { "unreachable-paused", "the same, paused guest",
      { SCENARIO_STOP, SCENARIO_UNREACHABLE },
      .source = "W0", .status = "paused" },
    { "lose", "destination dies in pre-copy",
      { SCENARIO_BEGIN, SCENARIO_LOSE },
      .source = "W3 W1! R W2 W1", .sources = { [LVU1] = "W3 W1" },
      .destination = "W4", .status = "running" },
    { "lose-at-stop-copy", "destination dies at stop-and-copy",
      { SCENARIO_BEGIN, SCENARIO_LOSE_AT_STOP_COPY },
      .source = "W3 W2 W1", .destination = "W4", .status = "running" },
    { "lose-at-stop", "destination dies when all was saved",
      { SCENARIO_BEGIN, SCENARIO_LOSE_AT_STOP },
      .source = "W3 W2 W0 W1", .destination = "W4", .status = "running" },
    { "refused-once", "source refuses 2 once",
      { SCENARIO_BEGIN, SCENARIO_FAIL },
      .rules = { REFUSE(2, 1) },
      .source = "W3 W2! R W2 W1", .destination = "W4", .status = "running",
      .error = "dev0: device_state" },
    { "refused-setup", "source refuses 3",
      { SCENARIO_BEGIN_PAUSED, SCENARIO_FAIL },
      .rules = { REFUSE(3, 1) },
      .source = "W3! R", .destination = "W4", .status = "running",
      .error = "dev0: device_state" },

    /* snapshots */
    { "savevm", "savevm", { SCENARIO_SAVEVM },
      .source = "W2 W0 W1", .status = "running" },
    { "savevm-paused", "savevm of a paused guest",
      { SCENARIO_STOP, SCENARIO_SAVEVM },
      .source = "W0 W1 W2 W0", .status = "paused" },
    { "savevm-fails", "savevm fails", { SCENARIO_SAVEVM_FAILS },
      .rules = { REFUSE_DATA },
      .source = "W2 W0 W1", .status = "running" },
    { "savevm-paused-fails", "savevm of a paused guest fails",
      { SCENARIO_STOP, SCENARIO_SAVEVM_FAILS },
      .rules = { REFUSE_DATA },
      .source = "W0 W1 W2 W0", .status = "paused" },
    { "loadvm", "savevm, loadvm", { SCENARIO_SAVEVM, SCENARIO_LOADVM },
      .source = "W2 W0 W1 W0 W1 RESET W4 W1", .status = "running" },

    /* resets */
    { "reset", "reboot", { SCENARIO_RESET, SCENARIO_RAISE },
      .source = "RESET", .status = "running" },
    { "reset-stopped", "reset of a stopped guest, cont",
      { SCENARIO_STOP, SCENARIO_RESET, SCENARIO_CONT, SCENARIO_RAISE },
      .source = "W0 W1 RESET", .status = "running" },
    { "reset-precopy", "reboot in pre-copy",
      { SCENARIO_BEGIN, SCENARIO_RESET, SCENARIO_COMPLETE },
      .source = "W3 RESET R W3 W2 W0",
      .sources = { [KEPT] = "W3 RESET R W2 W0" },
      .destination = "W4 W1",
      .status = "postmigrate", .there_status = "running" },
    { "reset-stopped-precopy", "reset of a guest stopped in pre-copy",
      { SCENARIO_BEGIN, SCENARIO_STOP, SCENARIO_RESET, SCENARIO_COMPLETE },
      .source = "W3 W2 W1 RESET W2 W0", .destination = "W4",
      .status = "postmigrate", .there_status = "prelaunch" },
    { "reset-stopped-migrate", "reset of a stopped guest, migration",
      { SCENARIO_STOP, SCENARIO_RESET, SCENARIO_BEGIN_PAUSED,
        SCENARIO_COMPLETE },
      .source = "W0 W1 RESET W2 W0", .destination = "W4",
      .status = "postmigrate", .there_status = "prelaunch" },
    { "reset-migrated", "reset of the source after migration, cont",
      { SCENARIO_BEGIN, SCENARIO_COMPLETE, SCENARIO_RESET, SCENARIO_CONT },
      .source = "W3 W2 W0 W1 RESET", .destination = "W4 W1",
      .status = "running", .there_status = "running" },
    { "reset-loading", "reset while loading",
      { SCENARIO_BEGIN, SCENARIO_THERE_RESET, SCENARIO_COMPLETE },
      .source = "W3 W2 W0", .destination = "W4 W1",
      .status = "postmigrate", .there_status = "running" },
    { "reset-loaded", "reset when loaded, cont",
      { SCENARIO_BEGIN, SCENARIO_COMPLETE, SCENARIO_THERE_RESET,
        SCENARIO_THERE_CONT },
      .there_paused = true, .source = "W3 W2 W0",
      .destination = "W4 W1 RESET",
      .status = "postmigrate", .there_status = "running" },
    { "flr-precopy", "the guest resets the function in pre-copy",
      { SCENARIO_BEGIN, SCENARIO_FLR, SCENARIO_COMPLETE },
      .source = "W3 R W2 W0", .sources = { [FALLS] = "W3 R W3 W2 W0" },
      .destination = "W4 W1",
      .status = "postmigrate", .there_status = "running" },
    { "flr", "the guest resets the function", { SCENARIO_FLR },
      .source = "", .status = "running" },
    { "wake-precopy", "the guest takes it to D3 and D0 in pre-copy",
      { SCENARIO_BEGIN, SCENARIO_WAKE, SCENARIO_COMPLETE },
      .source = "W3 R W2 W0", .sources = { [FALLS] = "W3 R W3 W2 W0" },
      .destination = "W4 W1",
      .status = "postmigrate", .there_status = "running" },

    /* a device that does not run */
    { "cont-refused", "source refuses 1 on cont, then cont",
      { SCENARIO_STOP, SCENARIO_CONT, SCENARIO_CONT },
      .rules = { REFUSE(1, 1) },
      .source = "W0 W1! R W1", .status = "running" },
    { "there-refused", "destination refuses 1",
      { SCENARIO_BEGIN, SCENARIO_COMPLETE },
      .there_rule = REFUSE(1, 1),
      .source = "W3 W2 W0", .destination = "W4 W1! R",
      .status = "postmigrate", .there_status = "io-error" },
    { "there-refused-cont", "destination refuses 1, then cont",
      { SCENARIO_BEGIN, SCENARIO_COMPLETE, SCENARIO_THERE_CONT },
      .there_rule = REFUSE(1, 1),
      .source = "W3 W2 W0", .destination = "W4 W1! R W1",
      .status = "postmigrate", .there_status = "running" },
    { "unplug-stopped", "unplug of a stopped guest's device",
      { SCENARIO_STOP, SCENARIO_UNPLUG },
      .machine = "pc", .source = "W0 W1", .status = "paused" },
};

/* The same on the way that QEMU went before: read, change, write. */
static const Scenario stock_scenarios[] = {
    { "cold-boot", "cold boot", { SCENARIO_CONT }, .stock = true,
      .paused = true, .source = "R W1", .status = "running" },
    { "stop-cont", "stop, cont", { SCENARIO_STOP, SCENARIO_CONT },
      .stock = true, .source = "R W0 R W1", .status = "running" },
    { "migrate", "migration", { SCENARIO_BEGIN, SCENARIO_COMPLETE },
      .stock = true, .source = "R W3 R W2 R W2 R W0",
      .destination = "R W4 R W1",
      .status = "postmigrate", .there_status = "running" },
    { "migrate-paused", "migration of a paused guest: fails, runs its device",
      { SCENARIO_STOP, SCENARIO_BEGIN_PAUSED, SCENARIO_FAIL },
      .stock = true, .source = "R W0 R W2! R R W1", .destination = "R W4",
      .status = "paused", .error = "dev0: device_state" },
    { "cancel", "cancel in pre-copy", { SCENARIO_BEGIN, SCENARIO_CANCEL },
      .stock = true, .source = "R W3 R W1", .destination = "R W4",
      .status = "running" },
    { "unreachable", "destination unreachable", { SCENARIO_UNREACHABLE },
      .stock = true, .source = "R W1", .status = "running" },
    { "unreachable-paused", "the same, paused guest: runs its device",
      { SCENARIO_STOP, SCENARIO_UNREACHABLE },
      .stock = true, .source = "R W0 R W1", .status = "paused" },
    { "lose-at-stop-copy", "destination dies at stop-and-copy",
      { SCENARIO_BEGIN, SCENARIO_LOSE_AT_STOP_COPY },
      .stock = true, .source = "R W3 R W2 R W2 R W1 R W1",
      .destination = "R W4", .status = "running" },
    { "stop-cont-precopy", "stop and cont in pre-copy: fails",
      { SCENARIO_BEGIN, SCENARIO_STOP, SCENARIO_CONT, SCENARIO_FAIL },
      .stock = true, .source = "R W3 R W2 R W1 R W0 R W2! R R W1 R W1",
      .destination = "R W4",
      .status = "running", .error = "dev0: device_state" },
    { "savevm", "savevm", { SCENARIO_SAVEVM },
      .stock = true, .source = "R W2 R W2 R W2 R W0 R W1",
      .status = "running" },
    { "loadvm", "savevm, loadvm: fails",
      { SCENARIO_SAVEVM, SCENARIO_LOADVM_FAILS },
      .stock = true,
      .source = "R W2 R W2 R W2 R W0 R W1 R W0 RESET! R W4! R",
      .status = "restore-vm" },
    { "reset-precopy", "reboot in pre-copy: fails",
      { SCENARIO_BEGIN, SCENARIO_RESET, SCENARIO_FAIL },
      .stock = true, .source = "R W3 RESET R W0 R W2! R R W1 R W1",
      .destination = "R W4",
      .status = "running", .error = "dev0: device_state" },
};

void vfio_user_test_add_scenarios(void)
{
    scenario_add("scenario", scenarios, G_N_ELEMENTS(scenarios));
    scenario_add("stock", stock_scenarios, G_N_ELEMENTS(stock_scenarios));
}
