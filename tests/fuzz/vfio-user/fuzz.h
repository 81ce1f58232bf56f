/*
 * What the fuzz targets of the vfio-user client share: taking an input apart.
 *
 * A target is one LLVMFuzzerTestOneInput().  libFuzzer drives it in 'make
 * fuzz'; fuzz-driver.c does in 'make check'.  It is deterministic, and aborts
 * when a promise of the code under test is broken.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_FUZZ_VFIO_USER_FUZZ_H
#define TESTS_FUZZ_VFIO_USER_FUZZ_H

#include "qemu/osdep.h"
#include "qemu/bswap.h"
#include "qapi/error.h"

/* Called by the fuzzer and the driver: once, and for each input */
int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is left of an input */
typedef struct FuzzInput {
    const uint8_t *data;
    size_t size;
} FuzzInput;

/* The next byte; behind the end, 0 */
static inline uint8_t fuzz_byte(FuzzInput *input)
{
    if (!input->size) {
        return 0;
    }
    input->size--;
    return *input->data++;
}

/* The next 8 bytes, as on the wire */
static inline uint64_t fuzz_number(FuzzInput *input)
{
    uint64_t value = 0;

    for (int i = 0; i < 8; i++) {
        value |= (uint64_t)fuzz_byte(input) << (8 * i);
    }
    return value;
}

/* The next @size bytes, or what there is, which *@got says */
static inline const uint8_t *fuzz_bytes(FuzzInput *input, size_t size,
                                        size_t *got)
{
    const uint8_t *data = input->data;

    *got = MIN(size, input->size);
    input->data += *got;
    input->size -= *got;
    return data;
}

/*
 * A function that reports by an Error says why if, and only if, it fails.
 * Frees @err.
 */
static inline void fuzz_check_error(bool ok, Error *err)
{
    g_assert_true(ok == !err);
    error_free(err);
}

/* The lowest number that is free: it shows fds that leak. */
static inline int fuzz_next_fd(void)
{
    int fd = dup(STDERR_FILENO);

    close(fd);
    return fd;
}

#endif /* TESTS_FUZZ_VFIO_USER_FUZZ_H */
