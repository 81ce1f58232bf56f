/*
 * Commands of the server to the client: DMA_READ and DMA_WRITE, from a test's
 * thread or from the device's doorbell.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <errno.h>
#include <string.h>

#define DOORBELL_TIMEOUT_MS 10000

MockRequest *mock_request_new(Mock *mock, bool write, uint64_t iova,
                              const void *buffer, uint64_t size)
{
    MockRequest *request = g_new0(MockRequest, 1);
    MockMessage *command = mock_message_new();

    command->id = mock->next_id++;
    command->command = write ? MOCK_DMA_WRITE : MOCK_DMA_READ;
    mock_put(command->body, iova, 8);
    mock_put(command->body, size, 8);
    if (write) {
        g_byte_array_append(command->body, buffer, size);
    }
    request->command = command;
    if (!mock->negotiated) {
        request->done = true;
        request->result = -ENOTCONN;
    }
    g_ptr_array_add(mock->requests, request);
    mock_wake(mock);
    return request;
}

static int check_reply(const MockRequest *request, void *buffer,
                       uint64_t size)
{
    const MockMessage *command = request->command, *reply = request->reply;
    bool read = command->command == MOCK_DMA_READ;

    if (reply->flags & MOCK_FLAG_ERROR) {
        return reply->error && reply->error < 4096 ? -(int)reply->error : -EIO;
    }
    if (reply->command != command->command ||
        reply->body->len != 16 + (read ? size : 0) ||
        memcmp(reply->body->data, command->body->data, 16)) {
        return -EPROTO;
    }
    if (read) {
        memcpy(buffer, reply->body->data + 16, size);
    }
    return 0;
}

int mock_request_finish(Mock *mock, MockRequest *request, void *buffer,
                        uint64_t size)
{
    int result = -ETIMEDOUT;

    if (request->done) {
        result = request->reply ? check_reply(request, buffer, size) :
                                  request->result;
    }
    g_ptr_array_remove(mock->requests, request);
    mock_message_free(request->command);
    mock_message_free(request->reply);
    g_free(request);
    return result;
}

void mock_request_dispatch(Mock *mock, MockMessage *reply)
{
    unsigned i;

    for (i = 0; i < mock->requests->len; i++) {
        MockRequest *request = g_ptr_array_index(mock->requests, i);

        if (request->sent && !request->done &&
            request->command->id == reply->id) {
            request->reply = reply;
            request->done = true;
            g_cond_broadcast(&mock->changed);
            return;
        }
    }
    mock_message_free(reply);
}

void mock_request_fail_all(Mock *mock)
{
    unsigned i;

    for (i = 0; i < mock->requests->len; i++) {
        MockRequest *request = g_ptr_array_index(mock->requests, i);

        if (!request->done) {
            request->done = true;
            request->result = -ENOTCONN;
        }
    }
    g_cond_broadcast(&mock->changed);
}

/* The next request to send as bytes, or NULL; it is in the journal then */
static GByteArray *next_bytes(Mock *mock)
{
    MOCK_LOCK_GUARD(mock);
    uint8_t header[MOCK_HEADER_SIZE];
    GByteArray *bytes;
    unsigned i;

    for (i = 0; i < mock->requests->len; i++) {
        MockRequest *request = g_ptr_array_index(mock->requests, i);
        MockEntry entry = {
            .time_us = g_get_monotonic_time(),
            .direction = MOCK_S2C,
            .command = request->command->command,
            .id = request->command->id,
            .twin = mock->twin.fd >= 0,
        };

        if (request->sent || request->done) {
            continue;
        }
        request->sent = true;
        mock_entry_describe(&entry, request->command);
        mock_journal_append(mock, &entry);
        bytes = g_byte_array_new();
        mock_header_put(request->command, header);
        g_byte_array_append(bytes, header, sizeof(header));
        g_byte_array_append(bytes, request->command->body->data,
                            request->command->body->len);
        return bytes;
    }
    return NULL;
}

MockIo mock_request_send_all(Mock *mock)
{
    for (;;) {
        g_autoptr(GByteArray) bytes = next_bytes(mock);
        MockIo io;

        if (!bytes) {
            return MOCK_IO_OK;
        }
        io = mock_connection_send_command(mock, bytes->data, bytes->len);
        if (io != MOCK_IO_OK) {
            return io;
        }
    }
}

/* One message's worth, by the server's own thread */
static MockIo exchange(Mock *mock, bool write, uint64_t iova, uint8_t *buffer,
                       uint64_t size, int *result)
{
    int64_t deadline = mock_deadline(DOORBELL_TIMEOUT_MS);
    MockRequest *request;
    MockIo io = MOCK_IO_OK;
    bool done;

    g_mutex_lock(&mock->lock);
    request = mock_request_new(mock, write, iova, buffer, size);
    done = request->done;
    g_mutex_unlock(&mock->lock);
    while (!done && io == MOCK_IO_OK && g_get_monotonic_time() < deadline) {
        io = mock_pump(mock, deadline);
        g_mutex_lock(&mock->lock);
        done = request->done;
        g_mutex_unlock(&mock->lock);
    }
    g_mutex_lock(&mock->lock);
    *result = mock_request_finish(mock, request, buffer, size);
    g_mutex_unlock(&mock->lock);
    return io;
}

MockIo mock_doorbell_by_message(Mock *mock)
{
    g_autofree uint8_t *buffer = NULL;
    MockDoorbell bell;
    uint64_t limit;
    uint32_t done = 0, sum = 0, i;
    int result = 0;
    MockIo io = MOCK_IO_OK;

    g_mutex_lock(&mock->lock);
    bell = mock->device.doorbell;
    mock->device.doorbell.wanted = false;
    limit = MIN(mock->client_max_data_xfer_size,
                mock->config.max_data_xfer_size);
    g_mutex_unlock(&mock->lock);
    if (!bell.wanted) {
        return MOCK_IO_OK;
    }
    buffer = g_malloc(bell.size);
    memset(buffer, bell.pattern, bell.size);
    limit = MAX(limit, 1);
    while (done < bell.size && !result && io == MOCK_IO_OK) {
        uint32_t part = MIN(bell.size - done, limit);

        io = exchange(mock, bell.write, bell.iova + done, buffer, part,
                      &result);
        for (i = 0; !bell.write && i < part; i++) {
            sum += buffer[i];
        }
        done += part;
    }
    g_mutex_lock(&mock->lock);
    mock->device.dma_status = -result;
    mock->device.dma_result = bell.write ? mock->device.dma_result : sum;
    g_mutex_unlock(&mock->lock);
    return io;
}

static int by_message(Mock *mock, bool write, uint64_t iova, void *buffer,
                      size_t size, unsigned timeout_ms)
{
    MOCK_LOCK_GUARD(mock);
    int64_t deadline = mock_deadline(timeout_ms);
    MockRequest *request = mock_request_new(mock, write, iova, buffer, size);

    while (!request->done) {
        if (!g_cond_wait_until(&mock->changed, &mock->lock, deadline)) {
            break;
        }
    }
    return mock_request_finish(mock, request, buffer, size);
}

int mock_dma_write_by_message(Mock *mock, uint64_t iova, const void *buffer,
                              size_t size, unsigned timeout_ms)
{
    return by_message(mock, true, iova, (void *)buffer, size, timeout_ms);
}

int mock_dma_read_by_message(Mock *mock, uint64_t iova, void *buffer,
                             size_t size, unsigned timeout_ms)
{
    return by_message(mock, false, iova, buffer, size, timeout_ms);
}
