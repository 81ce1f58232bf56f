/*
 * One command from arrival to reply, bent by the script where a rule says so.
 * All of it runs in the server's thread.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <errno.h>
#include <unistd.h>

static void record(Mock *mock, MockMessage *message, MockDirection direction)
{
    MockEntry *entry = &message->entry;

    entry->time_us = g_get_monotonic_time();
    entry->direction = direction;
    entry->type = message->flags & MOCK_FLAG_TYPE_MASK ? MOCK_TYPE_REPLY :
                                                         MOCK_TYPE_COMMAND;
    entry->command = message->command;
    entry->id = message->id;
    entry->no_reply = message->flags & MOCK_FLAG_NO_REPLY;
    entry->error = message->flags & MOCK_FLAG_ERROR ? message->error : 0;
    entry->fds = message->num_fds;
    g_mutex_lock(&mock->lock);
    mock_journal_append(mock, entry);
    g_mutex_unlock(&mock->lock);
}

/* What is said about the command holds for its reply, except the value */
static void describe_reply(MockMessage *reply, const MockMessage *command)
{
    MockEntry *entry = &reply->entry;
    uint32_t size = reply->body->len;

    *entry = command->entry;
    entry->has_value = false;
    entry->value = 0;
    if (command->command == MOCK_REGION_READ && size > 16 && size <= 24 &&
        !(reply->flags & MOCK_FLAG_ERROR)) {
        entry->has_value = true;
        entry->value = mock_load(reply->body->data + 16, size - 16);
    }
}

static MockMessage *reply_new(const MockMessage *command)
{
    MockMessage *reply = mock_message_new();

    reply->id = command->id;
    reply->command = command->command;
    reply->flags = MOCK_FLAG_REPLY;
    return reply;
}

static void set_error(MockMessage *reply, uint32_t error)
{
    reply->flags |= MOCK_FLAG_ERROR;
    reply->error = error;
}

/* --- what arrives --- */

static MockIo refuse_length(Mock *mock, MockMessage *header)
{
    g_autoptr(MockMessage) command = header;
    g_autoptr(MockMessage) reply = reply_new(command);
    MockIo io;

    record(mock, command, MOCK_C2S);
    set_error(reply, EINVAL);
    describe_reply(reply, command);
    record(mock, reply, MOCK_S2C);
    io = mock_connection_send_message(mock, reply);
    return io == MOCK_IO_OK ? MOCK_IO_CLOSED : io;
}

static void take_reply(Mock *mock, MockMessage *reply)
{
    unsigned i;

    g_mutex_lock(&mock->lock);
    for (i = 0; i < mock->requests->len; i++) {
        const MockRequest *request = g_ptr_array_index(mock->requests, i);

        if (request->command->id == reply->id) {
            mock_entry_describe(&reply->entry, request->command);
        }
    }
    g_mutex_unlock(&mock->lock);
    record(mock, reply, MOCK_C2S);
    g_mutex_lock(&mock->lock);
    mock_request_dispatch(mock, reply);
    g_mutex_unlock(&mock->lock);
}

static MockIo send_deferred(Mock *mock)
{
    for (;;) {
        MockDeferred *deferred = g_queue_peek_head(&mock->deferred);
        unsigned generation;
        MockIo io;

        g_mutex_lock(&mock->lock);
        generation = mock->script.generation;
        g_mutex_unlock(&mock->lock);
        if (!deferred || deferred->generation == generation) {
            return MOCK_IO_OK;
        }
        record(mock, deferred->reply, MOCK_S2C);
        io = mock_connection_send_message(mock, deferred->reply);
        mock_deferred_free(g_queue_pop_head(&mock->deferred));
        if (io != MOCK_IO_OK) {
            return io;
        }
    }
}

static MockIo receive(Mock *mock, MockConnection *connection)
{
    uint64_t max_size = mock->config.max_data_xfer_size + 32;
    MockMessage *message;
    bool bad_length;
    MockIo io;

    io = mock_connection_receive(connection, MIN(max_size, UINT32_MAX),
                                 &message, &bad_length);
    if (bad_length) {
        return refuse_length(mock, message);
    }
    if (!message) {
        return io;
    }
    message->entry.twin = connection == &mock->twin;
    if ((message->flags & MOCK_FLAG_TYPE_MASK) == MOCK_FLAG_REPLY) {
        take_reply(mock, message);
    } else {
        mock_entry_describe(&message->entry, message);
        record(mock, message, MOCK_C2S);
        g_queue_push_tail(&mock->backlog, message);
    }
    return io;
}

MockIo mock_pump(Mock *mock, int64_t deadline_us)
{
    bool connection = false, twin = false;
    MockIo io = mock_request_send_all(mock);

    if (io == MOCK_IO_OK) {
        io = send_deferred(mock);
    }
    if (io == MOCK_IO_OK) {
        io = mock_wait_for_input(mock, deadline_us, &connection, &twin);
    }
    if (io == MOCK_IO_OK && twin) {
        io = receive(mock, &mock->twin);
    }
    if (io == MOCK_IO_OK && connection) {
        io = receive(mock, &mock->connection);
    }
    return io;
}

/* --- what goes back --- */

void mock_deferred_free(MockDeferred *deferred)
{
    mock_message_free(deferred->reply);
    g_free(deferred);
}

static void defer(Mock *mock, MockMessage *reply)
{
    MockDeferred *deferred = g_new0(MockDeferred, 1);

    deferred->reply = reply;
    g_queue_push_tail(&mock->deferred, deferred);
    g_mutex_lock(&mock->lock);
    deferred->generation = mock->script.generation;
    mock->script.held++;
    g_cond_broadcast(&mock->changed);
    g_mutex_unlock(&mock->lock);
}

/* Until mock_release(), or for delay_ms if there is one */
static MockIo stall(Mock *mock, const MockRule *rule)
{
    bool timed = rule->action == MOCK_ACTION_DELAY;
    int64_t deadline = timed ? mock_deadline(rule->delay_ms) : -1;
    unsigned generation, now;
    MockIo io = MOCK_IO_OK;

    g_mutex_lock(&mock->lock);
    generation = now = mock->script.generation;
    if (!timed) {
        mock->script.held++;
        g_cond_broadcast(&mock->changed);
    }
    g_mutex_unlock(&mock->lock);
    while (io == MOCK_IO_OK &&
           (timed ? g_get_monotonic_time() < deadline : now == generation)) {
        io = mock_pump(mock, deadline);
        g_mutex_lock(&mock->lock);
        now = mock->script.generation;
        g_mutex_unlock(&mock->lock);
    }
    return io;
}

static void set_body(MockMessage *reply, GBytes *data)
{
    size_t size;
    const void *bytes = g_bytes_get_data(data, &size);

    g_byte_array_set_size(reply->body, 0);
    g_byte_array_append(reply->body, bytes, size);
}

static void close_fds(MockMessage *reply)
{
    while (reply->num_fds) {
        close(reply->fds[--reply->num_fds]);
    }
}

static void bend(Mock *mock, const MockRule *rule, GBytes *data,
                 MockMessage *reply)
{
    unsigned fds = reply->num_fds;

    switch (rule->action) {
    case MOCK_ACTION_REPLY:
        set_body(reply, data);
        reply->flags &= ~MOCK_FLAG_ERROR;
        reply->error = 0;
        break;
    case MOCK_ACTION_ERROR:
    case MOCK_ACTION_ERROR_AFTER:
        set_body(reply, data);
        set_error(reply, rule->error);
        break;
    case MOCK_ACTION_TRUNCATE:
        g_byte_array_set_size(reply->body,
                              MIN(reply->body->len, rule->bytes));
        break;
    case MOCK_ACTION_EXTEND:
        mock_put_zeros(reply->body, rule->bytes);
        break;
    case MOCK_ACTION_WRONG_ID:
        reply->id += MOCK_WRONG_ID;
        break;
    case MOCK_ACTION_WRONG_COMMAND:
        reply->command = rule->reply_command;
        break;
    case MOCK_ACTION_WRONG_TYPE:
        reply->flags &= ~MOCK_FLAG_TYPE_MASK;
        break;
    case MOCK_ACTION_EXTRA_FD:
        mock_message_add_fd(reply, mock->wake_fd);
        break;
    case MOCK_ACTION_NO_FDS:
        close_fds(reply);
        break;
    case MOCK_ACTION_OTHER_FDS:
        close_fds(reply);
        if (g_bytes_get_size(data)) {
            set_body(reply, data);
        }
        while (reply->num_fds < MAX(fds, 1)) {
            if (!mock_message_add_fd(reply, rule->fd)) {
                break;
            }
        }
        break;
    default:
        break;
    }
}

static MockIo dribble(Mock *mock, const MockRule *rule, const uint8_t *bytes,
                      size_t size, const MockMessage *reply)
{
    size_t piece = MAX(rule->bytes, 1), done = 0;
    MockIo io = MOCK_IO_OK;

    while (done < size && io == MOCK_IO_OK) {
        int64_t deadline = mock_deadline(rule->delay_ms);
        short revents;

        io = mock_connection_send(mock, bytes + done, MIN(piece, size - done),
                                  reply->fds, done ? 0 : reply->num_fds);
        done += piece;
        while (io == MOCK_IO_OK && done < size &&
               g_get_monotonic_time() < deadline) {
            io = mock_wait_for(mock, -1, 0, deadline, &revents);
        }
    }
    return io;
}

static MockIo send_bytes(Mock *mock, const MockRule *rule, MockMessage *reply)
{
    g_autoptr(GByteArray) bytes = g_byte_array_new();
    uint8_t header[MOCK_HEADER_SIZE];
    size_t size;
    MockIo io;

    mock_header_put(reply, header);
    g_byte_array_append(bytes, header, sizeof(header));
    g_byte_array_append(bytes, reply->body->data, reply->body->len);
    if (rule->action == MOCK_ACTION_MANGLE && rule->offset < bytes->len) {
        bytes->data[rule->offset] ^= rule->xor;
    }
    if (rule->action == MOCK_ACTION_DRIBBLE) {
        return dribble(mock, rule, bytes->data, bytes->len, reply);
    }
    size = rule->action == MOCK_ACTION_CUT ? MIN(rule->bytes, bytes->len) :
                                             bytes->len;
    io = mock_connection_send(mock, bytes->data, size, reply->fds,
                              reply->num_fds);
    if (io == MOCK_IO_OK && (rule->action == MOCK_ACTION_CUT ||
                             rule->action == MOCK_ACTION_CLOSE_AFTER)) {
        return MOCK_IO_CLOSED;
    }
    return io;
}

static MockIo answer(Mock *mock, const MockRule *rule, GBytes *data,
                     const MockMessage *command, MockMessage *reply_in)
{
    g_autoptr(MockMessage) reply = reply_in;
    MockIo io;

    if (command->flags & MOCK_FLAG_NO_REPLY) {
        return rule->action == MOCK_ACTION_CLOSE_AFTER ? MOCK_IO_CLOSED :
                                                         MOCK_IO_OK;
    }
    if (rule->action == MOCK_ACTION_NO_REPLY) {
        return MOCK_IO_OK;
    }
    bend(mock, rule, data, reply);
    describe_reply(reply, command);
    if (rule->action == MOCK_ACTION_DEFER) {
        defer(mock, g_steal_pointer(&reply));
        return MOCK_IO_OK;
    }
    record(mock, reply, MOCK_S2C);
    io = send_bytes(mock, rule, reply);
    if (io == MOCK_IO_OK && rule->action == MOCK_ACTION_DUPLICATE) {
        record(mock, reply, MOCK_S2C);
        io = send_bytes(mock, rule, reply);
    }
    return io;
}

MockIo mock_serve(Mock *mock, MockMessage *command_in)
{
    g_autoptr(MockMessage) command = command_in;
    g_autoptr(MockMessage) reply = reply_new(command);
    g_autoptr(GBytes) data = NULL;
    MockIo io = MOCK_IO_OK;
    bool negotiated;
    MockRule rule;
    int error;

    g_mutex_lock(&mock->lock);
    rule = mock_script_match(mock, &command->entry, &data);
    g_mutex_unlock(&mock->lock);
    if (rule.action == MOCK_ACTION_CLOSE_BEFORE) {
        return MOCK_IO_CLOSED;
    }
    if (rule.action == MOCK_ACTION_ERROR) {
        return answer(mock, &rule, data, command, g_steal_pointer(&reply));
    }
    if (rule.action == MOCK_ACTION_DELAY || rule.action == MOCK_ACTION_HOLD) {
        io = stall(mock, &rule);
        if (io != MOCK_IO_OK) {
            return io;
        }
    }
    g_mutex_lock(&mock->lock);
    error = mock_execute(mock, command, reply);
    negotiated = mock->negotiated;
    g_mutex_unlock(&mock->lock);
    if (error) {
        set_error(reply, -error);
    }
    io = mock_doorbell_by_message(mock);
    if (io != MOCK_IO_OK) {
        return io;
    }
    io = answer(mock, &rule, data, command, g_steal_pointer(&reply));
    return io == MOCK_IO_OK && !negotiated ? MOCK_IO_CLOSED : io;
}
