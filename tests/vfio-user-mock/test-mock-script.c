/*
 * Tests of the mock: each action of the script, rules from JSON, sockets.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "test-mock-client.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static MockConfig config;

static void open_with_rules(Client *client, const MockRule *rules,
                            size_t number)
{
    mock_config_init(&config);
    test_client_open(client, &config);
    mock_add_rules(client->mock, rules, number);
}

/* Send a read of BAR0's ID register */
static void send_read(Client *client)
{
    Bytes payload = { .size = 0 };

    test_put(&payload, 0, 8);
    test_put(&payload, 0, 4);
    test_put(&payload, 4, 4);
    test_send(client, 9, 0, &payload, NULL, 0);
}

static void good_read(Client *client)
{
    uint64_t value;

    g_assert_cmpuint(test_read(client, 0, 0, 4, &value), ==, 0);
    g_assert_cmphex(value, ==, MOCK_BAR0_ID_VALUE);
}

/* What a client sees of the reply to a read, for each one-shot action */
static const uint8_t three_bytes[3] = { 1, 2, 3 };
static const struct {
    MockRule rule;
    uint16_t id_change;
    uint16_t command;
    uint32_t flags;
    uint32_t error;
    uint32_t length;
    unsigned num_fds;
    uint32_t value;
} action_cases[] = {
    { { .action = MOCK_ACTION_REPLY, .data = three_bytes, .data_size = 3 },
      0, 9, 1, 0, 3, 0, 0 },
    { { .action = MOCK_ACTION_ERROR, .error = 5 }, 0, 9, 0x21, 5, 0, 0, 0 },
    { { .action = MOCK_ACTION_ERROR }, 0, 9, 0x21, 0, 0, 0, 0 },
    { { .action = MOCK_ACTION_ERROR_AFTER, .error = 7 },
      0, 9, 0x21, 7, 0, 0, 0 },
    { { .action = MOCK_ACTION_ERROR, .error = 5, .data = three_bytes,
        .data_size = 3 },
      0, 9, 0x21, 5, 3, 0, 0 },
    { { .action = MOCK_ACTION_ERROR_AFTER, .error = 7, .data = three_bytes,
        .data_size = 3 },
      0, 9, 0x21, 7, 3, 0, 0 },
    { { .action = MOCK_ACTION_DELAY, .delay_ms = 2 },
      0, 9, 1, 0, 20, 0, MOCK_BAR0_ID_VALUE },
    { { .action = MOCK_ACTION_DRIBBLE, .bytes = 5, .delay_ms = 1 },
      0, 9, 1, 0, 20, 0, MOCK_BAR0_ID_VALUE },
    { { .action = MOCK_ACTION_MANGLE, .offset = 32, .xor = 0xff },
      0, 9, 1, 0, 20, 0, MOCK_BAR0_ID_VALUE ^ 0xff },
    { { .action = MOCK_ACTION_TRUNCATE, .bytes = 17 },
      0, 9, 1, 0, 17, 0, 0 },
    { { .action = MOCK_ACTION_EXTEND, .bytes = 3 },
      0, 9, 1, 0, 23, 0, MOCK_BAR0_ID_VALUE },
    { { .action = MOCK_ACTION_WRONG_ID },
      MOCK_WRONG_ID, 9, 1, 0, 20, 0, MOCK_BAR0_ID_VALUE },
    { { .action = MOCK_ACTION_WRONG_COMMAND, .reply_command = 10 },
      0, 10, 1, 0, 20, 0, MOCK_BAR0_ID_VALUE },
    { { .action = MOCK_ACTION_WRONG_TYPE },
      0, 9, 0, 0, 20, 0, MOCK_BAR0_ID_VALUE },
    { { .action = MOCK_ACTION_EXTRA_FD },
      0, 9, 1, 0, 20, 1, MOCK_BAR0_ID_VALUE },
};

static void test_actions(void)
{
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(action_cases); i++) {
        Client client;
        Reply reply;
        MockRule rule = action_cases[i].rule;

        rule.where.command = MOCK_REGION_READ;
        rule.nth = 2;
        open_with_rules(&client, &rule, 1);
        good_read(&client);
        send_read(&client);
        g_assert_true(test_receive(&client, &reply));
        g_assert_cmpuint(reply.id, ==, client.id + action_cases[i].id_change);
        g_assert_cmpuint(reply.command, ==, action_cases[i].command);
        g_assert_cmphex(reply.flags, ==, action_cases[i].flags);
        g_assert_cmpuint(reply.error, ==, action_cases[i].error);
        g_assert_cmpuint(reply.length, ==, action_cases[i].length);
        g_assert_cmpuint(reply.num_fds, ==, action_cases[i].num_fds);
        if (reply.length >= 20) {
            g_assert_cmphex(test_get(reply.body + 16, 4), ==,
                            action_cases[i].value);
        } else if (reply.length == 3) {
            g_assert_cmpmem(reply.body, 3, three_bytes, 3);
        }
        test_reply_clear(&reply);
        good_read(&client);
        test_client_close(&client);
    }
}

static void test_close_actions(void)
{
    static const struct {
        MockRule rule;
        ssize_t bytes;          /* that arrive before the end */
    } cases[] = {
        { { .action = MOCK_ACTION_CUT, .bytes = 0 }, 0 },
        { { .action = MOCK_ACTION_CUT, .bytes = 9 }, 9 },
        { { .action = MOCK_ACTION_CUT, .bytes = 18 }, 18 },
        { { .action = MOCK_ACTION_CLOSE_BEFORE }, 0 },
        { { .action = MOCK_ACTION_CLOSE_AFTER }, 36 },
    };
    uint8_t buffer[100];
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        Client client;

        open_with_rules(&client, &cases[i].rule, 1);
        send_read(&client);
        g_assert_cmpint(recv(client.fd, buffer, sizeof(buffer), MSG_WAITALL),
                        ==, cases[i].bytes);
        g_assert_true(mock_wait_finished(client.mock, TEST_TIMEOUT_MS));
        test_client_close(&client);
    }
}

/* Delays so long that the test is over before: what comes, comes first */
static void test_slow_actions(void)
{
    static const MockRule delay = {
        .action = MOCK_ACTION_DELAY, .delay_ms = 3600000,
    };
    static const MockRule dribble = {
        .action = MOCK_ACTION_DRIBBLE, .bytes = 5, .delay_ms = 3600000,
    };
    MockPattern reads = MOCK_PATTERN_COMMAND(MOCK_REGION_READ);
    uint8_t buffer[100];
    Client client;

    open_with_rules(&client, &delay, 1);
    send_read(&client);
    send_read(&client);
    g_assert_cmpint(mock_journal_wait(client.mock, 0, &reads, 2,
                                      TEST_TIMEOUT_MS), >=, 0);
    g_assert_cmpint(recv(client.fd, buffer, sizeof(buffer), MSG_DONTWAIT), ==,
                    -1);
    test_client_close(&client);

    open_with_rules(&client, &dribble, 1);
    send_read(&client);
    g_assert_cmpint(recv(client.fd, buffer, sizeof(buffer), 0), ==, 5);
    test_client_close(&client);
}

/* With a region whose description comes with an fd, the first by @rule */
static void open_mapped(Client *client, const MockRule *rule)
{
    mock_config_init(&config);
    config.window_mmap = true;
    test_client_open(client, &config);
    mock_add_rules(client->mock, rule, 1);
}

static uint32_t ask_mapped(Client *client, Reply *reply)
{
    return test_region_query(client, MOCK_REGION_MIGRATION, 4096, reply);
}

/* The same file, or "three bytes" as payload and one where there was none */
static void test_other_fds(void)
{
    const int fd = memfd_create("other", MFD_CLOEXEC);
    const MockRule rules[] = {
        { .nth = 1, .action = MOCK_ACTION_OTHER_FDS, .fd = fd },
        { .where = { .command = MOCK_REGION_READ },
          .action = MOCK_ACTION_OTHER_FDS, .fd = fd, .data = three_bytes,
          .data_size = 3 },
    };
    struct stat ours, theirs;
    Client client;
    Reply reply;

    g_assert_cmpint(fstat(fd, &ours), ==, 0);
    open_mapped(&client, &rules[0]);
    g_assert_cmpuint(ask_mapped(&client, &reply), ==, 0);
    g_assert_cmpuint(reply.length, >, 32);
    g_assert_cmpuint(reply.num_fds, ==, 1);
    g_assert_cmpint(fstat(reply.fds[0], &theirs), ==, 0);
    g_assert_cmpuint(theirs.st_ino, ==, ours.st_ino);
    test_reply_clear(&reply);
    g_assert_cmpuint(ask_mapped(&client, &reply), ==, 0);
    g_assert_cmpint(fstat(reply.fds[0], &theirs), ==, 0);
    g_assert_cmpuint(theirs.st_ino, !=, ours.st_ino);
    test_reply_clear(&reply);

    mock_add_rules(client.mock, &rules[1], 1);
    send_read(&client);
    g_assert_true(test_receive(&client, &reply));
    g_assert_cmpuint(reply.num_fds, ==, 1);
    g_assert_cmpmem(reply.body, reply.length, three_bytes, 3);
    test_reply_clear(&reply);
    test_client_close(&client);
    close(fd);
}

static void test_no_fds(void)
{
    static const MockRule rule = { .nth = 1, .action = MOCK_ACTION_NO_FDS };
    Client client;
    Reply reply;

    open_mapped(&client, &rule);
    g_assert_cmpuint(ask_mapped(&client, &reply), ==, 0);
    g_assert_cmpuint(reply.num_fds, ==, 0);
    test_reply_clear(&reply);
    g_assert_cmpuint(ask_mapped(&client, &reply), ==, 0);
    g_assert_cmpuint(reply.num_fds, ==, 1);
    test_reply_clear(&reply);
    test_client_close(&client);
}

static void test_no_reply_and_duplicate(void)
{
    static const MockRule rules[] = {
        { .where = { .command = MOCK_DEVICE_RESET }, .nth = 1,
          .action = MOCK_ACTION_NO_REPLY },
        { .where = { .command = MOCK_DEVICE_RESET }, .nth = 2,
          .action = MOCK_ACTION_DUPLICATE },
    };
    Client client;
    Reply reply;
    int i;

    open_with_rules(&client, rules, G_N_ELEMENTS(rules));
    test_send(&client, 13, 0, NULL, NULL, 0);
    good_read(&client);         /* its reply comes first: none for the reset */
    g_assert_cmpuint(mock_reset_count(client.mock), ==, 1);
    test_send(&client, 13, 0, NULL, NULL, 0);
    for (i = 0; i < 2; i++) {
        g_assert_true(test_receive(&client, &reply));
        g_assert_cmpuint(reply.id, ==, client.id);
        test_reply_clear(&reply);
    }
    good_read(&client);
    test_client_close(&client);
}

/* HOLD stalls all that comes later and keeps the command from running */
static void test_hold(void)
{
    static const MockRule rule = {
        .where = { .command = MOCK_DEVICE_RESET }, .action = MOCK_ACTION_HOLD,
    };
    MockPattern reads = MOCK_PATTERN_COMMAND(MOCK_REGION_READ);
    Client client;
    Reply reply;

    open_with_rules(&client, &rule, 1);
    g_assert_false(mock_wait_held(client.mock, 1, 0));
    test_send(&client, 13, 0, NULL, NULL, 0);
    g_assert_true(mock_wait_held(client.mock, 1, TEST_TIMEOUT_MS));
    send_read(&client);
    g_assert_cmpint(mock_journal_wait(client.mock, 0, &reads, 1,
                                      TEST_TIMEOUT_MS), >=, 0);
    g_assert_cmpint(recv(client.fd, &reply, 1, MSG_DONTWAIT), ==, -1);
    g_assert_cmpuint(mock_reset_count(client.mock), ==, 0);
    g_assert_cmpuint(mock_release(client.mock), ==, 1);
    g_assert_true(test_receive(&client, &reply));
    g_assert_cmpuint(reply.command, ==, 13);
    test_reply_clear(&reply);
    g_assert_true(test_receive(&client, &reply));
    g_assert_cmpuint(reply.command, ==, 9);
    test_reply_clear(&reply);
    g_assert_cmpuint(mock_reset_count(client.mock), ==, 1);
    /* A client that goes away ends the stall */
    test_send(&client, 13, 0, NULL, NULL, 0);
    g_assert_true(mock_wait_held(client.mock, 1, TEST_TIMEOUT_MS));
    close(client.fd);
    g_assert_true(mock_wait_finished(client.mock, TEST_TIMEOUT_MS));
    g_assert_cmpuint(mock_reset_count(client.mock), ==, 1);
    mock_free(client.mock);
}

/* DEFER runs the command and answers others first */
static void test_defer(void)
{
    static const MockRule rule = {
        .where = { .command = MOCK_DEVICE_RESET }, .nth = 1,
        .action = MOCK_ACTION_DEFER,
    };
    Client client;
    Reply reply;
    uint16_t id;

    open_with_rules(&client, &rule, 1);
    test_send(&client, 13, 0, NULL, NULL, 0);
    id = client.id;
    good_read(&client);
    g_assert_cmpuint(mock_reset_count(client.mock), ==, 1);
    g_assert_true(mock_wait_held(client.mock, 1, TEST_TIMEOUT_MS));
    g_assert_cmpuint(mock_release(client.mock), ==, 1);
    g_assert_true(test_receive(&client, &reply));
    g_assert_cmpuint(reply.id, ==, id);
    test_reply_clear(&reply);
    test_client_close(&client);
}

/* The server stops in the middle of anything */
static void test_stop_while_held(void)
{
    static const MockRule rule = { .action = MOCK_ACTION_HOLD };
    Client client;

    open_with_rules(&client, &rule, 1);
    test_send(&client, 13, 0, NULL, NULL, 0);
    g_assert_true(mock_wait_held(client.mock, 1, TEST_TIMEOUT_MS));
    mock_stop(client.mock);
    g_assert_true(mock_wait_finished(client.mock, 0));
    test_client_close(&client);
}

static void test_json_rules(void)
{
    static const char text[] =
        "[{\"command\": \"REGION_WRITE\", \"region\": 9, \"offset\": 0,"
        "  \"value\": 2, \"nth\": 2, \"action\": \"error\", \"errno\": 28},"
        " {\"command\": \"REGION_READ\", \"offset_from\": 8, \"count\": 8,"
        "  \"action\": \"reply\", \"data\": \"00fF\"},"
        " {\"command\": 99, \"action\": \"no-reply\"}]";
    g_autoptr(GError) error = NULL;
    Bytes payload = { .size = 1, .data = { 0 } };
    Client client;
    Reply reply;

    mock_config_init(&config);
    test_client_open(&client, &config);
    g_assert_true(mock_parse_script(client.mock, text, &error));
    g_assert_cmpuint(test_set_state(&client, 2), ==, 0);
    g_assert_cmpuint(test_set_state(&client, 1), ==, 0);
    g_assert_cmpuint(test_set_state(&client, 2), ==, 28);
    g_assert_cmpuint(test_set_state(&client, 2), ==, 0);
    g_assert_cmpuint(test_set_state(&client, 1), ==, 0);
    test_send(&client, 99, 0, &payload, NULL, 0);
    good_read(&client);
    payload.size = 0;
    test_put(&payload, 8, 8);
    test_put(&payload, 9, 4);
    test_put(&payload, 8, 4);
    g_assert_cmpuint(test_call(&client, 9, &payload, NULL, 0, &reply), ==, 0);
    g_assert_cmpmem(reply.body, reply.length, "\x00\xff", 2);
    test_reply_clear(&reply);
    mock_clear_rules(client.mock);
    g_assert_cmpuint(test_call(&client, 9, &payload, NULL, 0, &reply), ==, 0);
    g_assert_cmpuint(reply.length, ==, 24);
    test_reply_clear(&reply);
    test_client_close(&client);
}

static void test_json_errors(void)
{
    static const struct {
        const char *text;
        const char *message;
    } cases[] = {
        { "", "not JSON" },
        { "{}", "not an array" },
        { "[1]", "rule 1: is not an object" },
        { "[{\"action\": \"hold\"}, {}]", "rule 2: has no \"action\"" },
        { "[{\"action\": \"explode\"}]", "no such action: \"explode\"" },
        { "[{\"action\": \"none\"}]", "no such action" },
        { "[{\"command\": \"NOP\", \"action\": \"hold\"}]", "not a command" },
        { "[{\"command\": null}]", "is null" },
        { "[{\"region\": -1}]", "integer of 0 or more" },
        { "[{\"region\": \"9\"}]", "integer of 0 or more" },
        { "[{\"region\": 4294967296}]", "more than 4294967295" },
        { "[{\"data\": \"abc\"}]", "hexadecimal" },
        { "[{\"data\": \"zz\"}]", "hexadecimal" },
        { "[{\"when\": 1}]", "unknown key \"when\"" },
    };
    Client client;
    size_t i;

    mock_config_init(&config);
    test_client_open(&client, &config);
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(GError) error = NULL;

        g_assert_false(mock_parse_script(client.mock, cases[i].text, &error));
        g_assert_nonnull(strstr(error->message, cases[i].message));
    }
    g_assert_false(mock_load_script(client.mock, "/nonexistent", NULL));
    good_read(&client);         /* no rule of the bad scripts is in force */
    test_client_close(&client);
}

static void start_fails(Mock *mock, const char *path, const char *message)
{
    g_autoptr(GError) error = NULL;

    g_assert_false(mock_start(mock, path, &error));
    g_assert_nonnull(strstr(error->message, message));
}

static void test_listen(void)
{
    g_autofree char *folder = g_dir_make_tmp("mock-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "socket", NULL);
    g_autofree char *file = g_build_filename(folder, "file", NULL);
    g_autofree char *longer = g_strnfill(108, 'x');
    Client client = { .fd = -1 };
    Mock *other;

    mock_config_init(&config);
    client.mock = mock_new(&config, NULL);
    other = mock_new(&config, NULL);
    start_fails(other, longer, "is too long (108 bytes, limit 107)");
    start_fails(other, "", "empty");
    start_fails(other, "/nonexistent/socket", "No such file");
    g_assert_true(g_file_set_contents(file, "x", 1, NULL));
    start_fails(other, file, "exists");
    g_assert_true(mock_start(client.mock, path, NULL));
    start_fails(client.mock, path, "runs already");
    start_fails(other, path, "in use");
    test_client_connect(&client, path);
    test_client_version(&client);
    g_assert_true(mock_wait_connected(client.mock, true, TEST_TIMEOUT_MS));
    mock_disconnect(client.mock);
    g_assert_cmpint(recv(client.fd, folder, 1, 0), ==, 0);
    close(client.fd);
    test_client_connect(&client, path);
    test_client_version(&client);
    good_read(&client);
    mock_stop(client.mock);
    g_assert_false(g_file_test(path, G_FILE_TEST_EXISTS));
    mock_free(other);
    test_client_close(&client);
    unlink(file);
    rmdir(folder);
}

/* A socket left behind by a server that was killed is no obstacle */
static void test_listen_stale(void)
{
    g_autofree char *folder = g_dir_make_tmp("mock-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(folder, "socket", NULL);
    g_autofree char *moved = g_build_filename(folder, "moved", NULL);
    Client client;

    mock_config_init(&config);
    client.mock = mock_new(&config, NULL);
    g_assert_true(mock_start(client.mock, path, NULL));
    g_assert_cmpint(rename(path, moved), ==, 0);
    mock_stop(client.mock);
    g_assert_cmpint(rename(moved, path), ==, 0);
    g_assert_true(mock_start(client.mock, path, NULL));
    test_client_connect(&client, path);
    test_client_version(&client);
    good_read(&client);
    test_client_close(&client);
    g_assert_cmpint(rmdir(folder), ==, 0);
}

static void test_start_fd_wrong(void)
{
    g_autoptr(GError) error = NULL;
    Mock *mock;
    int pair[2];

    mock_config_init(&config);
    mock = mock_new(&config, NULL);
    g_assert_cmpint(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), ==, 0);
    g_assert_false(mock_start_fd(mock, pair[0], &error));
    g_assert_nonnull(strstr(error->message, "no stream socket"));
    g_assert_cmpint(fcntl(pair[0], F_GETFD), ==, -1);
    close(pair[1]);
    mock_free(mock);
}

void test_mock_add_script(void)
{
    g_test_add_func("/mock/script/actions", test_actions);
    g_test_add_func("/mock/script/close", test_close_actions);
    g_test_add_func("/mock/script/slow", test_slow_actions);
    g_test_add_func("/mock/script/no-fds", test_no_fds);
    g_test_add_func("/mock/script/other-fds", test_other_fds);
    g_test_add_func("/mock/script/no-reply-duplicate",
                    test_no_reply_and_duplicate);
    g_test_add_func("/mock/script/hold", test_hold);
    g_test_add_func("/mock/script/defer", test_defer);
    g_test_add_func("/mock/script/stop-while-held", test_stop_while_held);
    g_test_add_func("/mock/script/json", test_json_rules);
    g_test_add_func("/mock/script/json-errors", test_json_errors);
    g_test_add_func("/mock/server/listen", test_listen);
    g_test_add_func("/mock/server/listen-stale", test_listen_stale);
    g_test_add_func("/mock/server/start-fd-wrong", test_start_fd_wrong);
}
