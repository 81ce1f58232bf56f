/*
 * A guest with two devices that is migrated, and loses its servers, at random,
 * for as long as is wished: the two ends, what the guest and its devices must
 * hold, and what QEMU has in its hands.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_SOAK_H
#define TESTS_QTEST_VFIO_USER_SOAK_H

#include "framework.h"
#include "qapi/qmp/qdict.h"

/* dev0 does DMA by file descriptors and by message, dev1 by message alone */
#define SOAK_DEVICES 2

/* Guest memory that is looked at: each device's, and the guest's own */
#define SOAK_AREAS (SOAK_DEVICES + 1)
#define SOAK_AREA_SIZE (64 * 1024)

/* One of the two places where the guest may be */
typedef struct SoakEnd {
    const char *name;
    VFIOUserTestVM *vm;         /* NULL before the first start */
    Mock *second;               /* dev1's server, dev0's is the VM's */
    pid_t process;              /* the same if it is a process, or 0 */
    char *dir;
    char *second_path;          /* its socket */
    MockBehaviour behaviours[SOAK_DEVICES];
    bool reconnects[SOAK_DEVICES];      /* QEMU takes them again */
    uint32_t states[SOAK_DEVICES];      /* when the journals began */
} SoakEnd;

/* What there must be, wherever the guest is */
typedef struct SoakModel {
    uint8_t areas[SOAK_AREAS][SOAK_AREA_SIZE];
    uint64_t scratch[SOAK_DEVICES][MOCK_NUM_SCRATCH];
} SoakModel;

/* What a process has in its hands, at comparable moments */
typedef struct SoakHoldings {
    const char *what;
    bool known;                 /* fds and threads have been noted */
    unsigned fds;
    unsigned threads;
    GArray *memory;             /* KiB, of unsigned long, one each time */
} SoakHoldings;

typedef struct Soak {
    uint32_t seed;
    unsigned number;            /* of the migration or kill, from 0 */
    unsigned total;
    GRand *rand;                /* of this number */
    bool processes;             /* dev1's servers are processes */
    SoakEnd ends[2];
    SoakEnd *here;              /* the guest runs there */
    SoakEnd *there;
    SoakModel model;
    bool interrupted;           /* the devices' data began anew meanwhile */
    unsigned returned;          /* devices that were taken again */
    SoakHoldings qemu;
    SoakHoldings test;          /* with the servers */
} Soak;

/*
 * Begin: the guest runs at ends[0], with empty memory. @total is the default,
 * which the environment variable @variable overrides; SOAK_SEED is the seed.
 * With @processes dev1's servers are processes, to be killed.
 */
Soak *soak_new(const char *variable, unsigned total, bool processes);
void soak_free(Soak *soak);

/* Number @number begins: its random numbers depend on nothing before it. */
void soak_next(Soak *soak, unsigned number);

/* A random number from 0 to @limit - 1 */
unsigned soak_random(Soak *soak, unsigned limit);

/* Say how far it has come, now and then and in the end; @text says more. */
void soak_progress(Soak *soak, const char *name, const char *text);

/* The server of a device: NULL if it is not in this process. */
Mock *soak_server(SoakEnd *end, unsigned device);

/* End a device's server, as a crash would, and start another one. */
void soak_kill_server(SoakEnd *end, unsigned device);
void soak_start_server(Soak *soak, SoakEnd *end, unsigned device);

/* Whether the QEMU at @end is to take a device again whose server is back. */
void soak_choose_reconnect(Soak *soak, SoakEnd *end, unsigned device);

/* Start the QEMU at the other end, to wait for the guest. */
void soak_start_there(Soak *soak);

/* End it, with the guest that has come there. */
void soak_end_there(Soak *soak);

/* It ends by itself, as one does that got no guest. */
void soak_wait_there_exit(Soak *soak);

/* --- what the guest and its devices do --- */

/*
 * As firmware does it: BAR0 has its address, and the device is on. False if no
 * device answers.
 */
bool soak_enable(SoakEnd *end, unsigned device);

/* The guest's address of a register, MOCK_BAR0_... */
uint64_t soak_register(unsigned device, unsigned offset);

/*
 * Some random accesses to registers and memory, and DMA; by dev0 alone if dev1
 * is a process, whose end nobody knows beforehand.
 */
void soak_live(Soak *soak);

/* Reboot; soak_boot() does what firmware would then. */
void soak_reset(Soak *soak);
void soak_boot(Soak *soak);

/* Take a device away, as a guest does. */
void soak_unplug(SoakEnd *end, unsigned device);

/* Plug one in. Returns QMP's answer, to be freed with qobject_unref(). */
QDict *soak_plug(Soak *soak, unsigned device);

/* Wait for an event of a device's, "VFIO_USER_DISCONNECTED". */
void soak_wait_event(SoakEnd *end, unsigned device, const char *name);

/*
 * Have another server for a device that is lost: as the same device, if that
 * can be, or as one that is plugged in instead.
 */
void soak_replace(Soak *soak, unsigned device);

/* Memory and registers are what they must be; but for a process's. */
void soak_assert_guest(Soak *soak, SoakEnd *end);

/* --- what QEMU and the test hold --- */

/*
 * The QEMU that has the guest, and the test, hold as many fds and threads as
 * the last time, soon; their memory is noted. To be called at comparable
 * moments.
 */
void soak_note(Soak *soak, SoakEnd *guest);

/*
 * It has not come to hold more and more memory. @loose: it may become some KiB
 * more each time.
 */
void soak_assert_flat(const SoakHoldings *holdings, bool loose);

#endif /* TESTS_QTEST_VFIO_USER_SOAK_H */
