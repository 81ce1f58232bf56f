/*
 * vfio-user channel: whole messages and the fds that travel with them, over
 * a UNIX stream socket.  Knows no more of a message than its size field.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef HW_VFIO_USER_CHANNEL_H
#define HW_VFIO_USER_CHANNEL_H

#include "io/channel-socket.h"
#include "qapi/error.h"

/* Fds in one message, either way; what the peer sends beyond that is lost */
#define VFIO_USER_CHANNEL_MAX_FDS   16

/* Pieces that one message may be sent from */
#define VFIO_USER_CHANNEL_MAX_IOV   4

/*
 * A received message.  It owns its fds until vfio_user_msg_take_fd(); there
 * an fd that was taken is -1.
 */
typedef struct VFIOUserMsg {
    uint8_t *data;              /* the whole message, header first */
    size_t size;                /* bytes in data, at least a header's */
    int *fds;                   /* NULL when num_fds is 0 */
    size_t num_fds;
} VFIOUserMsg;

/* Close what fds nobody took and free @msg, which may be NULL.  Any thread. */
void vfio_user_msg_free(VFIOUserMsg *msg);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VFIOUserMsg, vfio_user_msg_free)

/*
 * Hand fd number @index over to the caller, who closes it.  Returns -1 when
 * there is no such fd, or it has been taken before.
 */
int vfio_user_msg_take_fd(VFIOUserMsg *msg, size_t index);

/*
 * Threads: at any time one thread may receive and another one send; the user
 * of the channel sees to that.  Only vfio_user_channel_shutdown() may be
 * called by anybody at any time.  The channel has no lock.
 */
typedef struct VFIOUserChannel VFIOUserChannel;

/*
 * Asked once per incoming message, before memory is allocated for it.
 * @header are its first 16 bytes, @size the bytes of the whole message as the
 * header claims (at least 16).  Returns true with the number of fds that may
 * come with it in @max_fds, or false with @errp set to refuse the message
 * and so end the connection.  Runs in the thread that receives.
 */
typedef bool VFIOUserChannelAdmit(void *opaque, const uint8_t *header,
                                  size_t size, size_t *max_fds, Error **errp);

/*
 * Called when the socket takes no more for now.  Returns 0 when it is worth
 * trying again, or -errno with @errp set to give up.  Runs in the thread that
 * sends.
 */
typedef int VFIOUserChannelWait(void *opaque, Error **errp);

/*
 * Make a channel of the connected @socket, whose data and timeouts are its
 * business from then on.  The channel takes a reference of its own.  @admit is
 * called with @opaque.  Returns NULL with @errp set when the socket can not
 * pass fds.
 */
VFIOUserChannel *vfio_user_channel_new(QIOChannelSocket *socket,
                                       VFIOUserChannelAdmit *admit,
                                       void *opaque, Error **errp);

/* Free @channel, which may be NULL, with what it has received in part. */
void vfio_user_channel_free(VFIOUserChannel *channel);

/* The socket, to wait for; owned by the channel. */
int vfio_user_channel_fd(VFIOUserChannel *channel);

/*
 * Send one message from the pieces in @iov, with @num_fds fds beside its
 * first byte.  Everything goes into one system call unless the socket is
 * full: servers read a message in one go.  All is borrowed until the return.
 *
 * Returns 0 when the whole message has been handed to the kernel; -EINVAL
 * for more than VFIO_USER_CHANNEL_MAX_IOV pieces or VFIO_USER_CHANNEL_MAX_FDS
 * fds (nothing was sent); -ENOTCONN when the peer has closed; -EIO on another
 * failure of the socket; or what @wait returned.  After the last three the
 * message may have been sent in part, so nothing can follow it.
 */
int vfio_user_channel_send(VFIOUserChannel *channel, const struct iovec *iov,
                           size_t niov, const int *fds, size_t num_fds,
                           VFIOUserChannelWait *wait, void *opaque,
                           Error **errp);

/*
 * Receive a message.  It may arrive in any number of pieces over any number of
 * calls, also by different threads.  If nothing is there, wait for up to about
 * @timeout_us (an eighth more at most); with 0, return at once.
 *
 * Returns 1 with a message in @msg that the caller frees.
 * Returns 0 when the rest of a message (or all of it) was not there at the last
 * look, or a signal ended the wait.  Only after a 0 is it safe to wait for the
 * socket to become readable, since the channel may hold back whole messages
 * till then; what it has not seen makes the socket readable.
 * Returns -errno with @errp set when the stream is at its end:
 *   -ENOTCONN  the peer has closed, between two messages;
 *   -EPROTO    the peer has closed inside a message, sent a size below 16,
 *              more fds than @admit or the channel allow, or what @admit
 *              refused;
 *   -EIO       another failure of the socket.
 * Do not call again after an error.
 *
 * Fds belong to the message that began last in the data they came with: the
 * kernel ends a read behind the piece that carries fds, and servers send a
 * message with its fds in one piece.
 */
int vfio_user_channel_recv(VFIOUserChannel *channel, int64_t timeout_us,
                           VFIOUserMsg **msg, Error **errp);

/*
 * From a VFIOUserChannelAdmit only: take @buffer, from g_malloc() and with room
 * for the message that is asked about, for that message's data.
 */
void vfio_user_channel_give_buffer(VFIOUserChannel *channel, void *buffer);

/*
 * End the stream both ways and wake whoever waits for the socket.  Any
 * thread, any number of times, beside send and recv in other threads.
 */
void vfio_user_channel_shutdown(VFIOUserChannel *channel);

#endif /* HW_VFIO_USER_CHANNEL_H */
