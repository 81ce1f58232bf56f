/*
 * The mock's own codec: bytes, without any state.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VFIO_USER_MOCK_CODEC_H
#define VFIO_USER_MOCK_CODEC_H

#include "mock-journal.h"

#define MOCK_HEADER_SIZE 16
#define MOCK_MAX_FDS 64

#define MOCK_FLAG_TYPE_MASK 0x0fu
#define MOCK_FLAG_REPLY 0x01u
#define MOCK_FLAG_NO_REPLY 0x10u
#define MOCK_FLAG_ERROR 0x20u

/* One message; owns its payload and its fds. */
typedef struct MockMessage {
    uint16_t id;
    uint16_t command;
    uint32_t flags;
    uint32_t error;
    uint32_t size;              /* as the header says, with the header */
    MockEntry entry;            /* as it went into the journal */
    GByteArray *body;
    unsigned num_fds;
    int fds[MOCK_MAX_FDS];      /* -1 where one has been taken */
} MockMessage;

MockMessage *mock_message_new(void);
void mock_message_free(MockMessage *message);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(MockMessage, mock_message_free)

/* Take over fd number index; -1 if there is none. */
int mock_message_take_fd(MockMessage *message, unsigned index);

/* Append a duplicate of fd. False if that fails or the message is full. */
bool mock_message_add_fd(MockMessage *message, int fd);

void mock_header_get(MockMessage *message, const uint8_t *bytes);
/* Writes the 16 header bytes; the size is that of the present body. */
void mock_header_put(const MockMessage *message, uint8_t *bytes);

/* Cursor over received bytes; reading past the end gives 0 and sets bad. */
typedef struct MockReader {
    const uint8_t *data;
    size_t size;
    size_t position;
    bool bad;
} MockReader;

MockReader mock_reader(const void *data, size_t size);
uint64_t mock_get(MockReader *reader, unsigned width);
size_t mock_get_left(const MockReader *reader);

/* Little endian numbers of 1..8 bytes */
void mock_put(GByteArray *array, uint64_t value, unsigned width);
void mock_put_zeros(GByteArray *array, size_t size);
void mock_store(uint8_t *bytes, uint64_t value, unsigned width);
uint64_t mock_load(const uint8_t *bytes, unsigned width);

/* Number of a command by name or in digits; 0 if it is none. */
uint16_t mock_command_from_name(const char *name);

/* Fill in what the payload of a command says (region, offset, ...). */
void mock_entry_describe(MockEntry *entry, const MockMessage *message);

/* What VERSION carries, in both directions */
typedef struct MockVersion {
    uint16_t major;
    uint16_t minor;
    uint64_t max_msg_fds;
    uint64_t max_data_xfer_size;
    bool has_pgsize;
    uint64_t pgsize;
    bool twin_socket;           /* its fd is the message's first one */
} MockVersion;

/* 0 or -errno */
int mock_version_get(MockVersion *version, const GByteArray *body);
void mock_version_put(GByteArray *body, const MockVersion *version,
                      const char *capabilities);

#endif /* VFIO_USER_MOCK_CODEC_H */
