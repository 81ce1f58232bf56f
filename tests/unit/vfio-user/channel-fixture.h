/*
 * A vfio-user channel and the other end of its socket, for tests that write
 * and read the bytes by hand.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_VFIO_USER_CHANNEL_FIXTURE_H
#define TESTS_UNIT_VFIO_USER_CHANNEL_FIXTURE_H

#include "qemu/osdep.h"
#include "hw/vfio-user/channel.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Error, error_free)

#define HEADER_SIZE 16

typedef struct Fixture {
    int num_fds;                /* of the process, at first */
    int peer;                   /* the other end of the channel's socket */
    VFIOUserChannel *channel;

    /* What admit does and has seen */
    size_t limit;
    size_t max_fds;
    unsigned int admitted;
    size_t admitted_size;
} Fixture;

/* How many fds the process has open */
int count_fds(void);

/* What the channel is made with */
bool admit(void *opaque, const uint8_t *header, size_t size, size_t *max_fds,
           Error **errp);

void fixture_init(Fixture *f);
/* Free the channel and see that no fd was leaked. */
void fixture_cleanup(Fixture *f);

/* A message of @size bytes, told apart by @seed; free with g_free(). */
uint8_t *make_message(uint8_t seed, uint32_t size);

/* The peer's side */
void peer_send(Fixture *f, const uint8_t *bytes, size_t size, const int *fds,
               size_t num_fds);
void peer_close(Fixture *f);

/* What a receive gives: this message; nothing yet; that error */
int receive(Fixture *f, VFIOUserMsg **msg, Error **errp);
void expect_message(Fixture *f, const uint8_t *bytes, size_t size,
                    size_t num_fds);
void expect_nothing(Fixture *f);
void expect_error(Fixture *f, int ret, const char *text);

/* A file that can be told from others through its fd alone */
int make_file(const char *text);
void expect_file(int fd, const char *text);

#endif /* TESTS_UNIT_VFIO_USER_CHANNEL_FIXTURE_H */
