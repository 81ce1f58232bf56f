/*
 * A session without a socket, for targets whose input is what the server
 * answers: requests are checked and answered by the target.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_FUZZ_VFIO_USER_FUZZ_ANSWERS_H
#define TESTS_FUZZ_VFIO_USER_FUZZ_ANSWERS_H

#include "hw/vfio-user/session.h"

/* What the session says of itself */
extern VFIOUserCaps fuzz_caps;
extern unsigned int fuzz_window;

typedef struct FuzzAnswer {
    uint8_t *payload;           /* of the call's max_reply bytes, all 0 */
    size_t size;
    int fds[VFIO_USER_CHANNEL_MAX_FDS];     /* the session's from then on */
    size_t num_fds;             /* at most the call's max_reply_fds */
    int error;                  /* the server's, in place of all that; or 0 */
    bool hang_up;               /* no answer to anything any more */
} FuzzAnswer;

/* The target's: abort when @call must not be sent to a server. */
void fuzz_check_request(const VFIOUserCall *call);

/* The target's: fill in the answer to @call, as far as it is not 0. */
void fuzz_answer(const VFIOUserCall *call, FuzzAnswer *answer);

/* The session is alive, again. */
void fuzz_answers_begin(void);

#endif /* TESTS_FUZZ_VFIO_USER_FUZZ_ANSWERS_H */
