/*
 * The fault matrix as data: the faults, the commands in the phases in which
 * they are sent, and what is expected of the two together.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "matrix.h"

const char *const matrix_phases[MATRIX_NUM_PHASES] = {
    [MATRIX_REALIZE] = "realize",
    [MATRIX_RUNNING] = "running",
    [MATRIX_PRECOPY] = "pre-copy",
    [MATRIX_STOP_COPY] = "stop-and-copy",
    [MATRIX_RESUMING] = "resuming",
};

/* --- the faults --- */

#define STALL_MS (2 * MATRIX_TIMEOUT_MS)
#define NO_REPLY_TEXT "no reply within $timeout ms"
#define ERROR(...) { .action = MOCK_ACTION_ERROR, __VA_ARGS__ }

static const char body[64] = "a body, which error replies should not have";

const MatrixFault matrix_faults[] = {
    { "close-before", { .action = MOCK_ACTION_CLOSE_BEFORE },
      .effect = MATRIX_DEAD, .text = "server closed the connection" },
    { "close-after", { .action = MOCK_ACTION_CLOSE_AFTER },
      .effect = MATRIX_DEAD_LATER, .text = "server closed the connection" },
    { "cut-header", { .action = MOCK_ACTION_CUT, .bytes = 8 },
      .effect = MATRIX_DEAD,
      .text = "server closed the connection inside a message (got 8 bytes of "
              "it)" },
    { "cut-payload", { .action = MOCK_ACTION_CUT },
      MATRIX_NEEDS_PAYLOAD, MATRIX_DEAD,
      .text = "server closed the connection inside a message (got $cut bytes "
              "of it)" },
    { "bytewise", { .action = MOCK_ACTION_DRIBBLE, .bytes = 1 } },
    { "slow", { .action = MOCK_ACTION_DELAY, .delay_ms = 20 } },
    { "stall", { .action = MOCK_ACTION_NO_REPLY },
      .effect = MATRIX_DEAD, .stalls = true, .text = NO_REPLY_TEXT },
    { "stall-in-header", { .action = MOCK_ACTION_DRIBBLE, .bytes = 12,
                           .delay_ms = STALL_MS },
      .effect = MATRIX_DEAD, .stalls = true, .text = NO_REPLY_TEXT },
    { "late", { .action = MOCK_ACTION_DELAY, .delay_ms = STALL_MS },
      .effect = MATRIX_DEAD, .stalls = true, .text = NO_REPLY_TEXT },
    { "duplicate", { .action = MOCK_ACTION_DUPLICATE },
      .effect = MATRIX_DEAD_LATER,
      .text = "reply to no request (id 0x*)" },
    { "wrong-id", { .action = MOCK_ACTION_WRONG_ID },
      .effect = MATRIX_DEAD, .text = "reply to no request (id 0x*)" },
    { "wrong-command", { .action = MOCK_ACTION_WRONG_COMMAND },
      .effect = MATRIX_DEAD,
      .text = "wrong command in the reply (got $other, sent $sent)" },
    { "request", { .action = MOCK_ACTION_WRONG_TYPE },
      .effect = MATRIX_DEAD, .text = "command in place of the reply" },
    { "error", ERROR(.error = EIO),
      .effect = MATRIX_REFUSED, .text = "server error: Input/output error" },
    { "error-without-errno", ERROR(.error = 0),
      .effect = MATRIX_REFUSED, .text = "server error: Input/output error" },
    { "error-with-body", ERROR(.error = EIO, .data = body,
                               .data_size = sizeof(body)),
      .effect = MATRIX_REFUSED, .text = "server error: Input/output error" },
    { "short", { .action = MOCK_ACTION_TRUNCATE },
      MATRIX_NEEDS_SIZE, MATRIX_DEAD },
    { "long", { .action = MOCK_ACTION_EXTEND },
      .effect = MATRIX_DEAD,
      .text = "reply is too long (got * bytes, limit $limit)" },
    { "count", { .action = MOCK_ACTION_MANGLE, .xor = MATRIX_LIE },
      MATRIX_NEEDS_COUNT, MATRIX_DEAD },
    { "argsz", { .action = MOCK_ACTION_MANGLE },
      MATRIX_NEEDS_ARGSZ, MATRIX_DEAD },
    { "extra-fd", { .action = MOCK_ACTION_EXTRA_FD },
      MATRIX_NEEDS_NO_FDS, MATRIX_DEAD },
    { "no-fd", { .action = MOCK_ACTION_NO_FDS },
      MATRIX_NEEDS_FDS, MATRIX_DEAD },
};

const size_t matrix_num_faults = G_N_ELEMENTS(matrix_faults);

/* --- the replies --- */

#define HEADER 16
#define ARGSZ HEADER            /* the first field where there is one */

#define WRONG_LENGTH "payload length is wrong (got $short, expected $size)"
#define SMALL_LENGTH "payload length is too small (got $short, limit $size)"
#define NO_FDS "too many fds in a message (got 1, limit 0)"

#define REGION_RW(bytes, size_, length) \
    { .size = (size_), .limit = (size_), .count_at = HEADER + 12, \
      .count = (bytes), \
      .texts = { [MATRIX_NEEDS_SIZE] = length, \
                 [MATRIX_NEEDS_COUNT] = "count exceeds the bytes asked for " \
                                        "(got $lied, limit $count)", \
                 [MATRIX_NEEDS_NO_FDS] = NO_FDS } }
#define READ(bytes) REGION_RW(bytes, 16 + (bytes), WRONG_LENGTH)
#define WRITE(bytes) REGION_RW(bytes, 16, SMALL_LENGTH)

static const MatrixReply read_1 = READ(1), read_4 = READ(4), read_8 = READ(8);
static const MatrixReply read_256 = READ(256), read_16k = READ(16384);
static const MatrixReply read_32k = READ(32768);
static const MatrixReply write_1 = WRITE(1), write_2 = WRITE(2);
static const MatrixReply write_4 = WRITE(4), write_8 = WRITE(8);
static const MatrixReply write_16k = WRITE(16384);

static const MatrixReply empty = {
    .texts = { [MATRIX_NEEDS_NO_FDS] = NO_FDS },
};

static const MatrixReply version = {
    .size = 96, .limit = 65540,
    .texts = {
        [MATRIX_NEEDS_SIZE] = "JSON does not end with NUL (got * bytes)",
        [MATRIX_NEEDS_NO_FDS] = NO_FDS,
    },
};

static const MatrixReply device_info = {
    .size = 16, .limit = 16, .argsz_at = ARGSZ, .argsz_xor = 0x10,
    .texts = {
        [MATRIX_NEEDS_SIZE] = WRONG_LENGTH,
        [MATRIX_NEEDS_ARGSZ] = "argsz is too small (got 0, limit 16)",
        [MATRIX_NEEDS_NO_FDS] = NO_FDS,
    },
};

static const MatrixReply irq_info = {
    .size = 16, .limit = 16, .argsz_at = ARGSZ, .argsz_xor = 0x10,
    .count_at = HEADER + 13,
    .texts = {
        [MATRIX_NEEDS_SIZE] = WRONG_LENGTH,
        [MATRIX_NEEDS_COUNT] = "count is too large (got 16384, limit "
                               "2048)",
        [MATRIX_NEEDS_ARGSZ] = "argsz is too small (got 0, limit 16)",
        [MATRIX_NEEDS_NO_FDS] = NO_FDS,
    },
};

/* Two areas, each with an fd: without those it is reached by messages. */
static const MatrixReply region_info = {
    .size = 80, .limit = 80, .argsz_at = ARGSZ, .argsz_xor = 0x50,
    .count_at = HEADER + 40, .fds = true,
    .texts = {
        [MATRIX_NEEDS_SIZE] = SMALL_LENGTH,
        [MATRIX_NEEDS_COUNT] = "sparse nr_areas is too large (got 66, limit "
                               "2)",
        [MATRIX_NEEDS_ARGSZ] = "argsz is too small (got 0, limit 32)",
    },
};

static const MatrixReply unmap = {
    .size = 24, .limit = 40, .argsz_at = ARGSZ, .argsz_xor = 0xff,
    .count_at = HEADER + 16,
    .texts = {
        [MATRIX_NEEDS_SIZE] = WRONG_LENGTH,
        [MATRIX_NEEDS_COUNT] = "size is not the one asked for (got *, "
                               "expected *)",
        [MATRIX_NEEDS_ARGSZ] = "argsz is too large (got 231, limit 24)",
        [MATRIX_NEEDS_NO_FDS] = NO_FDS,
    },
};

static const MatrixReply bitmap = {
    .size = 64, .limit = 64, .argsz_at = ARGSZ, .argsz_xor = 0xff,
    .count_at = HEADER + 32,
    .texts = {
        [MATRIX_NEEDS_SIZE] = WRONG_LENGTH,
        [MATRIX_NEEDS_COUNT] = "bitmap size is not the one asked for "
                               "(got 0x58, expected 0x18)",
        [MATRIX_NEEDS_ARGSZ] = "argsz is too large (got 191, limit 64)",
        [MATRIX_NEEDS_NO_FDS] = NO_FDS,
    },
};

/* --- the rows --- */

#define COMMAND(name) MOCK_PATTERN_COMMAND(MOCK_##name)
#define INDEXED(name, index) \
    { .command = MOCK_##name, .match = MOCK_MATCH_REGION, .region = (index) }
#define ANYWHERE(name, region_) \
    { .command = MOCK_REGION_##name, .match = MOCK_MATCH_REGION, \
      .region = MOCK_REGION_##region_ }
#define REGISTER(access, name) \
    MOCK_PATTERN_REGION(MOCK_REGION_##access, MOCK_REGION_MIGRATION, \
                        MOCK_MIG_##name)
#define STATE(name) MOCK_PATTERN_STATE_WRITE(MOCK_STATE_##name)
#define DATA(access) MOCK_PATTERN_DATA(MOCK_REGION_##access)

#define MSG "x-msg-timeout"
#define MAP "x-map-timeout"
#define STATES "x-state-timeout"
#define BULK "x-bulk-timeout"

/* The device is plugged, or not; and the reason is all that is said. */
#define PLUG(name, where, nth, reply, deadline, ...) \
    { MATRIX_REALIZE, name, where, nth, reply, deadline, .dead = "$reason", \
      __VA_ARGS__ }
#define NO_INTX \
    "vfio dev0: Failed to set up TRIGGER eventfd signaling for interrupt " \
    "INTX-0: VFIO_DEVICE_SET_IRQS failure: Input/output error"
#define IRQS_REFUSED \
    "$name: DEVICE_SET_IRQS: server error: Input/output error\n"

static const MockRule no_second_map = {
    .where = COMMAND(DMA_MAP), .nth = 2,
    .action = MOCK_ACTION_ERROR, .error = EIO,
};
#define NO_SECOND_MAP \
    "$name: memory at 0x*, size 0x*, is out of the device's reach as mapping " \
    "2: $name: DMA_MAP: server error: Input/output error"

#define SAYS_NO "$name: $command: server error: Input/output error\n"

#define NOT_CONNECTED "Transport endpoint is not connected"

/* What the migration cannot do without: @what is why it fails. */
#define SAVE(phase, name, where, reply, deadline, act, what) \
    { phase, name, where, 1, reply, deadline, act, \
      .dead = "dev0: " what ": " NOT_CONNECTED, .dead_said = "$qmp\n", \
      .refused = "dev0: " what ": Input/output error", \
      .refused_said = "$qmp\n$qmp\n" }
/* asked for together with the size */
#define OFFSET(phase, act) \
    { phase, "REGION_READ:offset", REGISTER(READ, DATA_OFFSET), 1, &read_8, \
      BULK, act, .in_one_go = true, \
      .dead = "dev0: data_*: read failed: " NOT_CONNECTED, \
      .dead_said = "$qmp\n", \
      .refused = "dev0: data_offset: read failed: Input/output error", \
      .refused_said = "$qmp\n$qmp\n" }
/* of the first, or of the second where that finds the server gone */
#define NO_BITMAP "dirty log of memory at 0x*, size 0x*: $reason"
#define BITMAP(phase, act, ...) \
    { phase, "DIRTY_PAGES:get", MOCK_PATTERN_DIRTY(4), 1, &bitmap, BULK, act, \
      .in_one_go = true, .dead = "dev0: " NO_BITMAP, .dead_said = "$qmp\n", \
      .refused = "dev0: " NO_BITMAP, .refused_said = NO_BITMAP "\n$qmp\n", \
      __VA_ARGS__ }
#define PENDING_REFUSED "dev0: pending_bytes: read failed: Input/output error\n"

/* What the guest does in pre-copy */
#define GUEST(name, where, reply, deadline, inner, ...) \
    { MATRIX_PRECOPY, name, where, 1, reply, deadline, matrix_act_in_precopy, \
      inner, .overlaps = true, .ends = "cancelled", .dead = "dev0: $reason", \
      .dead_said = "$qmp\n", .refused = "cancelled", __VA_ARGS__ }

/* What the destination cannot do without: @what is why it ends. */
#define LOAD(name, where, reply, what) \
    { MATRIX_RESUMING, name, where, 1, reply, BULK, matrix_act_load, \
      .dead_said = LOAD_FAILED NOT_CONNECTED "\n", \
      .refused_said = "dev0: " what ": Input/output error\n" \
                      LOAD_FAILED "Input/output error\n" }
#define LOAD_FAILED \
    "error while loading state section id *(0000:00:05.0/vfio)\n" \
    "load of migration failed: "
#define LOAD_STATE_FAILED \
    "Load state of device 0000:00:05.0/vfio failed\n" \
    "load of migration failed: Invalid argument\n"

#define OUT_OF_REACH(reason) \
    "memory at 0x0, size 0xc8000, is out of the device's reach as mapping *: " \
    reason "\n"
/* and so, for the server, what is to be mapped there is mapped twice */
#define REMAINS \
    "memory at 0x0, size 0xc0000, remains in the device's reach: $reason\n" \
    OUT_OF_REACH("$name: DMA_MAP: server error: Invalid argument")

const MatrixRow matrix_rows[] = {
    PLUG("VERSION", COMMAND(VERSION), 1, &version, MAP,
         .refused = "$reason"),
    PLUG("DEVICE_GET_INFO", COMMAND(DEVICE_GET_INFO), 1, &device_info, MAP,
         .refused = "$reason"),
    /* all are asked about in one go, and answered in that order */
    { MATRIX_REALIZE, "DEVICE_GET_REGION_INFO",
      INDEXED(DEVICE_GET_REGION_INFO, MOCK_REGION_BAR2), 2, &region_info, MAP,
      .in_one_go = true, .dead = "$name: region *: $reason",
      .refused = "$name: region 2: $reason" },
    { MATRIX_REALIZE, "DEVICE_GET_IRQ_INFO",
      INDEXED(DEVICE_GET_IRQ_INFO, MOCK_IRQ_MSI), 1, &irq_info, MAP,
      .in_one_go = true, .dead = "$name: *: $reason",
      .refused = "$name: interrupt type 1: $reason" },
    { MATRIX_REALIZE, "DMA_MAP", COMMAND(DMA_MAP), 1, &empty, MAP,
      .in_one_go = true,
      .dead = "$name: memory at 0x*, size 0x*, is out of the device's reach "
              "as mapping *: $reason",
      .refused = "$name: memory at 0x0, size 0xc0000, is out of the device's "
                 "reach as mapping 1: $reason" },
    PLUG("REGION_READ:config", ANYWHERE(READ, CONFIG), 1, &read_256, MSG,
         .refused = "$name: config space: cannot be read: Input/output error",
         .refused_said = SAYS_NO),
    PLUG("REGION_WRITE:config", ANYWHERE(WRITE, CONFIG), 1, &write_4, MSG,
         .refused_said = SAYS_NO
                         "vfio_pci_size_rom(dev0) failed: Input/output "
                         "error\n"),
    PLUG("REGION_READ:register", ANYWHERE(READ, CONFIG), 11, &read_1, MSG,
         .refused_said = SAYS_NO
                         "vfio_pci_read_config(dev0, 0x3d, 0x1) failed: "
                         "Input/output error\n"),
    PLUG("DEVICE_SET_IRQS", COMMAND(DEVICE_SET_IRQS), 1, &empty, MAP,
         .refused = NO_INTX, .refused_said = IRQS_REFUSED),
    /* what was mapped goes when realize has failed */
    { MATRIX_REALIZE, "DMA_UNMAP", COMMAND(DMA_UNMAP), 1, &unmap, MAP,
      .in_one_go = true, .also = &no_second_map, .ends = NO_SECOND_MAP,
      .dead = NO_SECOND_MAP, .refused = NO_SECOND_MAP,
      .refused_said = "memory at 0x0, size 0xc0000, remains in the device's "
                      "reach: $reason\n" },
    PLUG("REGION_READ:state", REGISTER(READ, DEVICE_STATE), 1, &read_4, BULK,
         .refused_said = "dev0: device_state is not to be read, and the device "
                         "does not leave it: Input/output error\n"),
    /* it is reset once it is there */
    { MATRIX_REALIZE, "DEVICE_RESET", COMMAND(DEVICE_RESET), 1, &empty, STATES,
      .refused_said = SAYS_NO "vfio: Cannot reset device dev0, no available "
                      "reset mechanism.\n" },

    { MATRIX_RUNNING, "REGION_READ:bar", ANYWHERE(READ, BAR0), 1, &read_4, MSG,
      matrix_act_bar_read,
      .refused_said = SAYS_NO "vfio_region_read(dev0:region0+0x0, 4) failed: "
                      "Input/output error\n" },
    { MATRIX_RUNNING, "REGION_READ:config", ANYWHERE(READ, CONFIG), 1, &read_4,
      MSG, matrix_act_config_read,
      .refused_said = SAYS_NO "vfio_pci_read_config(dev0, 0x60, 0x4) failed: "
                      "Input/output error\n" },
    { MATRIX_RUNNING, "REGION_WRITE:bar", ANYWHERE(WRITE, BAR0), 1, &write_4,
      MSG, matrix_act_bar_write,
      .refused_said = SAYS_NO "vfio_region_write(dev0:region0+0x80, "
                      "0xfeedf00d,4) failed: Input/output error\n" },
    { MATRIX_RUNNING, "REGION_WRITE:config", ANYWHERE(WRITE, CONFIG), 1,
      &write_1, MSG, matrix_act_config_write,
      .refused_said = SAYS_NO "vfio_pci_write_config(dev0, 0xc, 0x10, 0x1) "
                      "failed: Input/output error\n" },
    { MATRIX_RUNNING, "REGION_WRITE:state-stop", STATE(STOP), 1, &write_4,
      STATES, matrix_act_stop,
      .refused_said = "dev0: device_state: cannot be set to stop: "
                      "Input/output error\n" },
    { MATRIX_RUNNING, "REGION_WRITE:state-running", STATE(RUNNING), 1,
      &write_4, STATES, matrix_act_stop,
      .refused_said = "dev0: device_state: cannot be set to running: "
                      "Input/output error\n" },
    { MATRIX_RUNNING, "DEVICE_SET_IRQS", COMMAND(DEVICE_SET_IRQS), 1, &empty,
      MAP, matrix_act_msix, .refused_said = SAYS_NO },
    { MATRIX_RUNNING, "DMA_UNMAP", COMMAND(DMA_UNMAP), 1, &unmap, MAP,
      matrix_act_memory, .in_one_go = true,
      .refused_said = REMAINS },
    { MATRIX_RUNNING, "DMA_MAP", COMMAND(DMA_MAP), 1, &empty, MAP,
      matrix_act_memory, .in_one_go = true,
      .refused_said = OUT_OF_REACH("$reason") },
    { MATRIX_RUNNING, "DEVICE_RESET", COMMAND(DEVICE_RESET), 1, &empty, STATES,
      matrix_act_reset,
      .refused_said = SAYS_NO "vfio: Cannot reset device dev0, no available "
                      "reset mechanism.\n" },

    { MATRIX_PRECOPY, "DIRTY_PAGES:start", MOCK_PATTERN_DIRTY(1), 1, &empty,
      MAP, matrix_act_migrate, .dead = "dev0: $reason", .dead_said = "$qmp\n",
      .refused = "dev0: $reason", .refused_said = "$reason\n$qmp\n" },
    BITMAP(MATRIX_PRECOPY, matrix_act_migrate),
    SAVE(MATRIX_PRECOPY, "REGION_WRITE:state", STATE(PRE_COPY), &write_4,
         STATES, matrix_act_migrate, "device_state: cannot be set to pre-copy"),
    /* what is not known is not waited for, and comes in stop-and-copy */
    { MATRIX_PRECOPY, "REGION_READ:pending", REGISTER(READ, PENDING_BYTES), 1,
      &read_8, BULK, matrix_act_migrate,
      .dead = "dev0: pending_bytes: read failed: " NOT_CONNECTED,
      .dead_said = "$qmp\n",
      .refused_said = PENDING_REFUSED PENDING_REFUSED },
    OFFSET(MATRIX_PRECOPY, matrix_act_migrate),
    SAVE(MATRIX_PRECOPY, "REGION_READ:size", REGISTER(READ, DATA_SIZE),
         &read_8, BULK, matrix_act_migrate, "data_size: read failed"),
    SAVE(MATRIX_PRECOPY, "REGION_READ:data", DATA(READ), &read_16k, BULK,
         matrix_act_migrate, "data: read failed"),
    { MATRIX_PRECOPY, "DIRTY_PAGES:stop", MOCK_PATTERN_DIRTY(2), 1, &empty,
      MAP, matrix_act_cancel, .ends = "cancelled", .dead = "cancelled",
      .refused = "cancelled", .refused_said = "$reason\n" },
    GUEST("REGION_READ:bar", ANYWHERE(READ, BAR0), &read_4, MSG,
          matrix_act_bar_read, .refused_said = SAYS_NO
          "vfio_region_read(dev0:region0+0x0, 4) failed: Input/output "
          "error\n"),
    GUEST("REGION_WRITE:bar", ANYWHERE(WRITE, BAR0), &write_4, MSG,
          matrix_act_bar_write, .refused_said = SAYS_NO
          "vfio_region_write(dev0:region0+0x80, 0xfeedf00d,4) failed: "
          "Input/output error\n"),
    GUEST("DEVICE_SET_IRQS", COMMAND(DEVICE_SET_IRQS), &empty, MAP,
          matrix_act_msix, .refused_said = SAYS_NO),
    GUEST("DMA_UNMAP", COMMAND(DMA_UNMAP), &bitmap, MAP, matrix_act_memory,
          .in_one_go = true, .refused_said = REMAINS),
    GUEST("DMA_MAP", COMMAND(DMA_MAP), &empty, MAP, matrix_act_memory,
          .in_one_go = true, .refused_said = OUT_OF_REACH("$reason")),
    GUEST("DEVICE_RESET", COMMAND(DEVICE_RESET), &empty, STATES,
          matrix_act_reset, .refused_said = SAYS_NO
          "vfio: Cannot reset device dev0, no available reset mechanism.\n"),

    SAVE(MATRIX_STOP_COPY, "REGION_WRITE:state", STATE(STOP_COPY), &write_4,
         STATES, matrix_act_migrate, "device_state: cannot be set to "
         "stop-copy"),
    /* QEMU goes on to pending_bytes meanwhile */
    BITMAP(MATRIX_STOP_COPY, matrix_act_stop_copy, .overlaps = true),
    SAVE(MATRIX_STOP_COPY, "REGION_READ:pending",
         REGISTER(READ, PENDING_BYTES), &read_8, BULK, matrix_act_stop_copy,
         "pending_bytes: read failed"),
    OFFSET(MATRIX_STOP_COPY, matrix_act_stop_copy),
    SAVE(MATRIX_STOP_COPY, "REGION_READ:size", REGISTER(READ, DATA_SIZE),
         &read_8, BULK, matrix_act_stop_copy, "data_size: read failed"),
    SAVE(MATRIX_STOP_COPY, "REGION_READ:data", DATA(READ), &read_32k, BULK,
         matrix_act_stop_copy, "data: read failed"),
    SAVE(MATRIX_STOP_COPY, "REGION_WRITE:state-stop", STATE(STOP), &write_4,
         STATES, matrix_act_migrate, "device_state: cannot be set to stop"),
    /* all is over then */
    { MATRIX_STOP_COPY, "DIRTY_PAGES:stop", MOCK_PATTERN_DIRTY(2), 1, &empty,
      MAP, matrix_act_stop_copy, .refused_said = "$reason\n" },

    { MATRIX_RESUMING, "REGION_WRITE:state", STATE(RESUMING), 1, &write_4,
      STATES, matrix_act_load, .dead_said = LOAD_STATE_FAILED,
      .refused_said = "dev0: device_state: cannot be set to resuming: "
                      "Input/output error\n" LOAD_STATE_FAILED },
    LOAD("REGION_READ:offset", REGISTER(READ, DATA_OFFSET), &read_8,
         "data_offset: read failed"),
    LOAD("REGION_WRITE:data", DATA(WRITE), &write_16k, "data: write failed"),
    LOAD("REGION_WRITE:size", REGISTER(WRITE, DATA_SIZE), &write_8,
         "data_size: write failed"),
    /* all is loaded then: the guest goes on without its device, as ever */
    { MATRIX_RESUMING, "REGION_WRITE:config", ANYWHERE(WRITE, CONFIG), 1,
      &write_2, MSG, matrix_act_load, .dead_status = "running",
      .refused_status = "running", .refused_said = SAYS_NO
      "vfio_pci_write_config(dev0, 0x4, 0x0, 0x2) failed: Input/output "
      "error\n" },
    { MATRIX_RESUMING, "REGION_WRITE:state-running", STATE(RUNNING), 1,
      &write_4, STATES, matrix_act_load, .dead_status = "running",
      .refused_status = "io-error",
      .refused_said = "dev0: device_state: cannot be set to running: "
                      "Input/output error\n" },
};

const size_t matrix_num_rows = G_N_ELEMENTS(matrix_rows);

#define PHASE(name) (1u << MATRIX_##name)

const MatrixAbsence matrix_absences[] = {
    { MOCK_VERSION, ~PHASE(REALIZE), "it opens the connection" },
    { MOCK_DEVICE_GET_INFO, ~PHASE(REALIZE), "asked once, at realize" },
    { MOCK_DEVICE_GET_REGION_INFO, ~PHASE(REALIZE), "asked once, at realize" },
    { MOCK_DEVICE_GET_IRQ_INFO, ~PHASE(REALIZE), "asked once, at realize" },
    { MOCK_DEVICE_SET_IRQS, PHASE(STOP_COPY) | PHASE(RESUMING),
      "a stopped device is told later" },
    { MOCK_DMA_MAP, PHASE(STOP_COPY) | PHASE(RESUMING),
      "a stopped device is told later" },
    { MOCK_DMA_UNMAP, PHASE(STOP_COPY) | PHASE(RESUMING),
      "a stopped device is told later" },
    { MOCK_DEVICE_RESET, PHASE(STOP_COPY) | PHASE(RESUMING),
      "a stopped device is reset later" },
    { MOCK_DIRTY_PAGES, PHASE(REALIZE) | PHASE(RUNNING) | PHASE(RESUMING),
      "the log is for the source of a migration" },
};

const size_t matrix_num_absences = G_N_ELEMENTS(matrix_absences);
