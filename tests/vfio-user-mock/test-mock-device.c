/*
 * Tests of the mock: version, information, registers, interrupts, reset.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "test-mock-client.h"
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static MockConfig config;

static void send_raw(Client *client, const void *data, size_t size)
{
    g_assert_cmpint(send(client->fd, data, size, MSG_NOSIGNAL), ==, size);
}

static void receive_raw(Client *client, void *data, size_t size)
{
    g_assert_cmpint(recv(client->fd, data, size, MSG_WAITALL), ==, size);
}

/* Typed byte by byte from the specification's tables */
static void test_version_golden(void)
{
    static const uint8_t request[] =
        "\x34\x12" "\x01\x00" "\x16\x00\x00\x00" "\x00\x00\x00\x00"
        "\x00\x00\x00\x00" "\x00\x00" "\x05\x00" "{}";
    static const uint8_t expected[] =
        "\x34\x12" "\x01\x00" "\x70\x00\x00\x00" "\x01\x00\x00\x00"
        "\x00\x00\x00\x00" "\x00\x00" "\x01\x00"
        "{\"capabilities\":{\"max_msg_fds\":8,\"max_data_xfer_size\":1048576,"
        "\"migration\":{\"pgsize\":4096}}}";
    uint8_t got[sizeof(expected)];
    Client client;

    mock_config_init(&config);
    config.pgsize = 4096;
    test_client_open_raw(&client, &config);
    g_assert_cmpuint(sizeof(request), ==, 16 + 4 + 3);
    send_raw(&client, request, 6);
    send_raw(&client, request + 6, sizeof(request) - 6 - 1);
    /* The size above leaves out the NUL: the JSON does not end with one */
    receive_raw(&client, got, 16);
    g_assert_cmphex(test_get(got + 8, 4), ==, 0x21);
    g_assert_cmpuint(test_get(got + 12, 4), ==, EINVAL);
    test_client_close(&client);

    test_client_open_raw(&client, &config);
    send_raw(&client, request, 4);
    send_raw(&client, "\x17", 1);
    send_raw(&client, request + 5, sizeof(request) - 5);
    receive_raw(&client, got, sizeof(got));
    g_assert_cmpmem(got, sizeof(got), expected, sizeof(expected));
    test_client_close(&client);
}

static uint32_t try_version(uint16_t major, const char *json, bool *alive)
{
    Bytes payload = { .size = 0 };
    Client client;
    Reply reply;
    uint32_t error;

    test_client_open_raw(&client, &config);
    test_put(&payload, major, 2);
    test_put(&payload, 0, 2);
    if (json) {
        memcpy(payload.data + 4, json, strlen(json) + 1);
        payload.size += strlen(json) + 1;
    }
    error = test_call(&client, 1, &payload, NULL, 0, &reply);
    test_reply_clear(&reply);
    *alive = true;
    if (error) {
        *alive = test_receive(&client, &reply);
    }
    test_client_close(&client);
    return error;
}

static void test_version_checks(void)
{
    static const struct {
        uint16_t major;
        const char *json;
        uint32_t error;
    } cases[] = {
        { 0, NULL, 0 },
        { 0, "{}", 0 },
        { 0, "{\"capabilities\":{\"unknown\":true}}", 0 },
        { 0, "{\"capabilities\":{\"max_msg_fds\":1024}}", 0 },
        { 1, "{}", EINVAL },
        { 0, "nonsense", EINVAL },
        { 0, "{\"capabilities\":[]}", EINVAL },
        { 0, "{\"capabilities\":{\"max_msg_fds\":-1}}", EINVAL },
        { 0, "{\"capabilities\":{\"max_msg_fds\":1025}}", EINVAL },
        { 0, "{\"capabilities\":{\"max_msg_fds\":\"8\"}}", EINVAL },
        { 0, "{\"capabilities\":{\"migration\":{\"pgsize\":12345}}}", EINVAL },
    };
    size_t i;
    bool alive;

    mock_config_init(&config);
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpuint(try_version(cases[i].major, cases[i].json, &alive),
                         ==, cases[i].error);
        g_assert_cmpint(alive, ==, !cases[i].error);
    }
}

static void test_version_first(void)
{
    Bytes payload = { .size = 0 };
    Client client;
    Reply reply;

    mock_config_init(&config);
    test_client_open_raw(&client, &config);
    test_put(&payload, 16, 4);
    test_put(&payload, 0, 8);
    test_put(&payload, 0, 4);
    g_assert_cmpuint(test_call(&client, 4, &payload, NULL, 0, &reply), ==,
                     EINVAL);
    test_reply_clear(&reply);
    g_assert_false(test_receive(&client, &reply));
    test_client_close(&client);
}

static void test_bad_messages(void)
{
    static const uint8_t reply_typed[32] =
        "\x07\x00" "\x04\x00" "\x20\x00\x00\x00" "\x01\x00\x00\x00";
    Bytes payload = { .size = 16 };
    Client client;
    Reply reply;

    mock_config_init(&config);
    test_client_open(&client, &config);
    memset(payload.data, 0, 16);
    g_assert_cmpuint(test_call(&client, 99, &payload, NULL, 0, &reply), ==,
                     EINVAL);
    test_reply_clear(&reply);
    g_assert_cmpuint(test_call(&client, 4, NULL, NULL, 0, &reply), ==, EINVAL);
    test_reply_clear(&reply);
    g_assert_cmpuint(test_call(&client, 4, &payload, NULL, 0, &reply), ==,
                     EINVAL);
    test_reply_clear(&reply);
    /* A reply to nothing is read and dropped; the stream stays in step */
    send_raw(&client, reply_typed, sizeof(reply_typed));
    g_assert_cmpuint(test_call(&client, 13, NULL, NULL, 0, &reply), ==, 0);
    test_reply_clear(&reply);
    g_assert_cmpuint(mock_reset_count(client.mock), ==, 1);
    /* A length below the header's ends the connection */
    send_raw(&client, "\x01\x00\x04\x00\x0f\x00\x00\x00\0\0\0\0\0\0\0\0", 16);
    g_assert_true(test_receive(&client, &reply));
    g_assert_cmpuint(reply.error, ==, EINVAL);
    test_reply_clear(&reply);
    g_assert_false(test_receive(&client, &reply));
    test_client_close(&client);
}

static void test_no_reply(void)
{
    Bytes payload = { .size = 0 };
    Client client;
    uint64_t value;

    mock_config_init(&config);
    test_client_open(&client, &config);
    test_put(&payload, MOCK_BAR0_SCRATCH, 8);
    test_put(&payload, 0, 4);
    test_put(&payload, 4, 4);
    test_put(&payload, 0xfeedf00d, 4);
    test_send(&client, 10, 0x10, &payload, NULL, 0);
    payload.data[8] = 77;       /* no such region: silent too */
    test_send(&client, 10, 0x10, &payload, NULL, 0);
    g_assert_cmpuint(test_read(&client, 0, MOCK_BAR0_SCRATCH, 4, &value), ==,
                     0);
    g_assert_cmphex(value, ==, 0xfeedf00d);
    test_client_close(&client);
}

static void test_device_info(void)
{
    static const uint8_t expected[16] =
        "\x10\0\0\0" "\x03\0\0\0" "\x0a\0\0\0" "\x05\0\0";
    Bytes payload = { .size = 0 };
    Client client;
    Reply reply;

    mock_config_init(&config);
    test_client_open(&client, &config);
    test_put(&payload, 16, 4);
    test_put(&payload, 0, 8);
    test_put(&payload, 0, 4);
    g_assert_cmpuint(test_call(&client, 4, &payload, NULL, 0, &reply), ==, 0);
    g_assert_cmpmem(reply.body, reply.length, expected, 16);
    test_reply_clear(&reply);
    test_client_close(&client);
}

static void test_region_info(void)
{
    static const struct {
        uint32_t index;
        uint32_t argsz;
        uint32_t flags;
        uint64_t size;
    } cases[] = {
        { 0, 32, 3, 5000 }, { 1, 32, 0, 0 }, { 2, 32, 0, 0 },
        { 4, 32, 3, 4096 }, { 6, 32, 0, 0 }, { 7, 32, 3, 256 },
        { 8, 32, 0, 0 }, { 9, 48, 3, 4096 + (1 << 20) },
    };
    Client client;
    Reply reply;
    size_t i;

    mock_config_init(&config);
    config.bar0_size = 5000;
    test_client_open(&client, &config);
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpuint(test_region_query(&client, cases[i].index, 32,
                                           &reply), ==, 0);
        g_assert_cmpuint(reply.length, ==, 32);
        g_assert_cmpuint(test_get(reply.body, 4), ==, cases[i].argsz);
        g_assert_cmphex(test_get(reply.body + 4, 4), ==, cases[i].flags);
        g_assert_cmpuint(test_get(reply.body + 8, 4), ==, cases[i].index);
        g_assert_cmpuint(test_get(reply.body + 16, 8), ==, cases[i].size);
        test_reply_clear(&reply);
    }
    g_assert_cmpuint(test_region_query(&client, 10, 32, &reply), ==, EINVAL);
    test_reply_clear(&reply);
    g_assert_cmpuint(test_region_query(&client, 0, 31, &reply), ==, EINVAL);
    test_reply_clear(&reply);
    test_client_close(&client);
}

static void test_region_info_type(void)
{
    static const uint8_t cap[16] = "\x02\0" "\x01\0" "\0\0\0\0"
                                   "\x03\0\0\0" "\x01\0\0";
    Client client;
    Reply reply;

    mock_config_init(&config);
    test_client_open(&client, &config);
    g_assert_cmpuint(test_region_query(&client, 9, 48, &reply), ==, 0);
    g_assert_cmpuint(reply.length, ==, 48);
    g_assert_cmphex(test_get(reply.body + 4, 4), ==, 0xb);
    g_assert_cmpuint(test_get(reply.body + 12, 4), ==, 32);
    g_assert_cmpmem(reply.body + 32, 16, cap, 16);
    test_reply_clear(&reply);
    test_client_close(&client);

    config.no_migration = true;
    test_client_open(&client, &config);
    g_assert_cmpuint(test_region_query(&client, 9, 48, &reply), ==, 0);
    g_assert_cmpuint(test_get(reply.body, 4), ==, 32);
    g_assert_cmpuint(test_get(reply.body + 16, 8), ==, 0);
    test_reply_clear(&reply);
    test_client_close(&client);
}

/* Two areas, an fd each, and what is written there is in the region */
static void test_region_mmap(void)
{
    uint64_t page = sysconf(_SC_PAGE_SIZE), value;
    Client client;
    Reply reply;
    uint8_t *memory;

    mock_config_init(&config);
    config.bar2_size = 5 * page;
    config.bar2_areas = 2;
    test_client_open(&client, &config);
    g_assert_cmpuint(test_region_query(&client, 2, 80, &reply), ==, 0);
    g_assert_cmphex(test_get(reply.body + 4, 4), ==, 0xf);
    g_assert_cmpuint(reply.num_fds, ==, 2);
    g_assert_cmpuint(reply.length, ==, 32 + 16 + 2 * 16);
    g_assert_cmpuint(test_get(reply.body + 32, 2), ==, 1);
    g_assert_cmpuint(test_get(reply.body + 40, 4), ==, 2);
    g_assert_cmpuint(test_get(reply.body + 48, 8), ==, page);
    g_assert_cmpuint(test_get(reply.body + 56, 8), ==, 2 * page);
    g_assert_cmpuint(test_get(reply.body + 64, 8), ==, 3 * page);
    memory = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED,
                  reply.fds[1], test_get(reply.body + 24, 8) + 3 * page);
    g_assert_true(memory != MAP_FAILED);
    memory[5] = 0x5a;
    g_assert_cmpuint(test_read(&client, 2, 3 * page + 5, 1, &value), ==, 0);
    g_assert_cmphex(value, ==, 0x5a);
    munmap(memory, 2 * page);
    test_reply_clear(&reply);
    /* Too little room: no capabilities, no fds, the size that is needed */
    g_assert_cmpuint(test_region_query(&client, 2, 79, &reply), ==, 0);
    g_assert_cmpuint(test_get(reply.body, 4), ==, 80);
    g_assert_cmphex(test_get(reply.body + 4, 4), ==, 7);
    g_assert_cmpuint(reply.num_fds, ==, 0);
    test_reply_clear(&reply);
    test_client_close(&client);

    config.bar2_size = 20 * page;
    config.bar2_areas = 9;      /* more than the 8 fds the client takes */
    test_client_open(&client, &config);
    g_assert_cmpuint(test_region_query(&client, 2, 4096, &reply), ==, ENOSPC);
    test_reply_clear(&reply);
    test_client_close(&client);
}

static void test_config_space(void)
{
    static const struct {
        uint64_t offset;
        unsigned width;
        uint64_t write;         /* all ones are written, this is read back */
        uint64_t value;
    } cases[] = {
        { 0x00, 4, 0x7fe54d4b, 0x7fe54d4b },
        { 0x04, 2, 0x0546, 0 },
        { 0x06, 2, 0x0010, 0x0010 },
        { 0x08, 4, 0x00ff0001, 0x00ff0001 },
        { 0x10, 4, 0xffffe000, 0 },             /* 5000 bytes: 8192 */
        { 0x14, 4, 0, 0 },
        { 0x20, 4, 0xfffff000, 0 },
        { 0x2c, 4, 0x00014d4b, 0x00014d4b },
        { 0x34, 1, 0x40, 0x40 },
        { 0x3d, 1, 1, 1 },
        { 0x40, 4, 0xc0035011, 0x00035011 },
        { 0x44, 4, 4, 4 },
        { 0x48, 4, 0x804, 0x804 },
        { 0x50, 4, 0x00f10005, 0x00800005 },
    };
    Client client;
    uint64_t value;
    size_t i;

    mock_config_init(&config);
    config.bar0_size = 5000;
    config.msi = true;
    test_client_open(&client, &config);
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_assert_cmpuint(test_read(&client, 7, cases[i].offset, cases[i].width,
                                   &value), ==, 0);
        g_assert_cmphex(value, ==, cases[i].value);
        g_assert_cmpuint(test_write(&client, 7, cases[i].offset,
                                    cases[i].width, ~0ull), ==, 0);
        g_assert_cmpuint(test_read(&client, 7, cases[i].offset, cases[i].width,
                                   &value), ==, 0);
        g_assert_cmphex(value, ==, cases[i].write);
    }
    g_assert_cmpuint(test_read(&client, 7, 254, 4, &value), ==, EINVAL);
    test_client_close(&client);
}

static void test_registers(void)
{
    Client client;
    uint64_t value;
    Reply reply;

    mock_config_init(&config);
    test_client_open(&client, &config);
    g_assert_cmpuint(test_read(&client, 0, 0, 4, &value), ==, 0);
    g_assert_cmphex(value, ==, MOCK_BAR0_ID_VALUE);
    g_assert_cmpuint(test_write(&client, 0, 0xf8, 8, 0x1122334455667788), ==,
                     0);
    g_assert_cmphex(mock_scratch_get(client.mock, 15), ==,
                    0x1122334455667788);
    mock_scratch_set(client.mock, 2, 0xabcdef);
    g_assert_cmpuint(test_read(&client, 0, 0x91, 1, &value), ==, 0);
    g_assert_cmphex(value, ==, 0xcd);
    g_assert_cmpuint(test_read(&client, 0, 4092, 8, &value), ==, EINVAL);
    g_assert_cmpuint(test_read(&client, 0, ~0ull, 8, &value), ==, EINVAL);
    g_assert_cmpuint(test_read(&client, 1, 0, 4, &value), ==, EINVAL);
    g_assert_cmpuint(test_read(&client, 1000, 0, 4, &value), ==, EINVAL);
    g_assert_cmpuint(test_call(&client, 13, NULL, NULL, 0, &reply), ==, 0);
    test_reply_clear(&reply);
    g_assert_cmpuint(test_read(&client, 0, 0xf8, 8, &value), ==, 0);
    g_assert_cmphex(value, ==, 0);
    g_assert_cmpuint(test_read(&client, 0, 4, 4, &value), ==, 0);
    g_assert_cmpuint(value, ==, 1);
    test_client_close(&client);
}

static uint32_t set_irqs(Client *client, uint32_t flags, uint32_t index,
                         uint32_t start, uint32_t count, const int *fds,
                         unsigned num_fds)
{
    Bytes payload = { .size = 0 };
    Reply reply;
    uint32_t error;

    test_put(&payload, 20, 4);
    test_put(&payload, flags, 4);
    test_put(&payload, index, 4);
    test_put(&payload, start, 4);
    test_put(&payload, count, 4);
    error = test_call(client, 8, &payload, fds, num_fds, &reply);
    test_reply_clear(&reply);
    return error;
}

static uint64_t take_event(int fd)
{
    uint64_t number = 0;

    return read(fd, &number, sizeof(number)) < 0 ? 0 : number;
}

static void test_irq_msix(void)
{
    Client client;
    int fds[9], i;

    mock_config_init(&config);
    config.num_msix_vectors = 16;
    test_client_open(&client, &config);
    for (i = 0; i < 9; i++) {
        fds[i] = eventfd(0, EFD_NONBLOCK);
    }
    g_assert_cmpuint(set_irqs(&client, 0x24, 2, 0, 9, fds, 9), ==, EINVAL);
    g_assert_cmpuint(set_irqs(&client, 0x24, 2, 3, 2, fds, 1), ==, EINVAL);
    g_assert_cmpuint(set_irqs(&client, 0x24, 2, 15, 2, fds, 2), ==, EINVAL);
    g_assert_cmpuint(mock_irq_count(client.mock, 2), ==, 0);
    g_assert_cmpuint(set_irqs(&client, 0x24, 2, 3, 2, fds, 2), ==, 0);
    g_assert_cmpuint(mock_irq_count(client.mock, 2), ==, 2);
    g_assert_cmpint(mock_raise_irq(client.mock, 2, 4), ==, 0);
    g_assert_cmpuint(take_event(fds[0]), ==, 0);
    g_assert_cmpuint(take_event(fds[1]), ==, 1);
    g_assert_cmpuint(test_write(&client, 0, MOCK_BAR0_IRQ_TRIGGER, 4, 3), ==,
                     0);
    g_assert_cmpuint(take_event(fds[0]), ==, 1);
    g_assert_cmpuint(set_irqs(&client, 0x21, 2, 3, 2, NULL, 0), ==, 0);
    g_assert_cmpuint(take_event(fds[0]), ==, 1);
    g_assert_cmpint(mock_raise_irq(client.mock, 2, 5), ==, -ENOENT);
    g_assert_cmpint(mock_raise_irq(client.mock, 2, 16), ==, -EINVAL);
    g_assert_cmpuint(set_irqs(&client, 0x24, 2, 4, 1, NULL, 0), ==, 0);
    g_assert_cmpuint(mock_irq_count(client.mock, 2), ==, 1);
    g_assert_cmpuint(set_irqs(&client, 0x21, 2, 0, 0, NULL, 0), ==, 0);
    g_assert_cmpuint(mock_irq_count(client.mock, 2), ==, 0);
    g_assert_cmpuint(set_irqs(&client, 0x21, 1, 0, 0, NULL, 0), ==, EINVAL);
    g_assert_cmpuint(set_irqs(&client, 0x0c, 3, 0, 1, NULL, 0), ==, EINVAL);
    for (i = 0; i < 9; i++) {
        close(fds[i]);
    }
    test_client_close(&client);
}

static void test_irq_intx(void)
{
    Client client;
    uint64_t value;
    int fd = eventfd(0, EFD_NONBLOCK);

    mock_config_init(&config);
    test_client_open(&client, &config);
    g_assert_cmpuint(set_irqs(&client, 0x24, 0, 0, 1, &fd, 1), ==, 0);
    g_assert_cmpuint(set_irqs(&client, 0x09, 0, 0, 1, NULL, 0), ==, 0);
    g_assert_cmpint(mock_raise_irq(client.mock, 0, 0), ==, 0);
    g_assert_cmpuint(take_event(fd), ==, 0);
    g_assert_cmpuint(set_irqs(&client, 0x11, 0, 0, 1, NULL, 0), ==, 0);
    g_assert_cmpuint(take_event(fd), ==, 1);
    g_assert_cmpuint(test_read(&client, 0, MOCK_BAR0_INTX_STATUS, 4, &value),
                     ==, 0);
    g_assert_cmpuint(value, ==, 1);
    test_write(&client, 0, MOCK_BAR0_INTX_STATUS, 4, 1);
    g_assert_cmpuint(test_read(&client, 0, MOCK_BAR0_INTX_STATUS, 4, &value),
                     ==, 0);
    g_assert_cmpuint(value, ==, 0);
    close(fd);
    test_client_close(&client);
}

/* An eventfd that unmasks does so when it is written, each time */
static void test_irq_unmask_fd(void)
{
    int fd = eventfd(0, EFD_NONBLOCK), unmask = eventfd(0, EFD_NONBLOCK), i;
    Client client;

    mock_config_init(&config);
    test_client_open(&client, &config);
    g_assert_cmpuint(set_irqs(&client, 0x24, 0, 0, 1, &fd, 1), ==, 0);
    g_assert_false(mock_wait_unmask(client.mock, 0));
    g_assert_cmpuint(set_irqs(&client, 0x14, 0, 0, 1, &unmask, 1), ==, 0);
    for (i = 0; i < 2; i++) {
        g_assert_cmpuint(set_irqs(&client, 0x09, 0, 0, 1, NULL, 0), ==, 0);
        g_assert_cmpint(mock_raise_irq(client.mock, 0, 0), ==, 0);
        g_assert_false(mock_wait_unmask(client.mock, 0));
        g_assert_cmpuint(take_event(fd), ==, 0);
        g_assert_cmpint(eventfd_write(unmask, 1), ==, 0);
        g_assert_true(mock_wait_unmask(client.mock, 0));
        g_assert_cmpuint(take_event(fd), ==, 1);
    }
    g_assert_cmpuint(set_irqs(&client, 0x14, 0, 0, 1, NULL, 0), ==, 0);
    g_assert_cmpint(eventfd_write(unmask, 1), ==, 0);
    g_assert_false(mock_wait_unmask(client.mock, 0));
    close(fd);
    close(unmask);
    test_client_close(&client);
}

static void test_irq_info(void)
{
    static const uint32_t counts[] = { 1, 0, 4, 1, 1 };
    Client client;
    Reply reply;
    uint32_t i;

    mock_config_init(&config);
    test_client_open(&client, &config);
    for (i = 0; i <= G_N_ELEMENTS(counts); i++) {
        Bytes payload = { .size = 0 };
        uint32_t error = i < G_N_ELEMENTS(counts) ? 0 : EINVAL;

        test_put(&payload, 16, 4);
        test_put(&payload, 0, 4);
        test_put(&payload, i, 4);
        test_put(&payload, 0, 4);
        g_assert_cmpuint(test_call(&client, 7, &payload, NULL, 0, &reply), ==,
                         error);
        if (!error) {
            g_assert_cmpuint(test_get(reply.body + 4, 4), ==, 1);
            g_assert_cmpuint(test_get(reply.body + 12, 4), ==, counts[i]);
        }
        test_reply_clear(&reply);
    }
    test_client_close(&client);
}

static void test_config_refused(void)
{
    static const struct {
        size_t offset;
        uint64_t value;
    } cases[] = {
        { offsetof(MockConfig, migration_size), 511 },
        { offsetof(MockConfig, chunk_size), (1 << 20) + 1 },
        { offsetof(MockConfig, window_size), 4095 },
        { offsetof(MockConfig, pgsize), 4095 },
        { offsetof(MockConfig, bar2_size), 100 },
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        mock_config_init(&config);
        *(uint64_t *)((char *)&config + cases[i].offset) = cases[i].value;
        g_assert_null(mock_new(&config, &error));
        g_assert_nonnull(error);
    }
}

void test_mock_add_device(void)
{
    g_test_add_func("/mock/version/golden", test_version_golden);
    g_test_add_func("/mock/version/checks", test_version_checks);
    g_test_add_func("/mock/version/first", test_version_first);
    g_test_add_func("/mock/message/bad", test_bad_messages);
    g_test_add_func("/mock/message/no-reply", test_no_reply);
    g_test_add_func("/mock/info/device", test_device_info);
    g_test_add_func("/mock/info/region", test_region_info);
    g_test_add_func("/mock/info/region-type", test_region_info_type);
    g_test_add_func("/mock/info/region-mmap", test_region_mmap);
    g_test_add_func("/mock/info/irq", test_irq_info);
    g_test_add_func("/mock/device/config-space", test_config_space);
    g_test_add_func("/mock/device/registers", test_registers);
    g_test_add_func("/mock/irq/msix", test_irq_msix);
    g_test_add_func("/mock/irq/intx", test_irq_intx);
    g_test_add_func("/mock/irq/unmask-fd", test_irq_unmask_fd);
    g_test_add_func("/mock/config/refused", test_config_refused);
}
