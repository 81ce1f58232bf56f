/*
 * From a command's payload to its reply's payload: checks that hold for every
 * command, then whoever knows it.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <errno.h>
#include <unistd.h>

#define CLIENT_MAX_FDS 1024

static int execute_version(Mock *mock, MockMessage *command,
                           MockMessage *reply)
{
    const MockConfig *config = &mock->config;
    MockVersion version;
    int error = mock_version_get(&version, command->body);

    if (error || command->num_fds || version.major != config->version_major ||
        version.max_msg_fds > CLIENT_MAX_FDS) {
        return -EINVAL;
    }
    if (!config->no_migration && version.has_pgsize &&
        version.pgsize != config->pgsize) {
        return -EINVAL;
    }
    mock->client_max_msg_fds = version.max_msg_fds;
    mock->client_max_data_xfer_size = version.max_data_xfer_size;
    version.minor = MIN(version.minor, config->version_minor);
    version.max_msg_fds = config->max_msg_fds;
    version.max_data_xfer_size = config->max_data_xfer_size;
    version.has_pgsize = !config->no_migration;
    version.pgsize = config->pgsize;
    version.twin_socket = version.twin_socket && config->twin_socket;
    if (version.twin_socket) {
        int fd = mock_twin_open(mock);

        if (fd < 0) {
            return fd;
        }
        mock_message_add_fd(reply, fd);
        close(fd);
    }
    if (config->no_capabilities) {
        mock_put(reply->body, version.major, 2);
        mock_put(reply->body, version.minor, 2);
    } else {
        mock_version_put(reply->body, &version, config->capabilities);
    }
    mock->negotiated = true;
    return 0;
}

static int execute_region_read(Mock *mock, MockReader *reader,
                               MockMessage *reply)
{
    uint64_t offset = mock_get(reader, 8);
    uint32_t region = mock_get(reader, 4);
    uint32_t count = mock_get(reader, 4);

    if (reader->bad || count > mock->config.max_data_xfer_size ||
        !mock_migration_allows_region(mock, region)) {
        return -EINVAL;
    }
    if (!count) {
        return 0;
    }
    mock_put(reply->body, offset, 8);
    mock_put(reply->body, region, 4);
    mock_put(reply->body, count, 4);
    mock_put_zeros(reply->body, count);
    return mock_region_read(mock, region, offset, reply->body->data + 16,
                            count);
}

static int execute_region_write(Mock *mock, MockReader *reader,
                                MockMessage *reply)
{
    uint64_t offset = mock_get(reader, 8);
    uint32_t region = mock_get(reader, 4);
    uint32_t count = mock_get(reader, 4);

    if (reader->bad || mock_get_left(reader) != count ||
        !mock_migration_allows_region(mock, region)) {
        return -EINVAL;
    }
    if (!count) {
        return 0;
    }
    mock_put(reply->body, offset, 8);
    mock_put(reply->body, region, 4);
    mock_put(reply->body, count, 4);
    return mock_region_write(mock, region, offset,
                             reader->data + reader->position, count);
}

static int execute_negotiated(Mock *mock, MockMessage *command,
                              MockMessage *reply)
{
    MockReader reader = mock_reader(command->body->data, command->body->len);

    switch (command->command) {
    case MOCK_DMA_MAP:
        return mock_dma_map(mock, command);
    case MOCK_DMA_UNMAP:
        return mock_dma_unmap(mock, command, reply);
    case MOCK_DEVICE_GET_INFO:
        return mock_device_get_info(mock, command, reply);
    case MOCK_DEVICE_GET_REGION_INFO:
        return mock_region_get_info(mock, command, reply);
    case MOCK_DEVICE_GET_REGION_IO_FDS:
        return mock_region_get_io_fds(mock, command, reply);
    case MOCK_DEVICE_GET_IRQ_INFO:
        return mock_irq_get_info(mock, command, reply);
    case MOCK_DEVICE_SET_IRQS:
        return mock_irq_set(mock, command);
    case MOCK_REGION_READ:
        return execute_region_read(mock, &reader, reply);
    case MOCK_REGION_WRITE:
        return execute_region_write(mock, &reader, reply);
    case MOCK_DEVICE_RESET:
        return mock_migration_reset(mock);
    case MOCK_DIRTY_PAGES:
        return mock_dirty_pages(mock, command, reply);
    default:
        return -EINVAL;
    }
}

/*
 * The specification wants error replies without payload; libvfio-user leaves
 * there what a region access had already built.
 */
static void clear_payload(Mock *mock, MockMessage *reply)
{
    bool access = reply->command == MOCK_REGION_READ ||
                  reply->command == MOCK_REGION_WRITE;

    if (mock->config.behaviour != MOCK_BEHAVIOUR_LVU1 || !access) {
        g_byte_array_set_size(reply->body, 0);
    }
}

int mock_execute(Mock *mock, MockMessage *command, MockMessage *reply)
{
    int error;

    if ((command->flags & MOCK_FLAG_TYPE_MASK) ||
        command->num_fds > mock->config.max_msg_fds ||
        (!command->body->len && command->command != MOCK_DEVICE_RESET)) {
        return -EINVAL;
    }
    if (!mock->negotiated) {
        return command->command == MOCK_VERSION ?
               execute_version(mock, command, reply) : -EINVAL;
    }
    if (!mock_migration_allows(mock, command->command)) {
        return -EINVAL;
    }
    error = execute_negotiated(mock, command, reply);
    if (error) {
        clear_payload(mock, reply);
    }
    return error;
}
