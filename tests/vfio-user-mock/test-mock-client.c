/*
 * The raw client of the mock's own tests.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "test-mock-client.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

static void set_timeout(int fd)
{
    struct timeval limit = { .tv_sec = TEST_TIMEOUT_MS / 1000 };

    g_assert_cmpint(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit,
                               sizeof(limit)), ==, 0);
}

void test_client_open_raw(Client *client, const MockConfig *config)
{
    g_autoptr(GError) error = NULL;
    int pair[2];

    *client = (Client) { .mock = mock_new(config, &error) };
    g_assert_no_error(error);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), ==, 0);
    client->fd = pair[0];
    set_timeout(client->fd);
    g_assert_true(mock_start_fd(client->mock, pair[1], &error));
}

void test_client_version(Client *client)
{
    static const char json[] =
        "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576}}";
    Bytes payload = { .size = 0 };
    Reply reply;

    test_put(&payload, 0, 2);
    test_put(&payload, 0, 2);
    memcpy(payload.data + 4, json, sizeof(json));
    payload.size += sizeof(json);
    g_assert_cmpuint(test_call(client, 1, &payload, NULL, 0, &reply), ==, 0);
    test_reply_clear(&reply);
}

void test_client_open(Client *client, const MockConfig *config)
{
    test_client_open_raw(client, config);
    test_client_version(client);
}

void test_client_connect(Client *client, const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    strcpy(address.sun_path, path);
    client->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    set_timeout(client->fd);
    g_assert_cmpint(connect(client->fd, (struct sockaddr *)&address,
                            sizeof(address)), ==, 0);
}

void test_client_close(Client *client)
{
    close(client->fd);
    mock_free(client->mock);
}

void test_put(Bytes *bytes, uint64_t value, unsigned width)
{
    unsigned i;

    for (i = 0; i < width; i++) {
        bytes->data[bytes->size++] = value >> (8 * i) & 0xff;
    }
}

uint64_t test_get(const void *data, unsigned width)
{
    const uint8_t *bytes = data;
    uint64_t value = 0;

    while (width--) {
        value = value << 8 | bytes[width];
    }
    return value;
}

void test_send(Client *client, uint16_t command, uint32_t flags,
               const Bytes *payload, const int *fds, unsigned num_fds)
{
    uint32_t size = payload ? payload->size : 0;
    Bytes header = { .size = 0 };
    char control[CMSG_SPACE(32 * sizeof(int))] = { 0 };
    struct iovec vectors[2] = {
        { .iov_base = header.data, .iov_len = 16 },
        { .iov_base = payload ? (void *)payload->data : NULL, .iov_len = size },
    };
    struct msghdr message = { .msg_iov = vectors, .msg_iovlen = 2 };
    struct cmsghdr *rights;

    test_put(&header, ++client->id, 2);
    test_put(&header, command, 2);
    test_put(&header, 16 + size, 4);
    test_put(&header, flags, 4);
    test_put(&header, 0, 4);
    if (num_fds) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(num_fds * sizeof(int));
        rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(num_fds * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, num_fds * sizeof(int));
    }
    g_assert_cmpint(sendmsg(client->fd, &message, MSG_NOSIGNAL), ==,
                    16 + size);
}

/* False at end of file, and only at the start of a message */
static bool receive_all(Client *client, uint8_t *data, uint32_t size,
                        Reply *reply)
{
    uint32_t done = 0;

    while (done < size) {
        char control[CMSG_SPACE(32 * sizeof(int))];
        struct iovec vector = { data + done, size - done };
        struct msghdr message = {
            .msg_iov = &vector,
            .msg_iovlen = 1,
            .msg_control = control,
            .msg_controllen = sizeof(control),
        };
        ssize_t got = recvmsg(client->fd, &message, 0);
        struct cmsghdr *rights;

        if (got == 0 || (got < 0 && errno == ECONNRESET)) {
            return false;
        }
        g_assert_cmpint(got, >, 0);
        done += got;
        rights = CMSG_FIRSTHDR(&message);
        if (rights) {
            reply->num_fds = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            memcpy(reply->fds, CMSG_DATA(rights),
                   reply->num_fds * sizeof(int));
        }
    }
    return true;
}

bool test_receive(Client *client, Reply *reply)
{
    uint8_t header[16];

    *reply = (Reply) { .size = 0 };
    if (!receive_all(client, header, 16, reply)) {
        return false;
    }
    reply->id = test_get(header, 2);
    reply->command = test_get(header + 2, 2);
    reply->size = test_get(header + 4, 4);
    reply->flags = test_get(header + 8, 4);
    reply->error = test_get(header + 12, 4);
    reply->length = reply->size - 16;
    reply->body = g_malloc0(reply->length + 1);
    if (!receive_all(client, reply->body, reply->length, reply)) {
        test_reply_clear(reply);
        return false;
    }
    return true;
}

void test_reply_clear(Reply *reply)
{
    while (reply->num_fds) {
        close(reply->fds[--reply->num_fds]);
    }
    g_clear_pointer(&reply->body, g_free);
}

uint32_t test_call(Client *client, uint16_t command, const Bytes *payload,
                   const int *fds, unsigned num_fds, Reply *reply)
{
    test_send(client, command, 0, payload, fds, num_fds);
    g_assert_true(test_receive(client, reply));
    g_assert_cmpuint(reply->id, ==, client->id);
    g_assert_cmpuint(reply->command, ==, command);
    g_assert_cmphex(reply->flags & ~0x20u, ==, 1);
    g_assert_cmpint(!(reply->flags & 0x20), ==, !reply->error);
    return reply->error;
}

uint32_t test_region_query(Client *client, uint32_t index, uint32_t argsz,
                           Reply *reply)
{
    Bytes payload = { .size = 0 };

    test_put(&payload, argsz, 4);
    test_put(&payload, 0, 4);
    test_put(&payload, index, 4);
    test_put(&payload, 0, 4);
    test_put(&payload, 0, 8);
    test_put(&payload, 0, 8);
    return test_call(client, 5, &payload, NULL, 0, reply);
}

static void put_access(Bytes *payload, uint32_t region, uint64_t offset,
                       uint32_t count)
{
    payload->size = 0;
    test_put(payload, offset, 8);
    test_put(payload, region, 4);
    test_put(payload, count, 4);
}

uint32_t test_read(Client *client, uint32_t region, uint64_t offset,
                   unsigned width, uint64_t *value)
{
    Bytes payload;
    Reply reply;
    uint32_t error;

    put_access(&payload, region, offset, width);
    error = test_call(client, 9, &payload, NULL, 0, &reply);
    *value = ~0ull;
    if (!error) {
        g_assert_cmpuint(reply.length, ==, 16 + width);
        g_assert_cmpmem(reply.body, 16, payload.data, 16);
        *value = test_get(reply.body + 16, width);
    }
    test_reply_clear(&reply);
    return error;
}

uint32_t test_write(Client *client, uint32_t region, uint64_t offset,
                    unsigned width, uint64_t value)
{
    Bytes payload;
    Reply reply;
    uint32_t error;

    put_access(&payload, region, offset, width);
    test_put(&payload, value, width);
    error = test_call(client, 10, &payload, NULL, 0, &reply);
    if (!error) {
        g_assert_cmpmem(reply.body, reply.length, payload.data, 16);
    }
    test_reply_clear(&reply);
    return error;
}

uint32_t test_state(Client *client)
{
    uint64_t value;

    g_assert_cmpuint(test_read(client, 9, 0, 4, &value), ==, 0);
    return value;
}

uint32_t test_set_state(Client *client, uint32_t state)
{
    return test_write(client, 9, 0, 4, state);
}

uint32_t test_map(Client *client, uint64_t iova, uint64_t size,
                  uint64_t offset, int fd)
{
    Bytes payload = { .size = 0 };
    Reply reply;
    uint32_t error;

    test_put(&payload, 32, 4);
    test_put(&payload, 3, 4);
    test_put(&payload, offset, 8);
    test_put(&payload, iova, 8);
    test_put(&payload, size, 8);
    error = test_call(client, 2, &payload, &fd, fd >= 0, &reply);
    g_assert_cmpuint(reply.length, ==, 0);
    test_reply_clear(&reply);
    return error;
}
