/*
 * Tests of the mock: device_state of each behaviour, the data protocol, whole
 * migrations between two mocks.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "test-mock-client.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static MockConfig config;

/* Typed from the specification and from measurements, not from the mock */
static const struct {
    MockBehaviour behaviour;
    uint32_t from;
    const char *accepted;       /* digits */
    int after_reset;            /* -1: refused */
    uint32_t after_reconnect;
} state_rows[] = {
    { MOCK_BEHAVIOUR_STRICT, 0, "1", 1, 0 },
    { MOCK_BEHAVIOUR_STRICT, 1, "0234", 1, 1 },
    { MOCK_BEHAVIOUR_STRICT, 2, "01", 1, 2 },
    { MOCK_BEHAVIOUR_STRICT, 3, "2", 1, 3 },
    { MOCK_BEHAVIOUR_STRICT, 4, "1", 1, 4 },
    { MOCK_BEHAVIOUR_STRICT, 6, "", 1, 6 },
    { MOCK_BEHAVIOUR_LVU1, 0, "01", -1, 1 },
    { MOCK_BEHAVIOUR_LVU1, 1, "012346", 1, 1 },
    { MOCK_BEHAVIOUR_LVU1, 2, "0126", -1, 1 },
    { MOCK_BEHAVIOUR_LVU1, 3, "0126", 1, 1 },
    { MOCK_BEHAVIOUR_LVU1, 4, "146", 1, 1 },
    { MOCK_BEHAVIOUR_LVU1, 6, "", -1, 6 },
    { MOCK_BEHAVIOUR_RESET_TO_RUNNING, 0, "1", -1, 1 },
    { MOCK_BEHAVIOUR_RESET_TO_RUNNING, 1, "0234", 1, 1 },
    { MOCK_BEHAVIOUR_RESET_TO_RUNNING, 2, "01", -1, 1 },
    { MOCK_BEHAVIOUR_RESET_TO_RUNNING, 3, "2", 1, 1 },
    { MOCK_BEHAVIOUR_RESET_TO_RUNNING, 4, "1", 1, 1 },
    { MOCK_BEHAVIOUR_STATE_KEPT, 0, "1", -1, 0 },
    { MOCK_BEHAVIOUR_STATE_KEPT, 1, "0234", 1, 1 },
    { MOCK_BEHAVIOUR_STATE_KEPT, 2, "01", -1, 2 },
    { MOCK_BEHAVIOUR_STATE_KEPT, 3, "2", 3, 3 },
    { MOCK_BEHAVIOUR_STATE_KEPT, 4, "1", 4, 4 },
};

/* A device in STOP with lvu1 accepts VERSION, so any state can be a start */
static void open_in(Client *client, MockBehaviour behaviour, uint32_t state)
{
    mock_config_init(&config);
    config.behaviour = behaviour;
    config.initial_state = state;
    test_client_open(client, &config);
}

static void test_state_table(void)
{
    size_t i;
    uint32_t to;

    for (i = 0; i < G_N_ELEMENTS(state_rows); i++) {
        for (to = 0; to < 9; to++) {
            bool good = strchr(state_rows[i].accepted, '0' + to);
            uint32_t from = state_rows[i].from;
            Client client;

            open_in(&client, state_rows[i].behaviour, from);
            g_assert_cmpuint(test_set_state(&client, to), ==,
                             good ? 0 : EINVAL);
            g_assert_cmpuint(test_state(&client), ==, good ? to : from);
            test_client_close(&client);
        }
    }
}

static void test_reset_table(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(state_rows); i++) {
        int after = state_rows[i].after_reset;
        Client client;
        Reply reply;

        open_in(&client, state_rows[i].behaviour, state_rows[i].from);
        g_assert_cmpuint(test_call(&client, 13, NULL, NULL, 0, &reply), ==,
                         after < 0 ? EINVAL : 0);
        test_reply_clear(&reply);
        g_assert_cmpuint(test_state(&client), ==,
                         after < 0 ? state_rows[i].from : (uint32_t)after);
        test_client_close(&client);
    }
}

static void test_reconnect_table(void)
{
    g_autofree char *folder = g_dir_make_tmp("mock-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "socket", NULL);
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(state_rows); i++) {
        Client client;

        mock_config_init(&config);
        config.behaviour = state_rows[i].behaviour;
        config.initial_state = state_rows[i].from;
        client = (Client) { .mock = mock_new(&config, NULL) };
        g_assert_true(mock_start(client.mock, path, NULL));
        test_client_connect(&client, path);
        test_client_version(&client);
        g_assert_cmpuint(test_state(&client), ==, state_rows[i].from);
        close(client.fd);
        g_assert_true(mock_wait_connected(client.mock, false,
                                          TEST_TIMEOUT_MS));
        test_client_connect(&client, path);
        test_client_version(&client);
        g_assert_cmpuint(test_state(&client), ==,
                         state_rows[i].after_reconnect);
        test_client_close(&client);
        g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    }
    rmdir(folder);
}

/* What libvfio-user answers in STOP and STOP_COPY, and a strict server */
static void test_stopped(void)
{
    Bytes payload = { .size = 0 };
    Client client;
    Reply reply;
    uint64_t value;
    uint32_t state;

    test_put(&payload, 16, 4);
    test_put(&payload, 0, 8);
    test_put(&payload, 0, 4);
    for (state = 0; state <= 2; state += 2) {
        open_in(&client, MOCK_BEHAVIOUR_LVU1, state);
        g_assert_cmpuint(test_call(&client, 4, &payload, NULL, 0, &reply), ==,
                         EINVAL);
        test_reply_clear(&reply);
        g_assert_cmpuint(test_map(&client, 0, 4096, 0, -1), ==, EINVAL);
        g_assert_cmpuint(test_read(&client, 0, 0, 4, &value), ==,
                         state == 2 ? EINVAL : 0);
        g_assert_cmpuint(test_read(&client, 7, 0, 4, &value), ==,
                         state == 2 ? EINVAL : 0);
        test_client_close(&client);
        open_in(&client, MOCK_BEHAVIOUR_STRICT, state);
        g_assert_cmpuint(test_call(&client, 4, &payload, NULL, 0, &reply), ==,
                         0);
        test_reply_clear(&reply);
        g_assert_cmpuint(test_read(&client, 0, 0, 4, &value), ==, 0);
        test_client_close(&client);
    }
}

static void test_register_access(void)
{
    Client client;
    uint64_t value;

    open_in(&client, MOCK_BEHAVIOUR_LVU1, 1);
    g_assert_cmpuint(test_read(&client, 9, 0, 8, &value), ==, EINVAL);
    g_assert_cmpuint(test_read(&client, 9, 4, 4, &value), ==, EINVAL);
    g_assert_cmpuint(test_read(&client, 9, 8, 4, &value), ==, EINVAL);
    g_assert_cmpuint(test_read(&client, 9, 32, 8, &value), ==, EINVAL);
    g_assert_cmpuint(test_write(&client, 9, 8, 8, 0), ==, EINVAL);
    g_assert_cmpuint(test_write(&client, 9, 16, 8, 0), ==, EINVAL);
    g_assert_cmpuint(test_write(&client, 9, 24, 8, 0), ==, EINVAL);
    g_assert_cmpuint(test_write(&client, 9, 0x1000, 8, 0), ==, EINVAL);
    g_assert_cmpuint(test_read(&client, 9, 8, 8, &value), ==, 0);
    g_assert_cmpuint(value, ==, 0);
    g_assert_cmpuint(test_read(&client, 9, 16, 8, &value), ==, EINVAL);
    g_assert_cmpuint(test_read(&client, 9, 24, 8, &value), ==, EINVAL);
    test_client_close(&client);
}

static uint64_t read_ok(Client *client, uint64_t offset)
{
    uint64_t value;

    g_assert_cmpuint(test_read(client, 9, offset, 8, &value), ==, 0);
    return value;
}

static void test_iterator(void)
{
    Client client;
    uint64_t value;

    open_in(&client, MOCK_BEHAVIOUR_LVU1, 1);
    g_assert_cmpuint(test_set_state(&client, 3), ==, 0);
    g_assert_cmpuint(test_read(&client, 9, 16, 8, &value), ==, EINVAL);
    g_assert_cmpuint(test_read(&client, 9, 24, 8, &value), ==, EINVAL);
    g_assert_cmpuint(test_read(&client, 9, 0x1000, 8, &value), ==, EINVAL);
    g_assert_cmpuint(read_ok(&client, 8), ==, 64 << 10);
    g_assert_cmpuint(read_ok(&client, 8), ==, 64 << 10);
    g_assert_cmpuint(test_read(&client, 9, 0x1000, 8, &value), ==, EINVAL);
    g_assert_cmpuint(read_ok(&client, 16), ==, 0x1000);
    g_assert_cmpuint(read_ok(&client, 16), ==, 0x1000);
    g_assert_cmpuint(read_ok(&client, 24), ==, 64 << 10);
    g_assert_cmpuint(test_read(&client, 9, 0x1000 + (64 << 10), 1, &value), ==,
                     EINVAL);
    read_ok(&client, 0x1000);
    /* A write of device_state starts over, with nothing delivered yet */
    g_assert_cmpuint(test_set_state(&client, 2), ==, 0);
    g_assert_cmpuint(test_read(&client, 9, 16, 8, &value), ==, EINVAL);
    g_assert_cmpuint(read_ok(&client, 8), ==, 1 << 20);
    test_client_close(&client);

    open_in(&client, MOCK_BEHAVIOUR_STRICT, 1);
    g_assert_cmpuint(test_set_state(&client, 2), ==, 0);
    g_assert_cmpuint(read_ok(&client, 8), ==, 1 << 20);
    g_assert_cmpuint(test_read(&client, 9, 24, 8, &value), ==, EINVAL);
    test_client_close(&client);
}

/* --- whole migrations --- */

typedef struct Pair {
    Client source;
    Client destination;
    unsigned chunks;
    uint64_t bytes;
} Pair;

static void pair_open(Pair *pair, const MockConfig *both)
{
    *pair = (Pair) { .chunks = 0 };
    test_client_open(&pair->source, both);
    test_client_open(&pair->destination, both);
}

static void pair_close(Pair *pair)
{
    test_client_close(&pair->source);
    test_client_close(&pair->destination);
}

static void put_access(Bytes *payload, uint64_t offset, uint32_t count)
{
    payload->size = 0;
    test_put(payload, offset, 8);
    test_put(payload, 9, 4);
    test_put(payload, count, 4);
}

/* One chunk from source to destination, in pieces; damage: byte to flip */
static void move_chunk(Pair *pair, uint64_t size, int damage)
{
    uint64_t done, part;

    g_assert_cmpuint(read_ok(&pair->destination, 16), ==, 0x1000);
    for (done = 0; done < size; done += part) {
        Bytes payload;
        Reply reply;

        part = MIN(size - done, 32768);
        put_access(&payload, 0x1000 + done, part);
        g_assert_cmpuint(test_call(&pair->source, 9, &payload, NULL, 0,
                                   &reply), ==, 0);
        g_assert_cmpuint(reply.length, ==, 16 + part);
        memcpy(payload.data + 16, reply.body + 16, part);
        payload.size += part;
        test_reply_clear(&reply);
        if (damage >= 0 && !done) {
            payload.data[16 + damage] ^= 1;
        }
        g_assert_cmpuint(test_call(&pair->destination, 10, &payload, NULL, 0,
                                   &reply), ==, 0);
        test_reply_clear(&reply);
    }
    g_assert_cmpuint(test_write(&pair->destination, 9, 24, 8, size), ==, 0);
    pair->chunks++;
    pair->bytes += size;
}

/* Move chunks while data is pending, at most limit (0: all) */
static unsigned move_all(Pair *pair, unsigned limit, int damage)
{
    unsigned moved = 0;

    while ((!limit || moved < limit) && read_ok(&pair->source, 8)) {
        g_assert_cmpuint(read_ok(&pair->source, 16), ==, 0x1000);
        move_chunk(pair, read_ok(&pair->source, 24), damage);
        moved++;
    }
    return moved;
}

static void states(Client *client, const char *digits)
{
    for (; *digits; digits++) {
        g_assert_cmpuint(test_set_state(client, *digits - '0'), ==, 0);
    }
}

static void check_sums(Pair *pair)
{
    uint64_t saved_bytes, loaded_bytes;
    unsigned saved_chunks, loaded_chunks;
    g_autofree char *saved = mock_saved_sum(pair->source.mock, &saved_bytes,
                                            &saved_chunks);
    g_autofree char *loaded = mock_loaded_sum(pair->destination.mock,
                                              &loaded_bytes, &loaded_chunks);

    g_assert_cmpuint(saved_bytes, ==, pair->bytes);
    g_assert_cmpuint(loaded_bytes, ==, pair->bytes);
    g_assert_cmpuint(saved_chunks, ==, pair->chunks);
    g_assert_cmpuint(loaded_chunks, ==, pair->chunks);
    g_assert_cmpstr(saved, ==, loaded);
    g_assert_cmpuint(strlen(saved), ==, 64);
}

static void test_round_trip(void)
{
    static const MockBehaviour behaviours[] = {
        MOCK_BEHAVIOUR_LVU1, MOCK_BEHAVIOUR_STRICT,
    };
    Pair pair;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(behaviours); i++) {
        mock_config_init(&config);
        config.behaviour = behaviours[i];
        config.chunk_size = 100001;     /* no multiple of anything */
        config.precopy_round_size = 150000;
        pair_open(&pair, &config);
        mock_scratch_set(pair.source.mock, 3, 0x1234567890abcdef);
        states(&pair.source, "3");
        states(&pair.destination, "4");
        g_assert_cmpuint(move_all(&pair, 0, -1), ==, 6);
        g_assert_cmpuint(pair.bytes, ==, 450000);
        g_assert_cmpuint(read_ok(&pair.source, 8), ==, 0);
        mock_scratch_set(pair.source.mock, 4, 77);
        states(&pair.source, "2");
        g_assert_cmpuint(move_all(&pair, 0, -1), >, 2);
        g_assert_cmpuint(pair.bytes, ==, 1 << 20);
        states(&pair.source, "0");
        g_assert_false(mock_loaded_is_good(pair.source.mock, NULL));
        g_assert_true(mock_loaded_is_good(pair.destination.mock, NULL));
        g_assert_cmphex(mock_scratch_get(pair.destination.mock, 3), ==, 0);
        states(&pair.destination, "1");
        g_assert_cmphex(mock_scratch_get(pair.destination.mock, 3), ==,
                        0x1234567890abcdef);
        g_assert_cmphex(mock_scratch_get(pair.destination.mock, 4), ==, 77);
        check_sums(&pair);
        pair_close(&pair);
    }
}

/* What the destination must refuse to run with, and why */
static void refused(Pair *pair, const char *reason)
{
    g_autofree char *why = NULL;

    g_assert_cmpuint(test_set_state(&pair->destination, 1), ==, EINVAL);
    g_assert_cmpuint(mock_device_state(pair->destination.mock), ==, 4);
    g_assert_false(mock_loaded_is_good(pair->destination.mock, &why));
    g_assert_nonnull(strstr(why, reason));
    pair_close(pair);
}

static void pair_begin(Pair *pair, const char *source)
{
    mock_config_init(&config);
    pair_open(pair, &config);
    states(&pair->source, source);
    states(&pair->destination, "4");
}

static void test_damage(void)
{
    Pair pair;

    pair_begin(&pair, "2");
    move_all(&pair, 1, 100);
    move_all(&pair, 0, -1);
    refused(&pair, "the byte at 100 is wrong");

    pair_begin(&pair, "2");
    move_all(&pair, 3, -1);
    refused(&pair, "the tail is missing");

    pair_begin(&pair, "2");
    move_all(&pair, 8, -1);
    move_all(&pair, 1, 40);
    refused(&pair, "the tail is damaged");

    pair_begin(&pair, "2");
    g_assert_cmpuint(move_all(&pair, 0, 9), ==, 9);
    refused(&pair, "wrong");

    pair_begin(&pair, "2");
    move_all(&pair, 1, 0);
    refused(&pair, "does not begin with a head");
}

/* A redundant write of 2 after data was read makes lvu1 send it again */
static void test_redundant_write(void)
{
    Pair pair;

    pair_begin(&pair, "3");
    move_all(&pair, 0, -1);
    states(&pair.source, "2");
    move_all(&pair, 1, -1);
    states(&pair.source, "2");
    move_all(&pair, 0, -1);
    refused(&pair, "is wrong");

    /* Before anything was read it costs, but does no harm */
    pair_begin(&pair, "3");
    move_all(&pair, 0, -1);
    states(&pair.source, "22");
    move_all(&pair, 0, -1);
    states(&pair.source, "0");
    states(&pair.destination, "1");
    check_sums(&pair);
    pair_close(&pair);
}

/* An interrupted pre-copy begins anew, and the destination takes it so */
static void test_restart(void)
{
    Pair pair;

    pair_begin(&pair, "3");
    move_all(&pair, 2, -1);
    states(&pair.source, "213");
    move_all(&pair, 0, -1);
    states(&pair.source, "2");
    move_all(&pair, 0, -1);
    states(&pair.source, "0");
    states(&pair.destination, "1");
    g_assert_true(mock_loaded_is_good(pair.destination.mock, NULL));
    pair_close(&pair);
}

/* 3 to 2 with a chunk prepared but not read: it comes again, nothing is lost */
static void test_prepared_not_read(void)
{
    Pair pair;

    pair_begin(&pair, "3");
    move_all(&pair, 1, -1);
    g_assert_cmpuint(read_ok(&pair.source, 8), >, 0);
    g_assert_cmpuint(read_ok(&pair.source, 16), ==, 0x1000);
    states(&pair.source, "2");
    move_all(&pair, 0, -1);
    g_assert_cmpuint(pair.bytes, ==, 1 << 20);
    states(&pair.destination, "1");
    check_sums(&pair);
    pair_close(&pair);
}

static void test_sizes(void)
{
    static const uint64_t sizes[] = { 0, 512, 131072 + 256, 3000000 };
    Pair pair;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(sizes); i++) {
        mock_config_init(&config);
        config.migration_size = sizes[i];
        config.precopy_rounds = 0;
        pair_open(&pair, &config);
        states(&pair.source, "3");
        states(&pair.destination, "4");
        g_assert_cmpuint(read_ok(&pair.source, 8), ==, 0);
        states(&pair.source, "2");
        g_assert_cmpuint(read_ok(&pair.source, 8), ==, sizes[i]);
        move_all(&pair, 0, -1);
        g_assert_cmpuint(pair.bytes, ==, sizes[i]);
        states(&pair.source, "0");
        states(&pair.destination, "1");
        pair_close(&pair);
    }
}

/* More pre-copy than device data; pending_bytes as configured */
static void test_precopy_long(void)
{
    Pair pair;

    mock_config_init(&config);
    config.migration_size = 512;
    config.precopy_rounds = 50;
    config.precopy_pending = 1ull << 40;
    pair_open(&pair, &config);
    states(&pair.source, "3");
    states(&pair.destination, "4");
    g_assert_cmphex(read_ok(&pair.source, 8), ==, 1ull << 40);
    g_assert_cmpuint(move_all(&pair, 0, -1), ==, 50);
    states(&pair.source, "2");
    g_assert_cmpuint(read_ok(&pair.source, 8), ==, 256);
    move_all(&pair, 0, -1);
    states(&pair.destination, "1");
    check_sums(&pair);
    pair_close(&pair);
}

/* Data read through the mapping is not seen, but counted */
static void test_window_mmap(void)
{
    Client client;
    Reply reply;
    uint64_t bytes, size;
    g_autofree char *sum = NULL;
    g_autofree char *expected = NULL;
    uint8_t *memory;

    mock_config_init(&config);
    config.window_mmap = true;
    config.migration_size = 512;
    test_client_open(&client, &config);
    g_assert_cmpuint(test_region_query(&client, 9, 80, &reply), ==, 0);
    g_assert_cmpuint(reply.length, ==, 80);
    g_assert_cmpuint(reply.num_fds, ==, 1);
    g_assert_cmpuint(test_get(reply.body + 36, 4), ==, 48);
    g_assert_cmpuint(test_get(reply.body + 64, 8), ==, 0x1000);
    memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, reply.fds[0],
                  test_get(reply.body + 24, 8) + 0x1000);
    g_assert_true(memory != MAP_FAILED);
    states(&client, "2");
    g_assert_cmpuint(read_ok(&client, 8), ==, 512);
    read_ok(&client, 16);
    size = read_ok(&client, 24);
    g_assert_cmpuint(size, ==, 256);
    expected = g_compute_checksum_for_data(G_CHECKSUM_SHA256, memory, size);
    g_assert_cmpuint(read_ok(&client, 8), ==, 256);
    sum = mock_saved_sum(client.mock, &bytes, NULL);
    g_assert_cmpuint(bytes, ==, 256);
    g_assert_cmpstr(sum, ==, expected);
    munmap(memory, 4096);
    test_reply_clear(&reply);
    test_client_close(&client);
}

void test_mock_add_migration(void)
{
    g_test_add_func("/mock/state/table", test_state_table);
    g_test_add_func("/mock/state/reset", test_reset_table);
    g_test_add_func("/mock/state/reconnect", test_reconnect_table);
    g_test_add_func("/mock/state/stopped", test_stopped);
    g_test_add_func("/mock/migration/registers", test_register_access);
    g_test_add_func("/mock/migration/iterator", test_iterator);
    g_test_add_func("/mock/migration/round-trip", test_round_trip);
    g_test_add_func("/mock/migration/damage", test_damage);
    g_test_add_func("/mock/migration/redundant-write", test_redundant_write);
    g_test_add_func("/mock/migration/restart", test_restart);
    g_test_add_func("/mock/migration/prepared-not-read",
                    test_prepared_not_read);
    g_test_add_func("/mock/migration/sizes", test_sizes);
    g_test_add_func("/mock/migration/precopy-long", test_precopy_long);
    g_test_add_func("/mock/migration/window-mmap", test_window_mmap);
}
