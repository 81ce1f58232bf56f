/*
 * A raw client for the mock's own tests: bytes as they are on the wire, put
 * together without the mock's codec.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef VFIO_USER_TEST_MOCK_CLIENT_H
#define VFIO_USER_TEST_MOCK_CLIENT_H

#include "mock.h"

#define TEST_TIMEOUT_MS 10000

typedef struct Client {
    Mock *mock;
    int fd;
    uint16_t id;                /* of the last command sent */
} Client;

/* A received message; test_reply_clear() closes its fds. */
typedef struct Reply {
    uint16_t id;
    uint16_t command;
    uint32_t size;
    uint32_t flags;
    uint32_t error;
    uint8_t *body;
    uint32_t length;            /* of the body */
    unsigned num_fds;
    int fds[32];
} Reply;

/* Bytes of a payload in the making */
typedef struct Bytes {
    uint8_t data[70000];
    uint32_t size;
} Bytes;

/* mock_config_init(), then a mock served over a socketpair, no VERSION yet */
void test_client_open_raw(Client *client, const MockConfig *config);
/* The same, and VERSION with 8 fds and 1 MiB */
void test_client_open(Client *client, const MockConfig *config);
void test_client_version(Client *client);
/* Connect to a mock that listens */
void test_client_connect(Client *client, const char *path);
/* Close the socket and free the mock */
void test_client_close(Client *client);

void test_put(Bytes *bytes, uint64_t value, unsigned width);
uint64_t test_get(const void *data, unsigned width);

/* Send one command without waiting for its reply */
void test_send(Client *client, uint16_t command, uint32_t flags,
               const Bytes *payload, const int *fds, unsigned num_fds);
/* Receive one message; false at end of file. Fails the test on a timeout. */
bool test_receive(Client *client, Reply *reply);
void test_reply_clear(Reply *reply);

/* One round trip; checks id, command and type. Returns the reply's errno. */
uint32_t test_call(Client *client, uint16_t command, const Bytes *payload,
                   const int *fds, unsigned num_fds, Reply *reply);
/* The same for DEVICE_GET_REGION_INFO of region @index, with this argsz. */
uint32_t test_region_query(Client *client, uint32_t index, uint32_t argsz,
                           Reply *reply);

/* Region access of 1..8 bytes; the reply's errno */
uint32_t test_read(Client *client, uint32_t region, uint64_t offset,
                   unsigned width, uint64_t *value);
uint32_t test_write(Client *client, uint32_t region, uint64_t offset,
                    unsigned width, uint64_t value);
uint32_t test_state(Client *client);
uint32_t test_set_state(Client *client, uint32_t state);

/* DMA_MAP with flags read and write */
uint32_t test_map(Client *client, uint64_t iova, uint64_t size,
                  uint64_t offset, int fd);

void test_mock_add_device(void);
void test_mock_add_dma(void);
void test_mock_add_hostile(void);
void test_mock_add_migration(void);
void test_mock_add_script(void);
void test_mock_add_journal(void);

#endif /* VFIO_USER_TEST_MOCK_CLIENT_H */
