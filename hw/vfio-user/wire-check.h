/*
 * vfio-user wire layer: the checks that most replies need, shared by its
 * source files and used nowhere else.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_WIRE_CHECK_H
#define HW_VFIO_USER_WIRE_CHECK_H

#include "qapi/error.h"

/*
 * Each returns true when the value passes, else false with @errp set, so that
 * a caller chains them with && or ||.  Pure; any thread.
 */

/* @got bytes of payload are there: just as many as @expected. */
static inline bool check_length(uint64_t got, uint64_t expected, Error **errp)
{
    if (got != expected) {
        error_setg(errp, "payload length is wrong (got %" PRIu64
                   ", expected %" PRIu64 ")", got, expected);
        return false;
    }
    return true;
}

/* The reply repeats @asked, a value of the request. */
static inline bool check_echo(const char *field, uint64_t got, uint64_t asked,
                              Error **errp)
{
    if (got != asked) {
        error_setg(errp, "%s is not the one asked for (got 0x%" PRIx64
                   ", expected 0x%" PRIx64 ")", field, got, asked);
        return false;
    }
    return true;
}

/* @got <= @limit */
static inline bool check_most(const char *field, uint64_t got, uint64_t limit,
                              Error **errp)
{
    if (got > limit) {
        error_setg(errp, "%s is too large (got %" PRIu64 ", limit %" PRIu64
                   ")", field, got, limit);
        return false;
    }
    return true;
}

/* @got >= @limit */
static inline bool check_least(const char *field, uint64_t got, uint64_t limit,
                               Error **errp)
{
    if (got < limit) {
        error_setg(errp, "%s is too small (got %" PRIu64 ", limit %" PRIu64
                   ")", field, got, limit);
        return false;
    }
    return true;
}

#endif /* HW_VFIO_USER_WIRE_CHECK_H */
