/*
 * A scenario as data: what happens to a VM, step by step, and what its device
 * is told of it by a server of each behaviour.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_SCENARIO_H
#define TESTS_QTEST_VFIO_USER_SCENARIO_H

#include "framework.h"

#define SCENARIO_MAX_STEPS 12

typedef enum ScenarioStep {
    SCENARIO_END,
    SCENARIO_CONT,
    SCENARIO_STOP,
    SCENARIO_RESET,
    SCENARIO_SAVEVM,
    SCENARIO_SAVEVM_FAILS,      /* the destination of the snapshot is full */
    SCENARIO_LOADVM,
    SCENARIO_LOADVM_FAILS,
    SCENARIO_UNPLUG,            /* the machine is "pc" then */
    SCENARIO_FLR,               /* the guest resets the function */
    SCENARIO_WAKE,              /* it does so by D3hot and D0 */
    SCENARIO_RAISE,             /* an interrupt must arrive */
    /* Migration. It stays in pre-copy, with device data, until told to go on */
    SCENARIO_BEGIN,
    SCENARIO_BEGIN_PAUSED,      /* the guest is, so there is no device data */
    SCENARIO_COMPLETE,
    SCENARIO_CANCEL,
    SCENARIO_LOSE,              /* the destination dies */
    SCENARIO_LOSE_AT_STOP_COPY, /* when the device has been told so */
    SCENARIO_LOSE_AT_STOP,
    SCENARIO_FAIL,              /* it goes on by itself, and fails */
    SCENARIO_UNREACHABLE,
    /* At the destination */
    SCENARIO_THERE_CONT,
    SCENARIO_THERE_RESET,
} ScenarioStep;

typedef struct Scenario {
    const char *path;           /* Required: of the test */
    const char *name;           /* Required: in the table */
    ScenarioStep steps[SCENARIO_MAX_STEPS];
    bool paused;                /* -S */
    bool there_paused;          /* -S at the destination */
    bool stock;                 /* x-cache-device-state=off, lvu1 only */
    const char *machine;
    MockRule rules[3];          /* of the source's server */
    MockRule there_rule;        /* of the destination's server */
    const char *device;         /* properties of the device, both sides */

    /*
     * After realize: "R", "W3", "W3!" where it was refused, "RESET". One for
     * all behaviours, or one each where they differ.
     */
    const char *source;
    const char *sources[MOCK_NUM_BEHAVIOURS];
    const char *destination;    /* NULL: there is none */
    /* How it ends. Required */
    const char *status;
    const char *there_status;
    const char *error;          /* part of error-desc */
} Scenario;

/* Live through @scenario with a server of @behaviour, and note its story. */
void scenario_run(const Scenario *scenario, MockBehaviour behaviour);

/* Whether the guest resets the device's function in @scenario. */
bool scenario_resets_function(const Scenario *scenario);

/*
 * scenario-table.c: remember for the table what servers of @behaviour saw at
 * the source and, unless NULL, at the destination.
 */
void scenario_note(const Scenario *scenario, const char *behaviour,
                   const char *source, const char *destination);

/* Add a case for each scenario and behaviour below /vfio-user/@area/. */
void scenario_add(const char *area, const Scenario *scenarios, size_t number);

#endif /* TESTS_QTEST_VFIO_USER_SCENARIO_H */
