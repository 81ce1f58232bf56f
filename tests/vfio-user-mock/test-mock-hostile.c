/*
 * Tests of the mock: what only a hostile server does.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test-mock-client.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SIZE 0x4000

static off_t file_size(int fd)
{
    struct stat status;

    g_assert_cmpint(fstat(fd, &status), ==, 0);
    return status.st_size;
}

static void test_shrink_region(void)
{
    MockConfig config;
    Client client;
    Reply reply;
    off_t before;

    mock_config_init(&config);
    config.bar2_size = SIZE;
    config.bar2_areas = 1;
    test_client_open(&client, &config);
    g_assert_cmpuint(test_region_query(&client, 2, 4096, &reply), ==, 0);
    g_assert_cmpuint(reply.num_fds, ==, 1);
    before = file_size(reply.fds[0]);
    g_assert_cmpint(mock_shrink_region(client.mock, 2, SIZE - 1), ==, 0);
    g_assert_cmpint(file_size(reply.fds[0]), ==, before - 1);
    g_assert_cmpint(mock_shrink_region(client.mock, 2, 0), ==, 0);
    g_assert_cmpint(file_size(reply.fds[0]), ==, before - SIZE);
    g_assert_cmpint(mock_shrink_region(client.mock, 0, 0), ==, -EBADF);
    test_reply_clear(&reply);
    test_client_close(&client);
}

static void test_shrink_memory(void)
{
    MockConfig config;
    Client client;
    int fd = memfd_create("memory", MFD_CLOEXEC);
    int sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    g_assert_cmpint(ftruncate(fd, SIZE), ==, 0);
    g_assert_cmpint(ftruncate(sealed, SIZE), ==, 0);
    g_assert_cmpint(fcntl(sealed, F_ADD_SEALS, F_SEAL_SHRINK), ==, 0);
    mock_config_init(&config);
    test_client_open(&client, &config);
    g_assert_cmpuint(test_map(&client, 0, SIZE, 0, fd), ==, 0);
    g_assert_cmpuint(test_map(&client, SIZE, SIZE, 0, sealed), ==, 0);
    g_assert_cmpint(mock_shrink_memory(client.mock, 1), ==, 0);
    g_assert_cmpint(file_size(fd), ==, 0);
    g_assert_cmpint(mock_shrink_memory(client.mock, SIZE), ==, -EPERM);
    g_assert_cmpint(file_size(sealed), ==, SIZE);
    g_assert_cmpint(mock_shrink_memory(client.mock, 2 * SIZE), ==, -ENOENT);
    close(fd);
    close(sealed);
    test_client_close(&client);
}

/* Receive a command of the server's and answer, with an errno or @body. */
static void answer(Client *client, Reply *command, uint32_t error,
                   const Bytes *body)
{
    Bytes bytes = { .size = 0 };

    g_assert_true(test_receive(client, command));
    test_put(&bytes, command->id, 2);
    test_put(&bytes, command->command, 2);
    test_put(&bytes, 16 + body->size, 4);
    test_put(&bytes, error ? 0x21 : 1, 4);
    test_put(&bytes, error, 4);
    memcpy(bytes.data + bytes.size, body->data, body->size);
    bytes.size += body->size;
    g_assert_cmpint(write(client->fd, bytes.data, bytes.size), ==, bytes.size);
}

static void *ask(void *opaque)
{
    return GINT_TO_POINTER(mock_ask(opaque, 77, "abc", 3, TEST_TIMEOUT_MS));
}

static void test_ask(void)
{
    static const uint32_t errors[] = { 0, 22, 95 };
    const Bytes nothing = { .size = 0 };
    MockConfig config;
    Client client;
    GThread *thread;
    Reply command;
    size_t i;

    mock_config_init(&config);
    test_client_open(&client, &config);
    for (i = 0; i < G_N_ELEMENTS(errors); i++) {
        thread = g_thread_new("ask", ask, client.mock);
        answer(&client, &command, errors[i], &nothing);
        g_assert_cmpuint(command.command, ==, 77);
        g_assert_cmpmem(command.body, command.length, "abc", 3);
        test_reply_clear(&command);
        g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==,
                        -(int)errors[i]);
    }
    g_assert_cmpint(mock_ask(client.mock, 77, "abc", 3, 1), ==, -ETIMEDOUT);
    test_client_close(&client);
}

#define FLOOD 20
#define WINDOW 4

static void *flood(void *opaque)
{
    return GUINT_TO_POINTER(mock_flood(opaque, SIZE, 8, FLOOD, WINDOW,
                                       TEST_TIMEOUT_MS));
}

/* As many as the window has come at once; one in five fails. */
static void test_flood(void)
{
    const MockPattern sent = { .direction = MOCK_S2C, .command = 11 };
    const Bytes nothing = { .size = 0 };
    MockConfig config;
    Client client;
    GThread *thread;
    int i;

    mock_config_init(&config);
    test_client_open(&client, &config);
    thread = g_thread_new("flood", flood, client.mock);
    g_assert_cmpint(mock_journal_wait(client.mock, 0, &sent, WINDOW,
                                      TEST_TIMEOUT_MS), >=, 0);
    for (i = 0; i < FLOOD; i++) {
        Bytes body = { .size = 0 };
        Reply command;

        g_assert_cmpuint(mock_journal_count(client.mock, 0, &sent), <=,
                         WINDOW + i);
        test_put(&body, SIZE, 8);
        test_put(&body, 8, 8);
        test_put(&body, 7, 8);
        answer(&client, &command, i % 5 ? 0 : 14, i % 5 ? &body : &nothing);
        g_assert_cmpuint(command.command, ==, 11);
        test_reply_clear(&command);
    }
    g_assert_cmpuint(GPOINTER_TO_UINT(g_thread_join(thread)), ==,
                     FLOOD - FLOOD / 5);
    test_client_close(&client);
}

void test_mock_add_hostile(void)
{
    g_test_add_func("/mock/hostile/shrink-region", test_shrink_region);
    g_test_add_func("/mock/hostile/shrink-memory", test_shrink_memory);
    g_test_add_func("/mock/hostile/ask", test_ask);
    g_test_add_func("/mock/hostile/flood", test_flood);
}
