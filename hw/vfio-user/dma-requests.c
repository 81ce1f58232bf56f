/*
 * vfio-user container: DMA_MAP and DMA_UNMAP, sent one behind the other, and
 * their answers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "qapi/error.h"
#include "qemu/error-report.h"
#include "container-internal.h"
#include "trace.h"

static int vfio_user_container_end_map(VFIOUserContainer *user,
                                       VFIOUserDMARequest *request, int ret,
                                       Error *err)
{
    VFIOUserMapping *mapping = request->mapping;

    trace_vfio_user_dma_map(mapping->iova, mapping->size, mapping->offset,
                            mapping->fd, ret);
    if (ret) {
        vfio_user_container_refused(user, mapping, ret, err);
    }
    return ret;
}

/* The bitmap in the reply, if there is one to be had. */
static bool vfio_user_container_read_unmap(VFIOUserContainer *user,
                                           VFIOUserDMARequest *request,
                                           uint8_t *bitmap, Error **errp)
{
    const VFIOUserMapping *mapping = request->mapping;
    const uint8_t *payload = vfio_user_call_payload(&request->call);
    size_t size = vfio_user_call_payload_size(&request->call);

    if (!bitmap) {
        return vfio_user_wire_get_dma_unmap(payload, size, mapping->iova,
                                            mapping->size, errp);
    }
    return vfio_user_wire_get_dma_unmap_bitmap(payload, size, mapping->iova,
                                               mapping->size,
                                               qemu_real_host_page_size(),
                                               bitmap, errp);
}

/* What is not known for certain counts as dirty. */
static int vfio_user_container_end_unmap(VFIOUserContainer *user,
                                         VFIOUserDMARequest *request, int ret,
                                         Error *err)
{
    VFIOUserMapping *mapping = request->mapping;
    g_autofree uint8_t *bitmap = NULL;

    if (request->bitmap) {
        bitmap = g_malloc0(vfio_user_wire_bitmap_size(
                               mapping->size, qemu_real_host_page_size()));
    }
    if (!ret && !vfio_user_container_read_unmap(user, request, bitmap, &err)) {
        ret = vfio_user_device_protocol_error(user->device,
                                              request->call.command, &err);
    }
    trace_vfio_user_dma_unmap(mapping->iova, mapping->size, request->bitmap,
                              ret);
    if (request->bitmap) {
        vfio_user_mapping_mark_dirty(mapping, ret ? NULL : bitmap);
    }
    if (ret) {
        error_prepend(&err, "memory at 0x%" PRIx64 ", size 0x%" PRIx64
                      ", remains in the device's reach: ",
                      (uint64_t)mapping->iova, (uint64_t)mapping->size);
        vfio_user_device_report(user->device, err);
    }
    vfio_user_mapping_free(mapping);
    return 0;
}

/* @request, which is taken over, has ended with @ret and @err. */
static int vfio_user_container_end(VFIOUserContainer *user,
                                   VFIOUserDMARequest *request, int ret,
                                   Error *err)
{
    if (request->call.command == VFIO_USER_DMA_MAP) {
        ret = vfio_user_container_end_map(user, request, ret, err);
    } else {
        ret = vfio_user_container_end_unmap(user, request, ret, err);
    }
    vfio_user_msg_free(request->call.reply);
    g_free(request);
    return ret;
}

/* Wait for the answer to the oldest request. */
static int vfio_user_container_settle_one(VFIOUserContainer *user)
{
    VFIOUserDMARequest *request = QTAILQ_FIRST(&user->requests);
    Error *err = NULL;
    int ret;

    ret = vfio_user_session_wait(user->device->session, &request->call, &err);
    QTAILQ_REMOVE(&user->requests, request, next);
    user->num_requests--;
    user->num_map_requests -= request->call.command == VFIO_USER_DMA_MAP;
    return vfio_user_container_end(user, request, ret, err);
}

int vfio_user_container_settle(VFIOUserContainer *user)
{
    int first = 0;

    while (user->num_requests) {
        int ret = vfio_user_container_settle_one(user);

        first = first ?: ret;
    }
    vfio_user_container_end_queries(user);
    return first;
}

static int vfio_user_container_send(VFIOUserContainer *user,
                                    VFIOUserDMARequest *request)
{
    VFIOUserSession *session = user->device->session;
    unsigned int window = vfio_user_session_window(session);
    Error *err = NULL;
    int ret;

    ret = vfio_user_session_send(session, &request->call, &err);
    if (ret) {
        return vfio_user_container_end(user, request, ret, err);
    }
    QTAILQ_INSERT_TAIL(&user->requests, request, next);
    user->num_requests++;
    user->num_map_requests += request->call.command == VFIO_USER_DMA_MAP;
    if (user->num_requests < window) {
        return 0;
    }
    ret = vfio_user_container_settle_one(user);
    return window == 1 ? ret : 0;
}

static VFIOUserDMARequest *vfio_user_container_request(VFIOUserMapping *mapping,
                                                       uint16_t command,
                                                       size_t size)
{
    VFIOUserDMARequest *request = g_new0(VFIOUserDMARequest, 1);

    request->mapping = mapping;
    request->call.command = command;
    request->call.deadline = VFIO_USER_DEADLINE_MAP;
    request->call.head = &request->head;
    request->call.head_size = size;
    return request;
}

int vfio_user_container_send_map(VFIOUserContainer *user,
                                 VFIOUserMapping *mapping)
{
    VFIOUserDMARequest *request;
    Error *err = NULL;

    /* before it is sent: the server may use it before it has answered */
    if (!vfio_user_dma_table_add(user->table, mapping->iova, mapping->size,
                                 mapping->flags, mapping->mr,
                                 mapping->offset)) {
        error_setg(&err, "something is mapped there");
        vfio_user_container_refused(user, mapping, -EEXIST, err);
        return -EEXIST;
    }
    mapping->told = true;
    request = vfio_user_container_request(mapping, VFIO_USER_DMA_MAP,
                                          sizeof(request->head.map));
    vfio_user_wire_put_dma_map(&request->head.map, mapping->flags,
                               mapping->fd < 0 ? 0 : mapping->offset,
                               mapping->iova, mapping->size);
    request->call.fds = &mapping->fd;
    request->call.num_fds = mapping->fd >= 0;
    return vfio_user_container_send(user, request);
}

void vfio_user_container_send_unmap(VFIOUserContainer *user,
                                    VFIOUserMapping *mapping)
{
    uint64_t pgsize = qemu_real_host_page_size();
    VFIOUserDMARequest *request =
        vfio_user_container_request(mapping, VFIO_USER_DMA_UNMAP,
                                    sizeof(request->head.unmap.unmap));

    request->bitmap = vfio_user_container_is_logged(user, mapping);
    if (request->bitmap) {
        request->call.head_size = sizeof(request->head.unmap);
        vfio_user_wire_put_dma_unmap_bitmap(&request->head.unmap,
                                            mapping->iova, mapping->size,
                                            pgsize);
        request->call.max_reply =
            sizeof(request->head.unmap) +
            vfio_user_wire_bitmap_size(mapping->size, pgsize);
    } else {
        vfio_user_wire_put_dma_unmap(&request->head.unmap.unmap, 0,
                                     mapping->iova, mapping->size);
        request->call.max_reply = sizeof(request->head.unmap);
    }
    vfio_user_container_send(user, request);
}
