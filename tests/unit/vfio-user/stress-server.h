/*
 * The server's side of the session's stress test: registers, device data, and
 * DMA by message all the time.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_VFIO_USER_STRESS_SERVER_H
#define TESTS_UNIT_VFIO_USER_STRESS_SERVER_H

#include "guest-ram.h"
#include "session-peer.h"

/* One each makes register accesses, reads data, writes data. */
#define STRESS_VCPUS        6
#define STRESS_READER       STRESS_VCPUS
#define STRESS_WRITER       (STRESS_VCPUS + 1)
#define STRESS_THREADS      (STRESS_VCPUS + 2)

/* Region 0: two registers for each vCPU; region 1: the data */
#define STRESS_REGISTER     8
#define STRESS_BLOCK        (2 * STRESS_REGISTER)
#define STRESS_DATA_SIZE    (4 * MiB)

/* Guest memory: a page that stays and one that comes and goes */
#define STRESS_PAGE         GUEST_RAM_SIZE
#define STRESS_STAYS        0x10000
#define STRESS_COMES        0x20000

typedef enum StressEnd {
    STRESS_ENDS_WELL,
    STRESS_CLOSES,              /* while all threads wait for a reply */
    STRESS_TALKS_NONSENSE,      /* the same */
} StressEnd;

typedef struct StressCase {
    StressEnd end;
    bool twin;
    bool serial;
} StressCase;

typedef struct Stress {
    const StressCase *how;
    bool done;                  /* for main_loop_until() */
} Stress;

/* What the data is, both that is read and that is written */
extern uint8_t stress_data[STRESS_DATA_SIZE];

/*
 * The PeerScript; the peer's data is a Stress.  Where it ends well a
 * DEVICE_RESET ends it: the server asks on for a while with only the main loop
 * to hear it, and sets done.  Otherwise it lets go of all threads at once,
 * which have to go on till then, after a fixed number of requests.
 */
void script_stress(Peer *peer);

#endif /* TESTS_UNIT_VFIO_USER_STRESS_SERVER_H */
