/*
 * The mock's own codec: message headers, numbers, names and the VERSION
 * payload. Deliberately shares nothing with the client's.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <string.h>
#include <unistd.h>

static const char *const command_names[] = {
    [MOCK_VERSION] = "VERSION",
    [MOCK_DMA_MAP] = "DMA_MAP",
    [MOCK_DMA_UNMAP] = "DMA_UNMAP",
    [MOCK_DEVICE_GET_INFO] = "DEVICE_GET_INFO",
    [MOCK_DEVICE_GET_REGION_INFO] = "DEVICE_GET_REGION_INFO",
    [MOCK_DEVICE_GET_REGION_IO_FDS] = "DEVICE_GET_REGION_IO_FDS",
    [MOCK_DEVICE_GET_IRQ_INFO] = "DEVICE_GET_IRQ_INFO",
    [MOCK_DEVICE_SET_IRQS] = "DEVICE_SET_IRQS",
    [MOCK_REGION_READ] = "REGION_READ",
    [MOCK_REGION_WRITE] = "REGION_WRITE",
    [MOCK_DMA_READ] = "DMA_READ",
    [MOCK_DMA_WRITE] = "DMA_WRITE",
    [MOCK_DEVICE_RESET] = "DEVICE_RESET",
    [MOCK_DIRTY_PAGES] = "DIRTY_PAGES",
};

static const char *numbered(const char *prefix, uint32_t number)
{
    g_autofree char *name = g_strdup_printf("%s%u", prefix, number);

    return g_intern_string(name);
}

const char *mock_command_name(uint16_t command)
{
    if (command < G_N_ELEMENTS(command_names) && command_names[command]) {
        return command_names[command];
    }
    return numbered("COMMAND_", command);
}

uint16_t mock_command_from_name(const char *name)
{
    char *end;
    guint64 number;
    uint16_t i;

    for (i = 0; i < G_N_ELEMENTS(command_names); i++) {
        if (command_names[i] && !strcmp(command_names[i], name)) {
            return i;
        }
    }
    number = g_ascii_strtoull(name, &end, 10);
    return end == name || *end || number > UINT16_MAX ? 0 : number;
}

const char *mock_state_name(uint32_t device_state)
{
    switch (device_state) {
    case MOCK_STATE_STOP:
        return "stop";
    case MOCK_STATE_RUNNING:
        return "running";
    case MOCK_STATE_STOP_COPY:
        return "stop-copy";
    case MOCK_STATE_PRE_COPY:
        return "pre-copy";
    case MOCK_STATE_RESUMING:
        return "resuming";
    case MOCK_STATE_ERROR:
        return "error";
    default:
        return numbered("state-", device_state);
    }
}

MockMessage *mock_message_new(void)
{
    MockMessage *message = g_new0(MockMessage, 1);

    message->body = g_byte_array_new();
    return message;
}

void mock_message_free(MockMessage *message)
{
    unsigned i;

    if (!message) {
        return;
    }
    for (i = 0; i < message->num_fds; i++) {
        if (message->fds[i] >= 0) {
            close(message->fds[i]);
        }
    }
    g_byte_array_unref(message->body);
    g_free(message);
}

int mock_message_take_fd(MockMessage *message, unsigned index)
{
    int fd;

    if (index >= message->num_fds) {
        return -1;
    }
    fd = message->fds[index];
    message->fds[index] = -1;
    return fd;
}

bool mock_message_add_fd(MockMessage *message, int fd)
{
    int copy;

    if (message->num_fds == MOCK_MAX_FDS) {
        return false;
    }
    copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
    if (copy < 0) {
        return false;
    }
    message->fds[message->num_fds++] = copy;
    return true;
}

void mock_store(uint8_t *bytes, uint64_t value, unsigned width)
{
    unsigned i;

    for (i = 0; i < width; i++) {
        bytes[i] = value >> (8 * i);
    }
}

uint64_t mock_load(const uint8_t *bytes, unsigned width)
{
    uint64_t value = 0;
    unsigned i;

    for (i = 0; i < width; i++) {
        value |= (uint64_t)bytes[i] << (8 * i);
    }
    return value;
}

void mock_put(GByteArray *array, uint64_t value, unsigned width)
{
    uint8_t bytes[8];

    mock_store(bytes, value, width);
    g_byte_array_append(array, bytes, width);
}

void mock_put_zeros(GByteArray *array, size_t size)
{
    size_t old = array->len;

    g_byte_array_set_size(array, old + size);
    memset(array->data + old, 0, size);
}

MockReader mock_reader(const void *data, size_t size)
{
    return (MockReader) { .data = data, .size = size };
}

uint64_t mock_get(MockReader *reader, unsigned width)
{
    uint64_t value;

    if (reader->size - reader->position < width) {
        reader->bad = true;
        reader->position = reader->size;
        return 0;
    }
    value = mock_load(reader->data + reader->position, width);
    reader->position += width;
    return value;
}

size_t mock_get_left(const MockReader *reader)
{
    return reader->size - reader->position;
}

void mock_header_get(MockMessage *message, const uint8_t *bytes)
{
    message->id = mock_load(bytes, 2);
    message->command = mock_load(bytes + 2, 2);
    message->size = mock_load(bytes + 4, 4);
    message->flags = mock_load(bytes + 8, 4);
    message->error = mock_load(bytes + 12, 4);
}

void mock_header_put(const MockMessage *message, uint8_t *bytes)
{
    mock_store(bytes, message->id, 2);
    mock_store(bytes + 2, message->command, 2);
    mock_store(bytes + 4, MOCK_HEADER_SIZE + message->body->len, 4);
    mock_store(bytes + 8, message->flags, 4);
    mock_store(bytes + 12, message->error, 4);
}

static void describe_region(MockEntry *entry, uint32_t region)
{
    entry->has_region = true;
    entry->region = region;
}

static void describe_range(MockEntry *entry, uint64_t offset, uint64_t count)
{
    entry->has_offset = entry->has_count = true;
    entry->offset = offset;
    entry->count = count;
}

static void describe_value(MockEntry *entry, uint64_t value)
{
    entry->has_value = true;
    entry->value = value;
}

static void describe_access(MockEntry *entry, MockReader *reader)
{
    uint64_t offset = mock_get(reader, 8);
    uint32_t region = mock_get(reader, 4);
    uint32_t count = mock_get(reader, 4);
    size_t left = mock_get_left(reader);

    if (reader->bad) {
        return;
    }
    describe_region(entry, region);
    describe_range(entry, offset, count);
    if (entry->command == MOCK_REGION_WRITE && left && left <= 8) {
        describe_value(entry, mock_get(reader, left));
    }
}

static void describe_dma(MockEntry *entry, MockReader *reader)
{
    uint32_t flags;
    uint64_t iova;

    mock_get(reader, 4);
    flags = mock_get(reader, 4);
    if (reader->bad) {
        return;
    }
    describe_value(entry, flags);
    if (entry->command == MOCK_DMA_MAP) {
        mock_get(reader, 8);
    }
    iova = mock_get(reader, 8);
    if (!reader->bad) {
        describe_range(entry, iova, mock_get(reader, 8));
    }
}

static void describe_irqs(MockEntry *entry, MockReader *reader)
{
    uint32_t flags, index, start, count;

    mock_get(reader, 4);
    flags = mock_get(reader, 4);
    index = mock_get(reader, 4);
    start = mock_get(reader, 4);
    count = mock_get(reader, 4);
    if (!reader->bad) {
        describe_region(entry, index);
        describe_range(entry, start, count);
        describe_value(entry, flags);
    }
}

static void describe_index(MockEntry *entry, MockReader *reader)
{
    uint32_t index;

    mock_get(reader, 8);
    index = mock_get(reader, 4);
    if (!reader->bad) {
        describe_region(entry, index);
    }
}

void mock_entry_describe(MockEntry *entry, const MockMessage *message)
{
    MockReader reader = mock_reader(message->body->data, message->body->len);
    uint64_t iova;

    entry->command = message->command;
    switch (message->command) {
    case MOCK_REGION_READ:
    case MOCK_REGION_WRITE:
        describe_access(entry, &reader);
        break;
    case MOCK_DMA_MAP:
    case MOCK_DMA_UNMAP:
    case MOCK_DIRTY_PAGES:
        describe_dma(entry, &reader);
        break;
    case MOCK_DEVICE_SET_IRQS:
        describe_irqs(entry, &reader);
        break;
    case MOCK_DEVICE_GET_REGION_INFO:
    case MOCK_DEVICE_GET_REGION_IO_FDS:
    case MOCK_DEVICE_GET_IRQ_INFO:
        describe_index(entry, &reader);
        break;
    case MOCK_DMA_READ:
    case MOCK_DMA_WRITE:
        iova = mock_get(&reader, 8);
        if (!reader.bad) {
            describe_range(entry, iova, mock_get(&reader, 8));
        }
        break;
    }
}

/* An integer of an object: absent is fine, another type or a negative not */
static bool get_number(json_object *object, const char *key, bool *present,
                       uint64_t *number)
{
    json_object *value;

    *present = json_object_object_get_ex(object, key, &value);
    if (!*present) {
        return true;
    }
    if (!json_object_is_type(value, json_type_int) ||
        json_object_get_int64(value) < 0) {
        return false;
    }
    *number = json_object_get_int64(value);
    return true;
}

static bool get_twin(MockVersion *version, json_object *caps)
{
    json_object *twin, *supported;

    if (!json_object_object_get_ex(caps, "twin_socket", &twin)) {
        return true;
    }
    if (!json_object_object_get_ex(twin, "supported", &supported) ||
        !json_object_is_type(supported, json_type_boolean)) {
        return false;
    }
    version->twin_socket = json_object_get_boolean(supported);
    return true;
}

static bool get_capabilities(MockVersion *version, json_object *top)
{
    json_object *caps, *migration;
    bool present;

    if (!json_object_object_get_ex(top, "capabilities", &caps)) {
        return true;
    }
    if (!json_object_is_type(caps, json_type_object) ||
        !get_number(caps, "max_msg_fds", &present, &version->max_msg_fds) ||
        !get_number(caps, "max_data_xfer_size", &present,
                    &version->max_data_xfer_size) ||
        !get_twin(version, caps)) {
        return false;
    }
    if (!json_object_object_get_ex(caps, "migration", &migration)) {
        return true;
    }
    return json_object_is_type(migration, json_type_object) &&
           get_number(migration, "pgsize", &version->has_pgsize,
                      &version->pgsize);
}

int mock_version_get(MockVersion *version, const GByteArray *body)
{
    MockReader reader = mock_reader(body->data, body->len);
    const char *text;
    json_object *top;
    bool good;

    *version = (MockVersion) {
        .max_msg_fds = 1,
        .max_data_xfer_size = 1 << 20,
    };
    version->major = mock_get(&reader, 2);
    version->minor = mock_get(&reader, 2);
    if (reader.bad) {
        return -EINVAL;
    }
    if (!mock_get_left(&reader)) {
        return 0;
    }
    text = (const char *)body->data + reader.position;
    if (text[mock_get_left(&reader) - 1]) {
        return -EINVAL;
    }
    top = json_tokener_parse(text);
    good = json_object_is_type(top, json_type_object) &&
           get_capabilities(version, top);
    json_object_put(top);
    return good ? 0 : -EINVAL;
}

void mock_version_put(GByteArray *body, const MockVersion *version,
                      const char *capabilities)
{
    g_autoptr(GString) text = g_string_new(NULL);

    mock_put(body, version->major, 2);
    mock_put(body, version->minor, 2);
    if (capabilities) {
        g_string_append(text, capabilities);
    } else {
        g_string_append_printf(text, "{\"capabilities\":{\"max_msg_fds\":%"
                               G_GUINT64_FORMAT ",\"max_data_xfer_size\":%"
                               G_GUINT64_FORMAT, version->max_msg_fds,
                               version->max_data_xfer_size);
        if (version->has_pgsize) {
            g_string_append_printf(text, ",\"migration\":{\"pgsize\":%"
                                   G_GUINT64_FORMAT "}", version->pgsize);
        }
        if (version->twin_socket) {
            g_string_append(text, ",\"twin_socket\":{\"supported\":true,"
                            "\"fd_index\":0}");
        }
        g_string_append(text, "}}");
    }
    g_byte_array_append(body, (const uint8_t *)text->str, text->len + 1);
}
