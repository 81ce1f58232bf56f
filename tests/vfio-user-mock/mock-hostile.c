/*
 * What only a hostile server does: it takes back memory that is mapped, asks
 * for what makes no sense, and for more than anybody needs.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "mock-internal.h"
#include <errno.h>
#include <unistd.h>

int mock_shrink_region(Mock *mock, uint32_t region, uint64_t size)
{
    MOCK_LOCK_GUARD(mock);
    int fd = region == MOCK_REGION_BAR2 ? mock->device.bar2_fd :
             region == MOCK_REGION_MIGRATION ? mock->migration.fd : -1;
    uint64_t offset = region == MOCK_REGION_BAR2 ? MOCK_BAR2_FILE_OFFSET :
                                                   MOCK_MIG_FILE_OFFSET;

    if (fd < 0) {
        return -EBADF;
    }
    return ftruncate(fd, offset + size) ? -errno : 0;
}

int mock_shrink_memory(Mock *mock, uint64_t iova)
{
    MOCK_LOCK_GUARD(mock);
    unsigned i;

    for (i = 0; i < mock->dma.regions->len; i++) {
        const MockDmaRegion *region = g_ptr_array_index(mock->dma.regions, i);

        if (iova >= region->iova && iova - region->iova < region->size &&
            region->fd >= 0) {
            return ftruncate(region->fd, 0) ? -errno : 0;
        }
    }
    return -ENOENT;
}

/* Until @request has its answer; false after the deadline.  Lock held. */
static bool wait_done(Mock *mock, const MockRequest *request,
                      int64_t deadline)
{
    while (!request->done) {
        if (!g_cond_wait_until(&mock->changed, &mock->lock, deadline)) {
            return false;
        }
    }
    return true;
}

int mock_ask(Mock *mock, uint16_t command, const void *body, size_t size,
             unsigned timeout_ms)
{
    MOCK_LOCK_GUARD(mock);
    MockRequest *request = mock_request_new(mock, false, 0, NULL, 0);
    MockMessage *message = request->command;
    int result = -ETIMEDOUT;

    message->command = command;
    g_byte_array_set_size(message->body, 0);
    g_byte_array_append(message->body, body, size);
    if (wait_done(mock, request, mock_deadline(timeout_ms))) {
        result = !request->reply ? request->result :
                 request->reply->flags & MOCK_FLAG_ERROR ?
                 -(int)request->reply->error : 0;
    }
    mock_request_finish(mock, request, NULL, 0);
    return result;
}

unsigned mock_flood(Mock *mock, uint64_t iova, size_t size, unsigned number,
                    unsigned window, unsigned timeout_ms)
{
    MOCK_LOCK_GUARD(mock);
    g_autofree MockRequest **requests = g_new0(MockRequest *, window);
    g_autofree uint8_t *buffer = g_malloc(size);
    int64_t deadline = mock_deadline(timeout_ms);
    unsigned sent = 0, done = 0, good = 0;

    while (done < number) {
        MockRequest **slot;

        if (sent < number && sent - done < window) {
            requests[sent++ % window] = mock_request_new(mock, false, iova,
                                                         NULL, size);
            continue;
        }
        slot = &requests[done++ % window];
        wait_done(mock, *slot, deadline);
        good += !mock_request_finish(mock, *slot, buffer, size);
    }
    return good;
}
