/*
 * The server thread's end of one connection.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VFIO_USER_MOCK_SOCKET_H
#define VFIO_USER_MOCK_SOCKET_H

#include "mock-codec.h"

typedef enum MockIo {
    MOCK_IO_OK,
    MOCK_IO_CLOSED,             /* the connection is over */
    MOCK_IO_STOP,               /* the thread must end */
} MockIo;

/* Server thread only, except where said */
typedef struct MockConnection {
    int fd;
    uint8_t header[MOCK_HEADER_SIZE];
    size_t header_got;
    size_t body_got;
    MockMessage *incoming;      /* while its body arrives */
    int fds[MOCK_MAX_FDS];      /* arrived with incomplete messages */
    unsigned num_fds;
} MockConnection;

void mock_connection_init(MockConnection *connection, int fd);
void mock_connection_close(MockConnection *connection);
/*
 * Read what has arrived. *message becomes a complete message or NULL if more
 * is needed. MOCK_IO_CLOSED at end of file, on errors and on lengths that make
 * no sense (then *bad_length is set and *message is the header alone).
 */
MockIo mock_connection_receive(MockConnection *connection, uint32_t max_size,
                               MockMessage **message, bool *bad_length);
/* Send size bytes and the fds with the first of them; polls, never blocks */
MockIo mock_connection_send(Mock *mock, const uint8_t *bytes, size_t size,
                            const int *fds, unsigned num_fds);
/* The same where commands of the server go: to the twin, if there is one */
MockIo mock_connection_send_command(Mock *mock, const uint8_t *bytes,
                                    size_t size);
/* Send all of a message, header included */
MockIo mock_connection_send_message(Mock *mock, const MockMessage *message);
/* Poll fd (may be -1) and the wake-up event until deadline_us (-1: none) */
MockIo mock_wait_for(Mock *mock, int fd, short events, int64_t deadline_us,
                     short *revents);
/* The same for what arrives on the connection and, if there is one, the twin */
MockIo mock_wait_for_input(Mock *mock, int64_t deadline_us, bool *connection,
                           bool *twin);
/*
 * Make the twin. Returns the client's end, to be closed, or -errno. With the
 * lock held.
 */
int mock_twin_open(Mock *mock);
int mock_listen(const char *path, GError **error);

#endif /* VFIO_USER_MOCK_SOCKET_H */
