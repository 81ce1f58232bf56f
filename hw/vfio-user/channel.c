/*
 * vfio-user channel: whole messages and the fds that travel with them, over
 * a UNIX stream socket.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qemu/iov.h"
#include "qemu/host-utils.h"
#include "hw/vfio-user/channel.h"
#include "hw/vfio-user/protocol.h"
#include "trace.h"

/*
 * How much to read beyond the message under way.  A reply to a register
 * access then takes one system call instead of one for the header and one for
 * the rest.
 */
#define AHEAD_SIZE 4096

/*
 * Receiving.  Bytes that arrive before a header is complete, or behind the
 * end of a message, are in ahead[].  When the header in there is complete,
 * msg->data is allocated and the bytes move over; the rest of the message is
 * then read to where it belongs.  So at any moment:
 *   msg->data NULL   the message under way starts at ahead[start]
 *   have < size      it lacks bytes, and ahead[] is empty
 *   have == size     it is whole, and the next one starts at ahead[start]
 */
struct VFIOUserChannel {
    QIOChannelSocket *socket;
    VFIOUserChannelAdmit *admit;
    void *opaque;

    /* All below belongs to the thread that receives. */
    VFIOUserMsg *msg;           /* under way; never NULL */
    size_t have;                /* bytes in msg->data */
    size_t max_fds;             /* for msg, once data is there */
    bool drained;               /* the last read has emptied the socket */
    int64_t receive_timeout_us; /* the socket's, or 0 for none yet */

    /* Fds of a message of which no more than a part of ahead[] is there */
    int *later_fds;
    size_t num_later_fds;
    size_t later;               /* which one: messages from msg on, over 0 */

    size_t start;
    size_t end;
    uint8_t ahead[AHEAD_SIZE];
};

static void close_fds(int *fds, size_t num_fds)
{
    for (size_t i = 0; i < num_fds; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
        }
    }
    g_free(fds);
}

void vfio_user_msg_free(VFIOUserMsg *msg)
{
    if (!msg) {
        return;
    }
    close_fds(msg->fds, msg->num_fds);
    g_free(msg->data);
    g_free(msg);
}

int vfio_user_msg_take_fd(VFIOUserMsg *msg, size_t index)
{
    int fd;

    if (index >= msg->num_fds) {
        return -1;
    }
    fd = msg->fds[index];
    msg->fds[index] = -1;
    return fd;
}

VFIOUserChannel *vfio_user_channel_new(QIOChannelSocket *socket,
                                       VFIOUserChannelAdmit *admit,
                                       void *opaque, Error **errp)
{
    QIOChannel *ioc = QIO_CHANNEL(socket);
    VFIOUserChannel *channel;

    if (!qio_channel_has_feature(ioc, QIO_CHANNEL_FEATURE_FD_PASS)) {
        error_setg(errp, "not a UNIX socket, so it can not pass fds");
        return NULL;
    }
    if (qio_channel_set_blocking(ioc, true, errp) < 0) {
        return NULL;
    }

    channel = g_new0(VFIOUserChannel, 1);
    channel->socket = socket;
    object_ref(OBJECT(socket));
    channel->admit = admit;
    channel->opaque = opaque;
    channel->msg = g_new0(VFIOUserMsg, 1);
    return channel;
}

void vfio_user_channel_free(VFIOUserChannel *channel)
{
    if (!channel) {
        return;
    }
    vfio_user_msg_free(channel->msg);
    close_fds(channel->later_fds, channel->num_later_fds);
    object_unref(OBJECT(channel->socket));
    g_free(channel);
}

int vfio_user_channel_fd(VFIOUserChannel *channel)
{
    return channel->socket->fd;
}

void vfio_user_channel_shutdown(VFIOUserChannel *channel)
{
    qio_channel_shutdown(QIO_CHANNEL(channel->socket),
                         QIO_CHANNEL_SHUTDOWN_BOTH, NULL);
}

/*
 * System calls on the socket, and not through its QIOChannel, which would hide
 * that fds were lost (MSG_CTRUNC), leave errors as text only, and want a poll
 * before each read that has to wait with a deadline.
 */

static bool peer_has_closed(int os_errno)
{
    return os_errno == ECONNRESET || os_errno == EPIPE;
}

static ssize_t send_once(VFIOUserChannel *channel, struct iovec *iov,
                         size_t niov, const int *fds, size_t num_fds)
{
    char control[CMSG_SPACE(sizeof(int) * VFIO_USER_CHANNEL_MAX_FDS)] = { 0 };
    struct msghdr header = { .msg_iov = iov, .msg_iovlen = niov };
    struct cmsghdr *cmsg;
    ssize_t ret;

    if (num_fds) {
        header.msg_control = control;
        header.msg_controllen = CMSG_SPACE(num_fds * sizeof(*fds));
        cmsg = CMSG_FIRSTHDR(&header);
        cmsg->cmsg_level = SOL_SOCKET;
        cmsg->cmsg_type = SCM_RIGHTS;
        cmsg->cmsg_len = CMSG_LEN(num_fds * sizeof(*fds));
        memcpy(CMSG_DATA(cmsg), fds, num_fds * sizeof(*fds));
    }
    do {
        ret = sendmsg(vfio_user_channel_fd(channel), &header,
                      MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (ret < 0 && errno == EINTR);
    return ret;
}

int vfio_user_channel_send(VFIOUserChannel *channel, const struct iovec *iov,
                           size_t niov, const int *fds, size_t num_fds,
                           VFIOUserChannelWait *wait, void *opaque,
                           Error **errp)
{
    struct iovec pieces[VFIO_USER_CHANNEL_MAX_IOV];
    struct iovec *rest = pieces;
    unsigned int num_rest = niov;

    if (niov > VFIO_USER_CHANNEL_MAX_IOV ||
        num_fds > VFIO_USER_CHANNEL_MAX_FDS) {
        error_setg(errp, "too many pieces or fds in a request "
                   "(got %zu and %zu, limit %d and %d)", niov, num_fds,
                   VFIO_USER_CHANNEL_MAX_IOV, VFIO_USER_CHANNEL_MAX_FDS);
        return -EINVAL;
    }
    memcpy(pieces, iov, niov * sizeof(*iov));

    while (iov_size(rest, num_rest)) {
        ssize_t ret = send_once(channel, rest, num_rest, fds, num_fds);

        if (ret < 0 && errno == EAGAIN) {
            int gave_up = wait(opaque, errp);

            if (gave_up < 0) {
                return gave_up;
            }
            continue;
        }
        if (ret < 0 && peer_has_closed(errno)) {
            error_setg(errp, "server closed the connection");
            return -ENOTCONN;
        }
        if (ret < 0) {
            error_setg_errno(errp, errno, "cannot send");
            return -EIO;
        }

        trace_vfio_user_send_write(vfio_user_channel_fd(channel), ret,
                                   num_fds);
        iov_discard_front(&rest, &num_rest, ret);
        /* The kernel has attached the fds to the first of these bytes. */
        num_fds = 0;
    }
    return 0;
}

static void append_fds(int **to, size_t *num_to, const int *fds,
                       size_t num_fds)
{
    *to = g_renew(int, *to, *num_to + num_fds);
    memcpy(*to + *num_to, fds, num_fds * sizeof(*fds));
    *num_to += num_fds;
}

/* Size of the message at ahead[at], or 0 if its end is not there. */
static size_t size_in_ahead(VFIOUserChannel *channel, size_t at)
{
    size_t left = channel->end - at;
    uint32_t size;

    if (left < sizeof(VFIOUserHeader)) {
        return 0;
    }
    size = ldl_le_p(channel->ahead + at + offsetof(VFIOUserHeader, size));
    return size >= sizeof(VFIOUserHeader) && size <= left ? size : 0;
}

/*
 * How many messages have begun behind the one under way.  What a size says
 * wrong here only misplaces fds; it is found out when its turn comes.
 */
static size_t count_begun(VFIOUserChannel *channel)
{
    size_t at = channel->start;
    size_t count = 0;
    size_t size;

    if (!channel->msg->data) {
        at += size_in_ahead(channel, at);
        if (at == channel->start) {
            return 0;
        }
    }
    while (at < channel->end) {
        count++;
        size = size_in_ahead(channel, at);
        if (!size) {
            break;
        }
        at += size;
    }
    return count;
}

static void assign_fds(VFIOUserChannel *channel, const int *fds,
                       size_t num_fds)
{
    VFIOUserMsg *msg = channel->msg;
    size_t begun = count_begun(channel);

    if (begun) {
        append_fds(&channel->later_fds, &channel->num_later_fds, fds, num_fds);
        channel->later = begun;
    } else {
        append_fds(&msg->fds, &msg->num_fds, fds, num_fds);
    }
}

static int end_of_stream(VFIOUserChannel *channel, Error **errp)
{
    size_t have = channel->msg->data ? channel->have
                                     : channel->end - channel->start;

    if (!have) {
        error_setg(errp, "server closed the connection");
        return -ENOTCONN;
    }
    error_setg(errp, "server closed the connection inside a message "
               "(got %zu bytes of it)", have);
    return -EPROTO;
}

/*
 * Let a read wait for about @timeout_us, but no less.  Rounded up to few binary
 * digits, the timeout of one call is that of the next one too, and
 * need not be set again.
 */
static void set_receive_timeout(VFIOUserChannel *channel, int64_t timeout_us)
{
    int64_t unit = MAX(pow2floor(timeout_us) / 8, 1024);
    struct timeval timeout;

    timeout_us = ROUND_UP(timeout_us, unit);
    if (timeout_us == channel->receive_timeout_us) {
        return;
    }
    timeout.tv_sec = timeout_us / G_USEC_PER_SEC;
    timeout.tv_usec = timeout_us % G_USEC_PER_SEC;
    setsockopt(vfio_user_channel_fd(channel), SOL_SOCKET, SO_RCVTIMEO,
               &timeout, sizeof(timeout));
    channel->receive_timeout_us = timeout_us;
}

static ssize_t receive_once(VFIOUserChannel *channel, struct iovec *iov,
                            size_t niov, int64_t timeout_us, int *fds,
                            size_t *num_fds, bool *fds_lost)
{
    char control[CMSG_SPACE(sizeof(int) * VFIO_USER_CHANNEL_MAX_FDS)];
    struct msghdr header = {
        .msg_iov = iov, .msg_iovlen = niov,
        .msg_control = control, .msg_controllen = sizeof(control),
    };
    struct cmsghdr *cmsg;
    ssize_t ret;

    if (timeout_us) {
        set_receive_timeout(channel, timeout_us);
    }
    ret = recvmsg(vfio_user_channel_fd(channel), &header,
                  MSG_CMSG_CLOEXEC | (timeout_us ? 0 : MSG_DONTWAIT));

    *num_fds = 0;
    *fds_lost = ret > 0 && (header.msg_flags & MSG_CTRUNC);
    cmsg = ret > 0 ? CMSG_FIRSTHDR(&header) : NULL;
    /* The kernel makes one of all fds; others say nothing about fds. */
    if (cmsg && cmsg->cmsg_level == SOL_SOCKET &&
        cmsg->cmsg_type == SCM_RIGHTS) {
        *num_fds = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(*fds);
        memcpy(fds, CMSG_DATA(cmsg), *num_fds * sizeof(*fds));
    }
    return ret;
}

/*
 * Read once, waiting for up to about @timeout_us if nothing is there.
 * 1: something came, 0: nothing did, or -errno and @errp.
 */
static int fill(VFIOUserChannel *channel, int64_t timeout_us, Error **errp)
{
    VFIOUserMsg *msg = channel->msg;
    int fds[VFIO_USER_CHANNEL_MAX_FDS];
    size_t num_fds, rest;
    struct iovec iov[2];
    bool fds_lost;
    ssize_t ret;

    channel->end -= channel->start;
    memmove(channel->ahead, channel->ahead + channel->start, channel->end);
    channel->start = 0;

    rest = msg->data ? msg->size - channel->have : 0;
    iov[0].iov_base = rest ? msg->data + channel->have : NULL;
    iov[0].iov_len = rest;
    iov[1].iov_base = channel->ahead + channel->end;
    iov[1].iov_len = AHEAD_SIZE - channel->end;

    ret = receive_once(channel, iov, 2, timeout_us, fds, &num_fds, &fds_lost);
    if (ret < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }
    if (ret < 0 && !peer_has_closed(errno)) {
        error_setg_errno(errp, errno, "cannot receive");
        return -EIO;
    }
    if (ret <= 0) {
        return end_of_stream(channel, errp);
    }

    trace_vfio_user_recv_read(vfio_user_channel_fd(channel), ret, num_fds);
    /* A read that brings fds ends where they do, whatever is behind. */
    channel->drained = !num_fds && ret < rest + iov[1].iov_len;
    channel->have += MIN(rest, ret);
    channel->end += ret - MIN(rest, ret);
    if (num_fds) {
        assign_fds(channel, fds, num_fds);
    }
    if (fds_lost) {
        error_setg(errp, "fds were lost: more than %d in a message, or no "
                   "more can be opened", VFIO_USER_CHANNEL_MAX_FDS);
        return -EPROTO;
    }
    return 1;
}

void vfio_user_channel_give_buffer(VFIOUserChannel *channel, void *buffer)
{
    channel->msg->data = buffer;
}

/* The header of the message under way is complete: make room for the rest. */
static int begin(VFIOUserChannel *channel, Error **errp)
{
    const uint8_t *header = channel->ahead + channel->start;
    VFIOUserMsg *msg = channel->msg;
    /* Through 32 bits: the function's result is signed. */
    uint32_t size = ldl_le_p(header + offsetof(VFIOUserHeader, size));

    if (size < sizeof(VFIOUserHeader)) {
        error_setg(errp, "message is smaller than its header "
                   "(got %u, limit %zu)", size, sizeof(VFIOUserHeader));
        return -EPROTO;
    }
    if (!channel->admit(channel->opaque, header, size, &channel->max_fds,
                        errp)) {
        return -EPROTO;
    }
    if (!msg->data) {
        msg->data = g_try_malloc(size);
    }
    if (!msg->data) {
        error_setg(errp, "no memory for a message of %u bytes", size);
        return -EIO;
    }
    msg->size = size;
    channel->have = 0;
    return 0;
}

/* 1: the message under way is whole, 0: it is not, or -errno and @errp. */
static int advance(VFIOUserChannel *channel, Error **errp)
{
    VFIOUserMsg *msg = channel->msg;
    size_t count;
    int ret;

    if (!msg->data) {
        if (channel->end - channel->start < sizeof(VFIOUserHeader)) {
            if (msg->num_fds > VFIO_USER_CHANNEL_MAX_FDS) {
                goto too_many_fds;
            }
            return 0;
        }
        ret = begin(channel, errp);
        if (ret < 0) {
            return ret;
        }
    }

    count = MIN(msg->size - channel->have, channel->end - channel->start);
    memcpy(msg->data + channel->have, channel->ahead + channel->start, count);
    channel->have += count;
    channel->start += count;

    if (msg->num_fds > channel->max_fds) {
        goto too_many_fds;
    }
    return channel->have == msg->size;

too_many_fds:
    error_setg(errp, "too many fds in a message (got %zu, limit %zu)",
               msg->num_fds,
               msg->data ? channel->max_fds : VFIO_USER_CHANNEL_MAX_FDS);
    return -EPROTO;
}

static VFIOUserMsg *take(VFIOUserChannel *channel)
{
    VFIOUserMsg *whole = channel->msg;
    VFIOUserMsg *msg = g_new0(VFIOUserMsg, 1);

    if (channel->num_later_fds && --channel->later == 0) {
        msg->fds = channel->later_fds;
        msg->num_fds = channel->num_later_fds;
        channel->later_fds = NULL;
        channel->num_later_fds = 0;
    }
    channel->msg = msg;
    channel->have = 0;
    return whole;
}

int vfio_user_channel_recv(VFIOUserChannel *channel, int64_t timeout_us,
                           VFIOUserMsg **msg, Error **errp)
{
    int ret;

    for (;;) {
        ret = advance(channel, errp);
        if (ret < 0) {
            return ret;
        }
        if (ret) {
            *msg = take(channel);
            return 1;
        }
        if (channel->drained) {
            channel->drained = false;
            if (!timeout_us) {
                return 0;
            }
        }
        ret = fill(channel, timeout_us, errp);
        if (ret <= 0) {
            return ret;
        }
        timeout_us = 0;
    }
}
