/*
 * Tests of the NVMe controller without a server: what a guest may do and what
 * it had better not.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "nvme-image.h"
#include <glib.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

/* The guest's memory begins at 0 */
#define MEMORY_SIZE (8 << 20)
#define ADMIN_SQ 0x1000
#define ADMIN_CQ 0x2000
#define IO_SQ 0x3000
#define IO_CQ 0x4000
#define LISTS 0x10000           /* lists of pages */
#define DATA 0x200000
#define ENTRIES 64
#define BLOCKS 8192

typedef struct Fixture {
    NvmeDevice device;
    uint8_t memory[MEMORY_SIZE];
    unsigned interrupts[NVME_QUEUES];
    unsigned sq_tail[2];
    unsigned cq_head[2];
    uint16_t next_id;
} Fixture;

static bool memory_has(uint64_t address, size_t size)
{
    g_assert_cmpuint(size, <=, NVME_PAGE);
    return address <= MEMORY_SIZE && size <= MEMORY_SIZE - address;
}

static bool host_read(void *opaque, uint64_t address, void *data, size_t size)
{
    Fixture *f = opaque;

    if (!memory_has(address, size)) {
        return false;
    }
    memcpy(data, &f->memory[address], size);
    return true;
}

static bool host_write(void *opaque, uint64_t address, const void *data,
                       size_t size)
{
    Fixture *f = opaque;

    if (!memory_has(address, size)) {
        return false;
    }
    memcpy(&f->memory[address], data, size);
    return true;
}

static void host_interrupt(void *opaque, unsigned vector)
{
    Fixture *f = opaque;

    g_assert_cmpuint(vector, <, NVME_QUEUES);
    f->interrupts[vector]++;
}

static void set_register(Fixture *f, uint64_t offset, uint64_t value,
                         size_t size)
{
    nvme_device_write(&f->device, offset, &value, size);
}

static uint32_t get_register(Fixture *f, uint64_t offset)
{
    uint32_t value;

    nvme_device_read(&f->device, offset, &value, sizeof(value));
    return value;
}

static void ring(Fixture *f, unsigned doorbell, uint32_t value)
{
    set_register(f, NVME_REG_DOORBELLS + doorbell * 4, value, 4);
}

static void enable(Fixture *f, uint32_t aqa, uint64_t asq, uint64_t acq,
                   uint32_t cc)
{
    set_register(f, NVME_REG_CC, 0, 4);
    set_register(f, NVME_REG_AQA, aqa, 4);
    set_register(f, NVME_REG_ASQ, asq, 8);
    set_register(f, NVME_REG_ACQ, acq, 8);
    set_register(f, NVME_REG_CC, cc, 4);
}

/* Submit a command to this queue; returns the status that it ends with. */
static int submit(Fixture *f, unsigned queue, NvmeCommand command)
{
    unsigned head = f->cq_head[queue];
    const NvmeCompletion *completion = (const void *)
        &f->memory[(queue ? IO_CQ : ADMIN_CQ) + head * sizeof(*completion)];
    uint16_t before = completion->status;

    command.id = ++f->next_id;
    memcpy(&f->memory[(queue ? IO_SQ : ADMIN_SQ) +
                      f->sq_tail[queue] * sizeof(command)],
           &command, sizeof(command));
    f->sq_tail[queue] = (f->sq_tail[queue] + 1) % ENTRIES;
    ring(f, queue * 2, f->sq_tail[queue]);

    g_assert_cmpuint(completion->status & 1, !=, before & 1);
    g_assert_cmpuint(completion->id, ==, command.id);
    g_assert_cmpuint(completion->queue, ==, queue);
    g_assert_cmpuint(completion->head, ==, f->sq_tail[queue]);
    f->cq_head[queue] = (head + 1) % ENTRIES;
    ring(f, queue * 2 + 1, f->cq_head[queue]);
    return completion->status >> 1;
}

static int create(Fixture *f, uint8_t opcode, uint32_t id, uint32_t entries,
                  uint64_t base, uint32_t dw11)
{
    return submit(f, 0, (NvmeCommand) {
        .opcode = opcode, .prp1 = base, .dw10 = id | (entries - 1) << 16,
        .dw11 = dw11,
    });
}

static int access_disk(Fixture *f, uint8_t opcode, uint64_t block,
                       uint32_t count, uint64_t prp1, uint64_t prp2)
{
    return submit(f, 1, (NvmeCommand) {
        .opcode = opcode, .namespace = 1, .prp1 = prp1, .prp2 = prp2,
        .dw10 = block, .dw11 = block >> 32, .dw12 = count - 1,
    });
}

static void set_up(Fixture *f, gconstpointer data)
{
    g_autofree char *path = NULL;

    (void)data;
    f->device.file = g_file_open_tmp("nvme-XXXXXX", &path, NULL);
    g_assert_cmpint(f->device.file, >=, 0);
    g_unlink(path);
    f->device.blocks = BLOCKS;
    g_assert_cmpint(ftruncate(f->device.file, BLOCKS << NVME_BLOCK_SHIFT), ==,
                    0);
    f->device.host = (NvmeHost) {
        .read = host_read, .write = host_write, .interrupt = host_interrupt,
        .opaque = f,
    };
    enable(f, (ENTRIES - 1) << 16 | (ENTRIES - 1), ADMIN_SQ, ADMIN_CQ,
           NVME_CC_ENABLE);
    g_assert_cmphex(get_register(f, NVME_REG_CSTS), ==, NVME_CSTS_READY);
    g_assert_cmphex(create(f, NVME_ADMIN_CREATE_CQ, 1, ENTRIES, IO_CQ,
                           1 << 16 | 3), ==, NVME_SUCCESS);
    g_assert_cmphex(create(f, NVME_ADMIN_CREATE_SQ, 1, ENTRIES, IO_SQ,
                           1 << 16 | 1), ==, NVME_SUCCESS);
}

static void tear_down(Fixture *f, gconstpointer data)
{
    (void)data;
    close(f->device.file);
}

static void test_registers(Fixture *f, gconstpointer data)
{
    static const struct {
        uint32_t aqa;
        uint64_t asq, acq;
        uint32_t cc;
    } bad[] = {
        { 0, ADMIN_SQ, ADMIN_CQ, 1 },                   /* one entry */
        { 0xfff0fff, ADMIN_SQ, ADMIN_CQ, 1 },           /* too many */
        { 0xf000f, ADMIN_SQ + 64, ADMIN_CQ, 1 },
        { 0xf000f, ADMIN_SQ, ADMIN_CQ + 64, 1 },
        { 0xf000f, ADMIN_SQ, ADMIN_CQ, 1 | 1 << 7 },    /* pages of 8 KiB */
        { 0xf000f, ADMIN_SQ, ADMIN_CQ, 1 | 6 << 4 },
    };
    size_t i;

    (void)data;
    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        enable(f, bad[i].aqa, bad[i].asq, bad[i].acq, bad[i].cc);
        g_assert_cmphex(get_register(f, NVME_REG_CSTS), ==, NVME_CSTS_FATAL);
        ring(f, 0, 1);
    }
    /* Where there is no memory it fails as soon as there is a command */
    enable(f, 0xf000f, 1ull << 40, ADMIN_CQ, NVME_CC_ENABLE);
    g_assert_cmphex(get_register(f, NVME_REG_CSTS), ==, NVME_CSTS_READY);
    ring(f, 0, 1);
    g_assert_cmphex(get_register(f, NVME_REG_CSTS), ==,
                    NVME_CSTS_READY | NVME_CSTS_FATAL);
}

static void test_queues(Fixture *f, gconstpointer data)
{
    static const struct {
        uint8_t opcode;
        uint32_t id, entries;
        uint64_t base;
        uint32_t dw11;
        int status;
    } cases[] = {
        { NVME_ADMIN_CREATE_CQ, 0, 16, 0x5000, 3, NVME_INVALID_QUEUE_ID },
        { NVME_ADMIN_CREATE_CQ, 1, 16, 0x5000, 3, NVME_INVALID_QUEUE_ID },
        { NVME_ADMIN_CREATE_CQ, NVME_QUEUES, 16, 0x5000, 3,
          NVME_INVALID_QUEUE_ID },
        { NVME_ADMIN_CREATE_CQ, 2, 1, 0x5000, 3, NVME_INVALID_QUEUE_SIZE },
        { NVME_ADMIN_CREATE_CQ, 2, NVME_ENTRIES + 1, 0x5000, 3,
          NVME_INVALID_QUEUE_SIZE },
        { NVME_ADMIN_CREATE_CQ, 2, 16, 0x5010, 3, NVME_INVALID_PRP_OFFSET },
        { NVME_ADMIN_CREATE_CQ, 2, 16, 0x5000, 2, NVME_INVALID_FIELD },
        { NVME_ADMIN_CREATE_CQ, 2, 16, 0x5000, NVME_QUEUES << 16 | 3,
          NVME_INVALID_VECTOR },
        { NVME_ADMIN_CREATE_SQ, 1, 16, 0x6000, 1 << 16 | 1,
          NVME_INVALID_QUEUE_ID },
        { NVME_ADMIN_CREATE_SQ, 2, 16, 0x6000, 1, NVME_INVALID_CQ },
        { NVME_ADMIN_CREATE_SQ, 2, 16, 0x6000, 2 << 16 | 1, NVME_INVALID_CQ },
        { NVME_ADMIN_CREATE_SQ, 2, 16, 0x6000, 0xffffu << 16 | 1,
          NVME_INVALID_CQ },
        { NVME_ADMIN_DELETE_CQ, 0, 1, 0, 0, NVME_INVALID_QUEUE_ID },
        { NVME_ADMIN_DELETE_CQ, 1, 1, 0, 0, NVME_INVALID_DELETION },
        { NVME_ADMIN_DELETE_CQ, 0xffff, 1, 0, 0, NVME_INVALID_QUEUE_ID },
        { NVME_ADMIN_DELETE_SQ, 0, 1, 0, 0, NVME_INVALID_QUEUE_ID },
        { NVME_ADMIN_DELETE_SQ, 2, 1, 0, 0, NVME_INVALID_QUEUE_ID },
        { NVME_ADMIN_DELETE_SQ, 1, 1, 0, 0, NVME_SUCCESS },
        { NVME_ADMIN_DELETE_CQ, 1, 1, 0, 0, NVME_SUCCESS },
    };
    size_t i;

    (void)data;
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("case %zu", i);
        g_assert_cmphex(create(f, cases[i].opcode, cases[i].id,
                               cases[i].entries, cases[i].base,
                               cases[i].dw11), ==, cases[i].status);
    }
}

static void test_doorbells(Fixture *f, gconstpointer data)
{
    const NvmeState before = f->device.state;

    (void)data;
    ring(f, 0, ENTRIES);
    ring(f, 2, 0xffffffff);
    ring(f, 1, ENTRIES);
    ring(f, 1, ENTRIES + before.cq[0].head);
    ring(f, 1, before.cq[0].head + 1);          /* nothing to take there */
    ring(f, 2 * NVME_QUEUES, 1);
    ring(f, 4, 1);                              /* no such queue yet */
    ring(f, (NVME_BAR_SIZE - NVME_REG_DOORBELLS) / 4 - 1, 1);
    g_assert_cmpmem(&f->device.state, sizeof(before), &before,
                    sizeof(before));
    g_assert_cmpuint(f->interrupts[1], ==, 0);
}

/* Without room for a completion a command waits; the next round is marked. */
static void test_full(Fixture *f, gconstpointer data)
{
    const NvmeCompletion *first = (const void *)&f->memory[IO_CQ];
    unsigned i;

    (void)data;
    memset(&f->memory[IO_SQ], 0, ENTRIES * sizeof(NvmeCommand));
    for (i = 1; i < ENTRIES; i++) {
        ring(f, 2, i);
    }
    ring(f, 2, 0);
    g_assert_cmpuint(f->interrupts[1], ==, ENTRIES - 1);
    ring(f, 3, 1);
    g_assert_cmpuint(f->interrupts[1], ==, ENTRIES);
    ring(f, 2, 1);
    g_assert_cmpuint(first->status & 1, ==, 1);
    ring(f, 3, 2);
    g_assert_cmpuint(f->interrupts[1], ==, ENTRIES + 1);
    g_assert_cmpuint(first->status & 1, ==, 0);
}

static void test_bad_access(Fixture *f, gconstpointer data)
{
    static const struct {
        uint64_t block;
        uint32_t count;
        uint64_t prp1, prp2;
        int status;
    } cases[] = {
        { BLOCKS, 1, DATA, 0, NVME_LBA_OUT_OF_RANGE },
        { BLOCKS - 1, 2, DATA, 0, NVME_LBA_OUT_OF_RANGE },
        { UINT64_MAX, 2, DATA, 0, NVME_LBA_OUT_OF_RANGE },
        { 0, 4097, DATA, LISTS, NVME_INVALID_FIELD },
        { 0, 0x10000, DATA, LISTS, NVME_INVALID_FIELD },
        { 0, 1, DATA + 1, 0, NVME_INVALID_PRP_OFFSET },
        { 0, 1, MEMORY_SIZE, 0, NVME_TRANSFER_ERROR },
        { 0, 1, UINT64_MAX - 3, 0, NVME_TRANSFER_ERROR },
        { 0, 9, DATA, DATA + 4, NVME_INVALID_PRP_OFFSET },
        { 0, 9, DATA, MEMORY_SIZE, NVME_TRANSFER_ERROR },
        { 0, 32, DATA, LISTS + 4, NVME_INVALID_PRP_OFFSET },
        { 0, 32, DATA, MEMORY_SIZE, NVME_TRANSFER_ERROR },
        /* A list whose only entry leads to itself, in mid-page */
        { 0, 32, DATA, LISTS + 0xff8, NVME_INVALID_PRP_OFFSET },
        /* A list whose first page is nowhere */
        { 0, 32, DATA, LISTS + 0x1000, NVME_TRANSFER_ERROR },
    };
    const uint64_t itself = LISTS + 0xff8, nowhere = MEMORY_SIZE;
    size_t i;

    (void)data;
    memcpy(&f->memory[itself], &itself, sizeof(itself));
    memcpy(&f->memory[LISTS + 0x1000], &nowhere, sizeof(nowhere));
    for (i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_test_message("case %zu", i);
        g_assert_cmphex(access_disk(f, i % 2 ? NVME_IO_READ : NVME_IO_WRITE,
                                    cases[i].block, cases[i].count,
                                    cases[i].prp1, cases[i].prp2), ==,
                        cases[i].status);
    }
}

/* All that one command can carry, by lists that begin at a page's end. */
static void test_lists(Fixture *f, gconstpointer data)
{
    const uint64_t second = LISTS + 0x2000;
    uint64_t first = LISTS + NVME_PAGE - 16, page = DATA, i;
    g_autofree uint8_t *wanted = g_malloc(NVME_DATA_SIZE);

    (void)data;
    for (i = 0; i < NVME_DATA_SIZE; i++) {
        wanted[i] = f->memory[DATA + 0x200 + i] = i * 31 >> 4;
    }
    for (i = 0; i < 513; i++) {
        page += NVME_PAGE;
        memcpy(&f->memory[i ? second + (i - 1) * 8 : first], &page, 8);
    }
    memcpy(&f->memory[first + 8], &second, 8);
    g_assert_cmphex(access_disk(f, NVME_IO_WRITE, 7, 4096, DATA + 0x200,
                                first), ==, NVME_SUCCESS);
    memset(&f->memory[DATA], 0, NVME_DATA_SIZE + NVME_PAGE);
    g_assert_cmphex(access_disk(f, NVME_IO_READ, 7, 4096, DATA + 0x200,
                                first), ==, NVME_SUCCESS);
    g_assert_cmpmem(&f->memory[DATA + 0x200], NVME_DATA_SIZE, wanted,
                    NVME_DATA_SIZE);
    g_assert_cmpuint(f->memory[DATA + 0x1ff], ==, 0);
    g_assert_cmpuint(f->memory[DATA + 0x200 + NVME_DATA_SIZE], ==, 0);
}

static void test_events(Fixture *f, gconstpointer data)
{
    unsigned i;

    (void)data;
    for (i = 0; i < NVME_EVENTS; i++) {
        memset(&f->memory[ADMIN_SQ + f->sq_tail[0] * sizeof(NvmeCommand)],
               NVME_ADMIN_ASYNC_EVENT, 1);
        ring(f, 0, ++f->sq_tail[0]);
    }
    g_assert_cmphex(submit(f, 0, (NvmeCommand) {
                        .opcode = NVME_ADMIN_ASYNC_EVENT }), ==,
                    NVME_TOO_MANY_EVENTS);
    g_assert_cmphex(submit(f, 0, (NvmeCommand) {
                        .opcode = NVME_ADMIN_GET_LOG_PAGE, .prp1 = DATA,
                        .dw10 = 0xffffu << 16 | NVME_LOG_HEALTH,
                        .dw11 = 0xffff }), ==, NVME_INVALID_FIELD);
    g_assert_cmphex(submit(f, 0, (NvmeCommand) {
                        .opcode = NVME_ADMIN_SET_FEATURES, .dw10 = 0xff }),
                    ==, NVME_INVALID_FIELD);
}

/* Loaded into another controller, an image is all of the first one. */
static void test_image(Fixture *f, gconstpointer data)
{
    static NvmeDevice other;
    NvmeImage image;

    (void)data;
    other.blocks = BLOCKS;
    nvme_image_save(&f->device, true, &image);
    g_assert_true(nvme_image_load(&other, &image));
    g_assert_cmpmem(&other.state, sizeof(other.state), &f->device.state,
                    sizeof(f->device.state));
    other.blocks++;
    g_assert_false(nvme_image_load(&other, &image));
}

/* An image of a controller that cannot be does not change one. */
static void test_bad_image(Fixture *f, gconstpointer data)
{
    const NvmeState before = f->device.state;
    NvmeState *state = &f->device.state;
    const struct {
        uint32_t *number;
        uint32_t value;
    } bad[] = {
        { &state->csts, 0x10 },
        { &state->event_count, NVME_EVENTS + 1 },
        { &state->sq[0].entries, 0 },
        { &state->sq[0].entries, NVME_ENTRIES + 1 },
        { &state->sq[1].entries, 1 },
        { &state->sq[0].head, ENTRIES },
        { &state->sq[0].tail, ENTRIES },
        { &state->sq[0].completions, 1 },
        { &state->sq[1].completions, 0 },
        { &state->sq[1].completions, 2 },
        { &state->sq[1].completions, NVME_QUEUES },
        { &state->sq[2].tail, 1 },
        { &state->cq[1].entries, 0 },
        { &state->cq[1].head, ENTRIES },
        { &state->cq[1].tail, ENTRIES },
        { &state->cq[1].phase, 2 },
        { &state->cq[1].interrupts, 2 },
        { &state->cq[1].vector, NVME_QUEUES },
        { &state->cq[2].vector, 1 },
        { (uint32_t *)&state->sq[1].base, IO_SQ + 1 },
    };
    NvmeImage image;
    size_t i;

    (void)data;
    for (i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_test_message("case %zu", i);
        *bad[i].number = bad[i].value;
        nvme_image_save(&f->device, true, &image);
        *state = before;
        g_assert_false(nvme_image_load(&f->device, &image));
        g_assert_cmpmem(state, sizeof(*state), &before, sizeof(before));
    }
    /* Not a bit of it may change on the way */
    nvme_image_save(&f->device, true, &image);
    for (i = 0; i < sizeof(image) * 8; i++) {
        ((uint8_t *)&image)[i / 8] ^= 1 << i % 8;
        g_assert_false(nvme_image_load(&f->device, &image));
        ((uint8_t *)&image)[i / 8] ^= 1 << i % 8;
    }
    g_assert_true(nvme_image_load(&f->device, &image));
}

/* Interrupts that may have been lost come again, and what waited is done. */
static void test_stopped(Fixture *f, gconstpointer data)
{
    (void)data;
    memset(&f->memory[IO_SQ], 0, 2 * sizeof(NvmeCommand));
    ring(f, 2, 1);
    g_assert_cmpuint(f->interrupts[1], ==, 1);
    f->device.stopped = true;
    ring(f, 2, 2);
    g_assert_cmpuint(f->interrupts[1], ==, 1);
    nvme_device_run(&f->device);
    g_assert_cmpuint(f->interrupts[1], ==, 3);
    g_assert_cmpuint(f->device.state.cq[1].tail, ==, 2);
}

/* Whatever is in the guest's memory and registers, nothing breaks. */
static void test_random(Fixture *f, gconstpointer data)
{
    unsigned round, i;

    (void)data;
    for (round = 0; round < 20000; round++) {
        uint64_t offset = g_test_rand_int_range(0, 2) ?
            NVME_REG_DOORBELLS + g_test_rand_int_range(0, 24) * 4 :
            g_test_rand_int_range(0, 0x40);

        for (i = 0; i < 64; i++) {
            uint32_t at = g_test_rand_int_range(0, IO_CQ / 4) * 4;
            uint32_t value = g_test_rand_int();

            value >>= g_test_rand_int_range(0, 32);
            memcpy(&f->memory[at], &value, 4);
        }
        set_register(f, offset, g_test_rand_int_range(0, 1 << 8), 4);
        if (round % 32 == 0) {
            enable(f, 0xf000f, ADMIN_SQ, ADMIN_CQ, NVME_CC_ENABLE);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*test)(Fixture *f, gconstpointer data);
    } tests[] = {
        { "registers", test_registers },
        { "queues", test_queues },
        { "doorbells", test_doorbells },
        { "full", test_full },
        { "bad-access", test_bad_access },
        { "lists", test_lists },
        { "events", test_events },
        { "random", test_random },
        { "image", test_image },
        { "bad-image", test_bad_image },
        { "stopped", test_stopped },
    };
    size_t i;

    g_test_init(&argc, &argv, NULL);
    for (i = 0; i < G_N_ELEMENTS(tests); i++) {
        g_autofree char *path = g_strconcat("/nvme/", tests[i].name, NULL);

        g_test_add(path, Fixture, NULL, set_up, tests[i].test, tear_down);
    }
    return g_test_run();
}
