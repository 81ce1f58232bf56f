/*
 * Tests of the mock's journal: lines, waiting, expected sequences; and that no
 * file descriptor stays behind.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "test-mock-client.h"
#include <errno.h>
#include <json-c/json.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static MockConfig config;

static int64_t number(json_object *line, const char *key)
{
    json_object *value;

    if (!json_object_object_get_ex(line, key, &value)) {
        return -1;
    }
    g_assert_true(json_object_is_type(value, json_type_int));
    return json_object_get_int64(value);
}

static const char *string(json_object *line, const char *key)
{
    json_object *value;

    g_assert_true(json_object_object_get_ex(line, key, &value));
    g_assert_true(json_object_is_type(value, json_type_string));
    return json_object_get_string(value);
}

static double line_time(json_object *line)
{
    json_object *value;

    g_assert_true(json_object_object_get_ex(line, "t", &value));
    g_assert_true(json_object_is_type(value, json_type_double));
    return json_object_get_double(value);
}

/* Two for each message: the command and its reply */
static const struct ExpectedLine {
    const char *dir;
    const char *type;
    const char *cmd;
    int64_t region, offset, count, value, error, fds;
} expected_lines[] = {
    { "c2s", "command", "VERSION", -1, -1, -1, -1, 0, 0 },
    { "s2c", "reply", "VERSION", -1, -1, -1, -1, 0, 0 },
    { "c2s", "command", "REGION_WRITE", 9, 0, 4, 2, 0, 0 },
    { "s2c", "reply", "REGION_WRITE", 9, 0, 4, -1, 0, 0 },
    { "c2s", "command", "REGION_READ", 9, 0, 4, -1, 0, 0 },
    { "s2c", "reply", "REGION_READ", 9, 0, 4, 2, 0, 0 },
    { "c2s", "command", "REGION_WRITE", 9, 0, 4, 3, 0, 0 },
    { "s2c", "reply", "REGION_WRITE", 9, 0, 4, -1, EINVAL, 0 },
    { "c2s", "command", "REGION_WRITE", 9, 0, 4, 1, 0, 0 },
    { "s2c", "reply", "REGION_WRITE", 9, 0, 4, -1, 0, 0 },
    { "c2s", "command", "DMA_MAP", -1, 0x1000, 0x2000, 3, 0, 1 },
    { "s2c", "reply", "DMA_MAP", -1, 0x1000, 0x2000, -1, EINVAL, 0 },
};

static void check_line(json_object *line, size_t i)
{
    const struct ExpectedLine *expected = &expected_lines[i];

    g_assert_cmpstr(string(line, "dir"), ==, expected->dir);
    g_assert_cmpstr(string(line, "type"), ==, expected->type);
    g_assert_cmpstr(string(line, "cmd"), ==, expected->cmd);
    g_assert_cmpint(number(line, "id"), ==, i / 2 + 1);
    g_assert_cmpint(number(line, "region"), ==, expected->region);
    g_assert_cmpint(number(line, "offset"), ==, expected->offset);
    g_assert_cmpint(number(line, "count"), ==, expected->count);
    g_assert_cmpint(number(line, "value"), ==, expected->value);
    g_assert_cmpint(number(line, "errno"), ==, expected->error);
    g_assert_cmpint(number(line, "fds"), ==, expected->fds);
}

static void test_lines(void)
{
    g_autofree char *path = NULL, *text = NULL;
    g_auto(GStrv) lines = NULL;
    int fd = g_file_open_tmp("mock-XXXXXX", &path, NULL);
    Client client;
    double before = 0;
    size_t i;

    mock_config_init(&config);
    config.journal_path = path;
    test_client_open(&client, &config);
    test_set_state(&client, 2);
    test_state(&client);
    test_set_state(&client, 3);
    test_set_state(&client, 1);
    test_map(&client, 0x1000, 0x2000, 0, fd);   /* of an empty file: refused */
    /* Written at once: read it while the mock runs */
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    lines = g_strsplit(text, "\n", 0);
    g_assert_cmpuint(g_strv_length(lines), ==,
                     G_N_ELEMENTS(expected_lines) + 1);
    for (i = 0; i < G_N_ELEMENTS(expected_lines); i++) {
        json_object *line = json_tokener_parse(lines[i]);

        g_assert_nonnull(line);
        g_assert_cmpfloat(line_time(line), >=, before);
        before = line_time(line);
        check_line(line, i);
        json_object_put(line);
    }
    close(fd);
    unlink(path);
    test_client_close(&client);
}

/* 3, two data reads, 2, one data read, 0, and a dirty query between */
static void make_journal(Client *client)
{
    uint64_t value;

    mock_config_init(&config);
    test_client_open(client, &config);
    test_set_state(client, 3);
    test_read(client, 9, 8, 8, &value);
    test_read(client, 9, 16, 8, &value);
    test_read(client, 9, 0x1000, 8, &value);
    test_read(client, 9, 0x1008, 8, &value);
    test_set_state(client, 2);
    test_read(client, 9, 8, 8, &value);
    test_read(client, 9, 16, 8, &value);
    test_read(client, 9, 0x1000, 8, &value);
    test_set_state(client, 0);
}

static const MockPattern state_and_data[] = {
    MOCK_PATTERN_ANY_STATE_WRITE(),
    MOCK_PATTERN_STATE_READ(),
    MOCK_PATTERN_DATA(MOCK_REGION_READ),
};

static bool expect(Client *client, const MockStep *steps, size_t number,
                   const char *reason)
{
    g_autoptr(GString) why = g_string_new(NULL);
    bool good = mock_journal_expect(client->mock, 0, 0, state_and_data,
                                    G_N_ELEMENTS(state_and_data), steps,
                                    number, why);

    g_assert_cmpint(good, ==, !reason);
    if (reason && !strstr(why->str, reason)) {
        g_test_message("%s", why->str);
        g_assert_not_reached();
    }
    return good;
}

static void test_expect(void)
{
    static const MockStep right[] = {
        MOCK_STEP_ONE(MOCK_PATTERN_STATE_WRITE(3)),
        MOCK_STEP_SOME(1, MOCK_ANY_NUMBER, MOCK_PATTERN_DATA(9)),
        MOCK_STEP_ONE(MOCK_PATTERN_STATE_WRITE(2)),
        MOCK_STEP_SOME(1, 1, MOCK_PATTERN_DATA(9)),
        MOCK_STEP_SOME(0, 1, MOCK_PATTERN_STATE_WRITE(7)),
        MOCK_STEP_ONE(MOCK_PATTERN_STATE_WRITE(0)),
    };
    static const MockStep redundant[] = {
        MOCK_STEP_ONE(MOCK_PATTERN_STATE_WRITE(3)),
        MOCK_STEP_SOME(0, MOCK_ANY_NUMBER, MOCK_PATTERN_DATA(9)),
        MOCK_STEP_SOME(2, 2, MOCK_PATTERN_STATE_WRITE(2)),
    };
    static const MockStep few[] = {
        MOCK_STEP_ONE(MOCK_PATTERN_STATE_WRITE(3)),
        MOCK_STEP_SOME(3, 3, MOCK_PATTERN_DATA(9)),
    };
    static const MockStep more[] = {
        MOCK_STEP_SOME(1, MOCK_ANY_NUMBER, MOCK_PATTERN_ANY_STATE_WRITE()),
        MOCK_STEP_SOME(1, 1, MOCK_PATTERN_DATA(9)),
    };
    Client client;

    make_journal(&client);
    expect(&client, right, 6, NULL);
    expect(&client, right, 5, "all 5 steps are done; next is:\n");
    expect(&client, right + 1, 5, "step 1 of 5 wants REGION_READ region 9");
    expect(&client, redundant, 3, "wants REGION_WRITE region 9 offset 0x0 "
           "value 0x2 (device_state stop-copy), 2 to 2 times, and has seen 1");
    expect(&client, few, 2, "has seen 2");
    expect(&client, more, 2, "all 2 steps are done");
    test_set_state(&client, 1);
    expect(&client, right, 6, "all 6 steps are done");
    g_assert_true(mock_journal_expect(client.mock, 0,
                                      mock_journal_length(client.mock) - 2,
                                      state_and_data, 3, right, 6, NULL));
    test_client_close(&client);
}

static uint32_t call(Client *client, uint16_t command, const Bytes *payload,
                     const int *fds, unsigned num_fds)
{
    Reply reply;
    uint32_t error = test_call(client, command, payload, fds, num_fds, &reply);

    test_reply_clear(&reply);
    return error;
}

static void test_expect_end(void)
{
    static const MockStep steps[] = {
        MOCK_STEP_ONE(MOCK_PATTERN_COMMAND(MOCK_VERSION)),
        MOCK_STEP_SOME(2, 5, MOCK_PATTERN_COMMAND(MOCK_DEVICE_RESET)),
    };
    g_autoptr(GString) why = g_string_new(NULL);
    Client client;

    mock_config_init(&config);
    test_client_open(&client, &config);
    g_assert_cmpuint(call(&client, 13, NULL, NULL, 0), ==, 0);
    g_assert_false(mock_journal_expect(client.mock, 0, 0, NULL, 0, steps, 2,
                                       why));
    g_assert_nonnull(strstr(why->str, "the journal ends here"));
    g_assert_cmpuint(call(&client, 13, NULL, NULL, 0), ==, 0);
    g_assert_true(mock_journal_expect(client.mock, 0, 0, NULL, 0, steps, 2,
                                      NULL));
    test_state(&client);        /* no filter: every command counts */
    g_assert_false(mock_journal_expect(client.mock, 0, 0, NULL, 0, steps, 2,
                                       NULL));
    test_client_close(&client);
}

static void test_queries(void)
{
    static const MockPattern writes = MOCK_PATTERN_ANY_STATE_WRITE();
    static const MockPattern second = MOCK_PATTERN_STATE_WRITE(2);
    static const MockPattern reads = MOCK_PATTERN_STATE_READ();
    static const MockPattern errors = {
        .direction = MOCK_S2C, .type = MOCK_TYPE_REPLY,
        .match = MOCK_MATCH_ERROR, .error = EINVAL,
    };
    g_autoptr(GString) text = g_string_new(NULL);
    MockEntry entry;
    Client client;
    int index;

    make_journal(&client);
    g_assert_cmpuint(mock_journal_count(client.mock, 0, &writes), ==, 3);
    g_assert_cmpuint(mock_journal_count(client.mock, 0, &errors), ==, 0);
    index = mock_journal_wait(client.mock, 0, &writes, 2, TEST_TIMEOUT_MS);
    g_assert_cmpint(index, ==, mock_journal_wait(client.mock, 0, &second, 1,
                                                 TEST_TIMEOUT_MS));
    g_assert_true(mock_journal_get(client.mock, index, &entry));
    g_assert_cmpuint(entry.value, ==, 2);
    g_assert_cmpuint(mock_journal_count(client.mock, index + 1, &writes), ==,
                     1);
    g_assert_cmpint(mock_journal_wait(client.mock, index + 1, &second, 1, 0),
                    ==, -1);
    g_assert_false(mock_journal_get(client.mock, 1000, &entry));
    g_assert_true(mock_journal_forbid(client.mock, 0, &reads, text));
    g_assert_cmpstr(text->str, ==, "");
    g_assert_false(mock_journal_forbid(client.mock, 0, &second, text));
    g_assert_nonnull(strstr(text->str, "device_state stop-copy"));
    test_set_state(&client, 3);
    g_assert_cmpuint(mock_journal_count(client.mock, 0, &errors), ==, 1);
    g_string_truncate(text, 0);
    mock_journal_print(client.mock, 0, text);
    g_assert_nonnull(strstr(text->str, "errno 22 (Invalid argument)"));
    g_assert_nonnull(strstr(text->str, "c2s command #1 VERSION\n"));
    mock_journal_clear(client.mock);
    g_assert_cmpuint(mock_journal_length(client.mock), ==, 0);
    test_state(&client);
    g_assert_cmpuint(mock_journal_count(client.mock, 0, &reads), ==, 1);
    test_client_close(&client);
}

static void *read_later(void *opaque)
{
    test_state(opaque);
    return NULL;
}

static void test_wait(void)
{
    static const MockPattern reads = MOCK_PATTERN_STATE_READ();
    GThread *thread;
    Client client;

    mock_config_init(&config);
    test_client_open(&client, &config);
    thread = g_thread_new("read", read_later, &client);
    g_assert_cmpint(mock_journal_wait(client.mock, 0, &reads, 1,
                                      TEST_TIMEOUT_MS), ==, 2);
    g_thread_join(thread);
    test_client_close(&client);
}

static unsigned count_fds(void)
{
    g_autoptr(GDir) folder = g_dir_open("/proc/self/fd", 0, NULL);
    unsigned number = 0;

    g_assert_nonnull(folder);
    while (g_dir_read_name(folder)) {
        number++;
    }
    return number;
}

/* Six bytes of a header, with an fd */
static void send_half(Client *client, int fd)
{
    char control[CMSG_SPACE(sizeof(int))] = { 0 };
    char bytes[6] = { 0, 0, 8, 0, 32, 0 };
    struct iovec vector = { .iov_base = bytes, .iov_len = 6 };
    struct msghdr message = {
        .msg_iov = &vector,
        .msg_iovlen = 1,
        .msg_control = control,
        .msg_controllen = sizeof(control),
    };
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &fd, sizeof(int));
    g_assert_cmpint(sendmsg(client->fd, &message, 0), ==, 6);
}

/* Messages with fds, good and bad, and a connection cut in mid-message */
static void test_fd_leaks(void)
{
    unsigned before = count_fds();
    int fds[4], i;
    Bytes payload = { .size = 0 };
    Client client;

    for (i = 0; i < 4; i++) {
        fds[i] = eventfd(0, 0);
    }
    mock_config_init(&config);
    config.bar2_size = 1 << 20;
    test_client_open(&client, &config);
    test_put(&payload, 20, 4);
    test_put(&payload, 0x24, 4);
    test_put(&payload, 2, 4);
    test_put(&payload, 0, 4);
    test_put(&payload, 4, 4);
    g_assert_cmpuint(call(&client, 8, &payload, fds, 4), ==, 0);
    g_assert_cmpuint(call(&client, 8, &payload, fds, 4), ==, 0);
    g_assert_cmpuint(call(&client, 8, &payload, fds, 3), ==,
                     EINVAL);
    g_assert_cmpuint(call(&client, 13, NULL, fds, 4), ==, 0);
    test_map(&client, 0, 4096, 0, fds[0]);
    payload.data[0] = 0;
    test_send(&client, 8, 0, &payload, fds, 4);
    send_half(&client, fds[1]);
    shutdown(client.fd, SHUT_WR);
    g_assert_true(mock_wait_finished(client.mock, TEST_TIMEOUT_MS));
    test_client_close(&client);
    for (i = 0; i < 4; i++) {
        close(fds[i]);
    }
    g_assert_cmpuint(count_fds(), ==, before);
}

void test_mock_add_journal(void)
{
    g_test_add_func("/mock/journal/lines", test_lines);
    g_test_add_func("/mock/journal/expect", test_expect);
    g_test_add_func("/mock/journal/expect-end", test_expect_end);
    g_test_add_func("/mock/journal/queries", test_queries);
    g_test_add_func("/mock/journal/wait", test_wait);
    g_test_add_func("/mock/fds/no-leak", test_fd_leaks);
}
