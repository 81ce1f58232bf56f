/*
 * Runs a fuzz target without a fuzzer: on the inputs that are kept, and on as
 * many changed ones as one likes.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "fuzz.h"

#define LARGEST_INPUT 4096

/* Of the sanitizers, where there is one */
void __sanitizer_set_death_callback(void (*callback)(void))
    __attribute__((weak));

/* What runs, for the one who dies of it */
static const char *running;
static uint8_t input[LARGEST_INPUT];
static size_t input_size;

/* As a line for the file of inputs.  Only what a signal handler may call. */
static void show_input(void)
{
    static const char digits[] = "0123456789abcdef";
    static char text[2 * LARGEST_INPUT + 1];
    struct iovec line[] = {
        { (char *)"# died of: ", 11 },
        { (char *)running, strlen(running) },
        { (char *)" ", 1 },
        { text, 2 * input_size + 1 },
    };

    for (size_t i = 0; i < input_size; i++) {
        text[2 * i] = digits[input[i] >> 4];
        text[2 * i + 1] = digits[input[i] & 15];
    }
    text[2 * input_size] = '\n';
    if (writev(STDERR_FILENO, line, ARRAY_SIZE(line)) < 0) {
        _exit(1);
    }
}

static void abort_signal(int number)
{
    show_input();
    _exit(128 + number);
}

static void run(const char *name, const uint8_t *data, size_t size)
{
    g_autofree uint8_t *copy = NULL;

    running = name;
    input_size = MIN(size, LARGEST_INPUT);
    /* of just this size, so that a byte too many is seen */
    copy = g_malloc(MAX(input_size, 1));
    if (input_size) {
        memcpy(input, data, input_size);
        memcpy(copy, data, input_size);
    }
    LLVMFuzzerTestOneInput(copy, input_size);
}

/* The bytes in a line "NAME HEX"; @line becomes the name. */
static GByteArray *parse_line(char *line)
{
    GByteArray *bytes = g_byte_array_new();
    char *hex = strchr(line, ' ');

    if (!hex) {
        return bytes;
    }
    *hex++ = '\0';
    for (; g_ascii_isxdigit(hex[0]) && g_ascii_isxdigit(hex[1]); hex += 2) {
        uint8_t byte = g_ascii_xdigit_value(hex[0]) << 4 |
                       g_ascii_xdigit_value(hex[1]);

        g_byte_array_append(bytes, &byte, 1);
    }
    return bytes;
}

/* Change @data a little, or a lot.  Returns its new size. */
static size_t mutate(GRand *rand, uint8_t *data, size_t size,
                     const GByteArray *other)
{
    static const uint8_t notable[] = { 0, 1, 0x7f, 0x80, 0xff, 16, 8, 4 };
    int rounds = 1 << g_rand_int_range(rand, 0, 5);

    while (rounds--) {
        size_t at = size ? g_rand_int_range(rand, 0, size) : 0;
        size_t count = g_rand_int_range(rand, 1, 9);

        switch (g_rand_int_range(rand, 0, size ? 6 : 1)) {
        case 0:                         /* a piece of another one goes in */
            count = MIN(MIN(count * 4, other->len), LARGEST_INPUT - size);
            memmove(data + at + count, data + at, size - at);
            memcpy(data + at, other->data + g_rand_int_range(rand, 0,
                   other->len - count + 1), count);
            size += count;
            break;
        case 1:                         /* a piece goes out */
            count = MIN(count, size - at);
            memmove(data + at, data + at + count, size - at - count);
            size -= count;
            break;
        case 2:
            data[at] ^= 1 << g_rand_int_range(rand, 0, 8);
            break;
        case 3:
            data[at] = g_rand_int(rand);
            break;
        case 4:
            data[at] = notable[g_rand_int_range(rand, 0,
                                                ARRAY_SIZE(notable))];
            break;
        case 5:
            data[at] += g_rand_int_range(rand, -4, 5);
            break;
        }
    }
    return size;
}

static void run_changed(const GPtrArray *inputs, int runs)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(1);
    uint8_t *data = g_malloc(2 * LARGEST_INPUT);

    for (int i = 0; i < runs; i++) {
        const GByteArray *one =
            inputs->pdata[g_rand_int_range(rand, 0, inputs->len)];
        const GByteArray *other =
            inputs->pdata[g_rand_int_range(rand, 0, inputs->len)];
        size_t size = MIN(one->len, LARGEST_INPUT);

        memcpy(data, one->data, size);
        size = mutate(rand, data, size, other);
        run("changed", data, size);
    }
    g_free(data);
}

int main(int argc, char **argv)
{
    g_autoptr(GPtrArray) inputs =
        g_ptr_array_new_with_free_func((GDestroyNotify)g_byte_array_unref);
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;
    g_autoptr(GError) err = NULL;
    struct sigaction on_abort = { .sa_handler = abort_signal };
    int runs = argc == 3 ? atoi(argv[2]) : 0;
    int number = 0;

    if (argc < 2 || argc > 3 || argv[1][0] == '-') {
        fprintf(stderr, "Usage: %s INPUTS [RUNS]\n\n"
                "Runs the inputs in file INPUTS, lines of 'NAME HEX', and RUNS "
                "more\nthat are made from them, always the same.\n", argv[0]);
        return 2;
    }
    if (!g_file_get_contents(argv[1], &text, NULL, &err)) {
        fprintf(stderr, "%s: %s\n", argv[0], err->message);
        return 1;
    }
    sigaction(SIGABRT, &on_abort, NULL);
    if (__sanitizer_set_death_callback) {
        __sanitizer_set_death_callback(show_input);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    LLVMFuzzerInitialize(&argc, &argv);

    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        GByteArray *bytes;

        if (!**line || **line == '#') {
            continue;
        }
        bytes = parse_line(*line);
        g_ptr_array_add(inputs, bytes);
        run(*line, bytes->data, bytes->len);
        printf("ok %d %s\n", ++number, *line);
    }
    if (inputs->len && runs) {
        run_changed(inputs, runs);
        printf("ok %d %d changed inputs\n", ++number, runs);
    }
    printf("1..%d\n", number);
    return !number;
}
