/*
 * Tests of the mock: DMA table, access to memory, dirty log, DMA by message.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test-mock-client.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define SIZE 0x80000ull         /* 128 pages: two words of bitmap */
#define FILE_OFFSET 0x3000ull
#define IOVA 0x100000ull

static MockConfig config;

static int memory_new(uint8_t **memory)
{
    int fd = memfd_create("test", 0);

    g_assert_cmpint(ftruncate(fd, FILE_OFFSET + SIZE), ==, 0);
    *memory = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
                   FILE_OFFSET);
    g_assert_true(*memory != MAP_FAILED);
    return fd;
}

static void memory_free(int fd, uint8_t *memory)
{
    munmap(memory, SIZE);
    close(fd);
}

static void open_with(Client *client, MockBehaviour behaviour)
{
    mock_config_init(&config);
    config.behaviour = behaviour;
    config.pgsize = 4096;
    test_client_open(client, &config);
}

static uint32_t unmap(Client *client, uint32_t flags, uint64_t iova,
                      uint64_t size)
{
    Bytes payload = { .size = 0 };
    Reply reply;
    uint32_t error;

    test_put(&payload, 24, 4);
    test_put(&payload, flags, 4);
    test_put(&payload, iova, 8);
    test_put(&payload, size, 8);
    error = test_call(client, 3, &payload, NULL, 0, &reply);
    if (!error) {
        g_assert_cmpmem(reply.body, reply.length, payload.data, 24);
    }
    test_reply_clear(&reply);
    return error;
}

static uint32_t dirty(Client *client, uint32_t flags)
{
    Bytes payload = { .size = 0 };
    Reply reply;
    uint32_t error;

    test_put(&payload, 8, 4);
    test_put(&payload, flags, 4);
    error = test_call(client, 14, &payload, NULL, 0, &reply);
    g_assert_cmpuint(reply.length, ==, 0);
    test_reply_clear(&reply);
    return error;
}

static uint32_t dirty_get(Client *client, uint32_t argsz, uint64_t iova,
                          uint64_t size, uint64_t pgsize, uint64_t bytes,
                          uint64_t bits[2])
{
    Bytes payload = { .size = 0 };
    Reply reply;
    uint32_t error;

    test_put(&payload, argsz, 4);
    test_put(&payload, 4, 4);
    test_put(&payload, iova, 8);
    test_put(&payload, size, 8);
    test_put(&payload, pgsize, 8);
    test_put(&payload, bytes, 8);
    error = test_call(client, 14, &payload, NULL, 0, &reply);
    if (!error && argsz >= 56) {
        g_assert_cmpuint(reply.length, ==, 40 + bytes);
        g_assert_cmpmem(reply.body + 8, 32, payload.data + 8, 32);
        bits[0] = test_get(reply.body + 40, 8);
        bits[1] = test_get(reply.body + 48, 8);
    } else if (!error) {
        g_assert_cmpuint(reply.length, ==, argsz);
        g_assert_cmpuint(test_get(reply.body, 4), ==, 40 + bytes);
    }
    test_reply_clear(&reply);
    return error;
}

static void test_map_cases(void)
{
    Client client;
    uint8_t *memory;
    bool has_fd;
    int fd = memory_new(&memory), other;

    open_with(&client, MOCK_BEHAVIOUR_LVU1);
    g_assert_cmpuint(test_map(&client, IOVA, SIZE, FILE_OFFSET, fd), ==, 0);
    g_assert_true(mock_dma_is_mapped(client.mock, IOVA, SIZE, &has_fd));
    g_assert_true(has_fd);
    g_assert_false(mock_dma_is_mapped(client.mock, IOVA, SIZE - 1, NULL));
    g_assert_cmpuint(test_map(&client, IOVA, SIZE, FILE_OFFSET, fd), ==, 0);
    g_assert_cmpuint(mock_dma_region_count(client.mock), ==, 1);
    g_assert_cmpuint(test_map(&client, IOVA, SIZE, 0, fd), ==, EINVAL);
    other = memfd_create("other", 0);
    g_assert_cmpint(ftruncate(other, FILE_OFFSET + SIZE), ==, 0);
    g_assert_cmpuint(test_map(&client, IOVA, SIZE, FILE_OFFSET, other), ==,
                     EINVAL);
    close(other);
    g_assert_cmpuint(test_map(&client, IOVA + SIZE - 1, 1, 0, -1), ==, EINVAL);
    g_assert_cmpuint(test_map(&client, IOVA - 1, 1, 0, -1), ==, 0);
    g_assert_true(mock_dma_is_mapped(client.mock, IOVA - 1, 1, &has_fd));
    g_assert_false(has_fd);
    g_assert_cmpuint(test_map(&client, ~0ull, 2, 0, -1), ==, EINVAL);
    g_assert_cmpuint(test_map(&client, 0, 0, 0, -1), ==, EINVAL);
    g_assert_cmpuint(test_map(&client, 1ull << 50, (8ull << 40) + 1, 0, -1),
                     ==, ENOSPC);
    /* More than the file has would be SIGBUS later */
    g_assert_cmpuint(test_map(&client, 1 << 30, SIZE, FILE_OFFSET + 1, fd), ==,
                     EINVAL);
    g_assert_cmpuint(unmap(&client, 0, IOVA, SIZE - 1), ==, ENOENT);
    g_assert_cmpuint(unmap(&client, 0, IOVA, SIZE), ==, 0);
    g_assert_cmpuint(unmap(&client, 0, IOVA, SIZE), ==, ENOENT);
    g_assert_cmpuint(unmap(&client, 2, IOVA, 0), ==, EINVAL);
    g_assert_cmpuint(unmap(&client, 3, 0, 0), ==, EINVAL);
    g_assert_cmpuint(unmap(&client, 2, 0, 0), ==, 0);
    g_assert_cmpuint(mock_dma_region_count(client.mock), ==, 0);
    test_client_close(&client);

    open_with(&client, MOCK_BEHAVIOUR_STRICT);
    g_assert_cmpuint(test_map(&client, IOVA, SIZE, 0, -1), ==, 0);
    g_assert_cmpuint(test_map(&client, IOVA + 1, 1, 0, -1), ==, EEXIST);
    test_client_close(&client);

    config.max_dma_regions = 1;
    test_client_open(&client, &config);
    g_assert_cmpuint(test_map(&client, IOVA, SIZE, 0, -1), ==, 0);
    g_assert_cmpuint(test_map(&client, IOVA + SIZE, 1, 0, -1), ==, EINVAL);
    test_client_close(&client);
    memory_free(fd, memory);
}

static void test_access(void)
{
    static const char text[] = "written by the mock";
    char back[sizeof(text)];
    Client client;
    uint8_t *memory;
    uint64_t value;
    int fd = memory_new(&memory);

    open_with(&client, MOCK_BEHAVIOUR_LVU1);
    g_assert_cmpuint(test_map(&client, IOVA, SIZE, FILE_OFFSET, fd), ==, 0);
    g_assert_cmpint(mock_dma_write(client.mock, IOVA + 0x1234, text,
                                   sizeof(text)), ==, 0);
    g_assert_cmpmem(memory + 0x1234, sizeof(text), text, sizeof(text));
    g_assert_cmpint(mock_dma_read(client.mock, IOVA + 0x1234, back,
                                  sizeof(back)), ==, 0);
    g_assert_cmpmem(back, sizeof(back), text, sizeof(text));
    g_assert_cmpint(mock_dma_write(client.mock, IOVA + SIZE - 1, text, 2), ==,
                    -ENOENT);
    g_assert_cmpint(mock_dma_write(client.mock, IOVA - 1, text, 2), ==,
                    -ENOENT);
    g_assert_cmpuint(test_map(&client, 0, 0x1000, 0, -1), ==, 0);
    g_assert_cmpint(mock_dma_write(client.mock, 0, text, 2), ==, -ENODEV);
    /* The same by the device's registers */
    g_assert_cmpuint(test_write(&client, 0, 0x10, 8, IOVA + 0x5000), ==, 0);
    g_assert_cmpuint(test_write(&client, 0, 0x18, 4, 0x2000), ==, 0);
    g_assert_cmpuint(test_write(&client, 0, 0x1c, 4, 0x77), ==, 0);
    g_assert_cmpuint(test_write(&client, 0, 0x20, 4, 1), ==, 0);
    g_assert_cmphex(memory[0x4fff], ==, 0);
    g_assert_cmphex(memory[0x5000], ==, 0x77);
    g_assert_cmphex(memory[0x6fff], ==, 0x77);
    g_assert_cmphex(memory[0x7000], ==, 0);
    g_assert_cmpuint(test_write(&client, 0, 0x20, 4, 2), ==, 0);
    g_assert_cmpuint(test_read(&client, 0, 0x24, 4, &value), ==, 0);
    g_assert_cmpuint(value, ==, 0x77 * 0x2000);
    g_assert_cmpuint(test_write(&client, 0, 0x10, 8, 1ull << 40), ==, 0);
    g_assert_cmpuint(test_write(&client, 0, 0x20, 4, 1), ==, 0);
    g_assert_cmpuint(test_read(&client, 0, 0x08, 4, &value), ==, 0);
    g_assert_cmpuint(value, ==, ENOENT);
    test_client_close(&client);
    memory_free(fd, memory);
}

static void test_dirty_log(void)
{
    Client client;
    uint8_t *memory;
    uint64_t bits[2];
    int fd = memory_new(&memory);

    open_with(&client, MOCK_BEHAVIOUR_LVU1);
    g_assert_cmpuint(test_map(&client, IOVA, SIZE, FILE_OFFSET, fd), ==, 0);
    g_assert_cmpuint(test_map(&client, 0, 0x1000, 0, -1), ==, 0);
    g_assert_cmpuint(dirty_get(&client, 56, IOVA, SIZE, 4096, 16, bits), ==,
                     EINVAL);
    g_assert_cmpint(mock_dma_write(client.mock, IOVA, "x", 1), ==, 0);
    g_assert_cmpuint(dirty(&client, 1), ==, 0);
    g_assert_true(mock_dirty_is_logging(client.mock));
    g_assert_cmpint(mock_dma_write(client.mock, IOVA + 0x1fff, "xy", 2), ==,
                    0);
    g_assert_cmpint(mock_dma_write(client.mock, IOVA + 127 * 4096, "x", 1), ==,
                    0);
    g_assert_cmpint(mock_dma_write(client.mock, IOVA + 20 * 4096 - 1, "x", 1),
                    ==, 0);
    g_assert_cmpint(mock_dma_read(client.mock, IOVA + 9 * 4096, bits, 1), ==,
                    0);
    g_assert_cmpuint(dirty_get(&client, 55, IOVA, SIZE, 4096, 16, bits), ==,
                     0);
    g_assert_cmpuint(dirty_get(&client, 56, IOVA, SIZE, 8192, 16, bits), ==,
                     EINVAL);
    g_assert_cmpuint(dirty_get(&client, 56, IOVA, SIZE, 4096, 8, bits), ==,
                     EINVAL);
    g_assert_cmpuint(dirty_get(&client, 56, IOVA, SIZE - 4096, 4096, 16, bits),
                     ==, ENOENT);
    g_assert_cmpuint(dirty_get(&client, 56, 0, 0x1000, 4096, 8, bits), ==,
                     EINVAL);
    g_assert_cmpuint(dirty_get(&client, 56, IOVA, SIZE, 4096, 16, bits), ==,
                     0);
    g_assert_cmphex(bits[0], ==, 0x80006);
    g_assert_cmphex(bits[1], ==, 1ull << 63);
    g_assert_cmpuint(dirty_get(&client, 56, IOVA, SIZE, 4096, 16, bits), ==,
                     0);
    g_assert_cmphex(bits[0] | bits[1], ==, 0);
    g_assert_cmpuint(dirty(&client, 2), ==, 0);
    g_assert_cmpuint(dirty(&client, 3), ==, EINVAL);
    g_assert_cmpuint(dirty_get(&client, 56, IOVA, SIZE, 4096, 16, bits), ==,
                     EINVAL);
    test_client_close(&client);

    config.no_migration = true;
    test_client_open(&client, &config);
    g_assert_cmpuint(dirty(&client, 1), ==, ENOTSUP);
    test_client_close(&client);
    memory_free(fd, memory);
}

static void test_unmap_bitmap(void)
{
    Bytes payload = { .size = 0 };
    Client client;
    Reply reply;
    uint8_t *memory;
    int fd = memory_new(&memory);

    open_with(&client, MOCK_BEHAVIOUR_LVU1);
    g_assert_cmpuint(dirty(&client, 1), ==, 0);
    g_assert_cmpuint(test_map(&client, IOVA, SIZE, FILE_OFFSET, fd), ==, 0);
    g_assert_cmpint(mock_dma_write(client.mock, IOVA + 5 * 4096, "x", 1), ==,
                    0);
    test_put(&payload, 56, 4);
    test_put(&payload, 1, 4);
    test_put(&payload, IOVA, 8);
    test_put(&payload, SIZE, 8);
    test_put(&payload, 4096, 8);
    test_put(&payload, 16, 8);
    g_assert_cmpuint(test_call(&client, 3, &payload, NULL, 0, &reply), ==, 0);
    g_assert_cmpuint(reply.length, ==, 56);
    g_assert_cmpmem(reply.body, 40, payload.data, 40);
    g_assert_cmphex(test_get(reply.body + 40, 8), ==, 0x20);
    test_reply_clear(&reply);
    g_assert_cmpuint(mock_dma_region_count(client.mock), ==, 0);
    test_client_close(&client);
    memory_free(fd, memory);
}

/* Play the client's part of one DMA message; fill is what a read gives */
static void serve_dma(Client *client, uint16_t command, uint64_t iova,
                      uint64_t size, uint8_t fill)
{
    uint32_t more = command == 11 ? size : 0;
    Bytes bytes = { .size = 0 };
    Reply request;

    g_assert_true(test_receive(client, &request));
    g_assert_cmpuint(request.command, ==, command);
    g_assert_cmphex(request.flags, ==, 0);
    g_assert_cmphex(test_get(request.body, 8), ==, iova);
    g_assert_cmpuint(test_get(request.body + 8, 8), ==, size);
    if (command == 12) {
        g_assert_cmpuint(request.length, ==, 16 + size);
        g_assert_cmphex(request.body[16], ==, fill);
        g_assert_cmphex(request.body[15 + size], ==, fill);
    }
    test_put(&bytes, request.id, 2);
    test_put(&bytes, command, 2);
    test_put(&bytes, 32 + more, 4);
    test_put(&bytes, 1, 4);
    test_put(&bytes, 0, 4);
    test_put(&bytes, iova, 8);
    test_put(&bytes, size, 8);
    memset(bytes.data + 32, fill, more);
    g_assert_cmpint(write(client->fd, bytes.data, 32 + more), ==, 32 + more);
    test_reply_clear(&request);
}

/* Memory without fd: the doorbell's reply comes after the DMA messages */
static void test_doorbell_message(void)
{
    Bytes payload = { .size = 0 };
    Client client;
    Reply reply;
    uint64_t value;

    open_with(&client, MOCK_BEHAVIOUR_LVU1);
    g_assert_cmpuint(test_map(&client, IOVA, SIZE, 0, -1), ==, 0);
    g_assert_cmpuint(test_write(&client, 0, 0x10, 8, IOVA + 8), ==, 0);
    g_assert_cmpuint(test_write(&client, 0, 0x18, 4, 100), ==, 0);
    g_assert_cmpuint(test_write(&client, 0, 0x1c, 4, 0x99), ==, 0);
    test_put(&payload, 0x20, 8);
    test_put(&payload, 0, 4);
    test_put(&payload, 4, 4);
    test_put(&payload, 1, 4);
    test_send(&client, 10, 0, &payload, NULL, 0);
    serve_dma(&client, 12, IOVA + 8, 100, 0x99);
    g_assert_true(test_receive(&client, &reply));
    g_assert_cmpuint(reply.command, ==, 10);
    test_reply_clear(&reply);
    payload.data[16] = 2;
    test_send(&client, 10, 0, &payload, NULL, 0);
    serve_dma(&client, 11, IOVA + 8, 100, 7);
    g_assert_true(test_receive(&client, &reply));
    test_reply_clear(&reply);
    g_assert_cmpuint(test_read(&client, 0, 0x24, 4, &value), ==, 0);
    g_assert_cmpuint(value, ==, 700);
    g_assert_cmpuint(test_read(&client, 0, 0x08, 4, &value), ==, 0);
    g_assert_cmpuint(value, ==, 0);
    test_client_close(&client);
}

static void *write_by_message(void *opaque)
{
    uint8_t data[3] = { 5, 5, 5 };

    return GINT_TO_POINTER(mock_dma_write_by_message(opaque, 0x123, data, 3,
                                                     TEST_TIMEOUT_MS));
}

static void *read_by_message(void *opaque)
{
    uint8_t data[3] = { 0 };
    int result = mock_dma_read_by_message(opaque, 0x456, data, 3,
                                          TEST_TIMEOUT_MS);

    return GINT_TO_POINTER(result ? result : data[2]);
}

static void test_dma_by_message(void)
{
    Client client;
    GThread *thread;

    open_with(&client, MOCK_BEHAVIOUR_LVU1);
    thread = g_thread_new("write", write_by_message, client.mock);
    serve_dma(&client, 12, 0x123, 3, 5);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, 0);
    thread = g_thread_new("read", read_by_message, client.mock);
    serve_dma(&client, 11, 0x456, 3, 9);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, 9);
    /* Nobody answers; then nobody is there */
    g_assert_cmpint(mock_dma_write_by_message(client.mock, 0, "x", 1, 1), ==,
                    -ETIMEDOUT);
    thread = g_thread_new("write", write_by_message, client.mock);
    shutdown(client.fd, SHUT_RDWR);
    g_assert_cmpint(GPOINTER_TO_INT(g_thread_join(thread)), ==, -ENOTCONN);
    test_client_close(&client);
}

void test_mock_add_dma(void)
{
    g_test_add_func("/mock/dma/map", test_map_cases);
    g_test_add_func("/mock/dma/access", test_access);
    g_test_add_func("/mock/dma/dirty-log", test_dirty_log);
    g_test_add_func("/mock/dma/unmap-bitmap", test_unmap_bitmap);
    g_test_add_func("/mock/dma/doorbell-message", test_doorbell_message);
    g_test_add_func("/mock/dma/by-message", test_dma_by_message);
}
