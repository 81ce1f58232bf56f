/*
 * The fault matrix: every command of the client, in every phase of a device's
 * life in which it is sent, meets every fault that its reply can have.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_QTEST_VFIO_USER_MATRIX_H
#define TESTS_QTEST_VFIO_USER_MATRIX_H

#include "framework.h"
#include "libqos/pci.h"

/* What a fault that stalls has to outlast */
#define MATRIX_TIMEOUT_MS 200

/* What is changed in a count that lies */
#define MATRIX_LIE 0x40

typedef enum MatrixPhase {
    MATRIX_REALIZE,             /* plugged over QMP */
    MATRIX_RUNNING,
    MATRIX_PRECOPY,
    MATRIX_STOP_COPY,
    MATRIX_RESUMING,            /* at the destination */
    MATRIX_NUM_PHASES,
} MatrixPhase;

/* What a fault does to the connection, and so to all who use it */
typedef enum MatrixEffect {
    MATRIX_NOTHING,             /* READY, the reply counts */
    MATRIX_REFUSED,             /* READY, and the command has failed */
    MATRIX_DEAD,                /* DEAD, and the command has failed */
    MATRIX_DEAD_LATER,          /* the reply counts, then DEAD */
} MatrixEffect;

/* What a reply must have for a fault to be one. Texts are by these, too. */
typedef enum MatrixNeed {
    MATRIX_NEEDS_NOTHING,
    MATRIX_NEEDS_PAYLOAD,
    MATRIX_NEEDS_SIZE,          /* and one that is fixed */
    MATRIX_NEEDS_COUNT,
    MATRIX_NEEDS_ARGSZ,
    MATRIX_NEEDS_FDS,
    MATRIX_NEEDS_NO_FDS,        /* of itself: any reply, but see its text */
    MATRIX_NUM_NEEDS,
} MatrixNeed;

/*
 * Texts may hold $name (of the connection), $reason (the whole text of a
 * connection's end, or of an error reply), $qmp (what QMP said), numbers of
 * the command and its reply, and * for what differs from run to run.
 */
typedef struct MatrixFault {
    const char *name;
    MockRule rule;              /* but for what the row knows */
    MatrixNeed need;
    MatrixEffect effect;
    bool stalls;
    const char *text;           /* NULL: the reply's, by need */
} MatrixFault;

/* The right reply, as far as the faults need to know */
typedef struct MatrixReply {
    size_t size;                /* of the payload; 0: none */
    size_t limit;               /* the most that the client takes */
    unsigned count_at;          /* byte of the message; 0: there is none */
    unsigned argsz_at;
    uint8_t argsz_xor;
    uint32_t count;             /* what it says where it is right */
    bool fds;
    /* The reason, by need; NULL: the client does not mind */
    const char *texts[MATRIX_NUM_NEEDS];
} MatrixReply;

typedef struct MatrixCell MatrixCell;

/* A command in a phase */
typedef struct MatrixRow {
    MatrixPhase phase;
    const char *name;           /* the command's, and what sets it apart */
    MockPattern where;
    unsigned nth;               /* from when @act begins; 0: the first */
    const MatrixReply *reply;
    const char *deadline;       /* the property */
    void (*act)(MatrixCell *cell);      /* what makes QEMU send it */
    void (*inner)(MatrixCell *cell);    /* what @act does in pre-copy */

    bool in_one_go;             /* the next is sent before the reply comes */
    bool overlaps;              /* the migration's own requests go on */
    const MockRule *also;       /* there besides; or NULL */
    /* What QMP says if all is well, and standard error; or NULL */
    const char *ends;
    const char *ends_said;
    /* What it says if the connection dies, or the command is refused */
    const char *dead;
    const char *refused;        /* NULL: nothing, it is not needed */
    const char *dead_said;      /* besides that the device is lost */
    /* The guest's status at the destination; NULL: QEMU ends, with 1 */
    const char *dead_status;
    const char *refused_status;
    const char *refused_said;   /* on standard error; NULL: nothing */
} MatrixRow;

/* A command that is not sent in some phases */
typedef struct MatrixAbsence {
    uint16_t command;
    unsigned phases;            /* bits */
    const char *why;
} MatrixAbsence;

/* matrix-table.c */
extern const char *const matrix_phases[MATRIX_NUM_PHASES];
extern const MatrixFault matrix_faults[];
extern const size_t matrix_num_faults;
extern const MatrixRow matrix_rows[];
extern const size_t matrix_num_rows;
extern const MatrixAbsence matrix_absences[];
extern const size_t matrix_num_absences;

/* A QEMU for many cells, into which the device is plugged for each */
typedef struct MatrixBench {
    VFIOUserTestVM *vm;
    QPCIBus *bus;
    unsigned fds;               /* without the device */
    unsigned threads;
} MatrixBench;

/* A fault in a row */
struct MatrixCell {
    const MatrixRow *row;
    const MatrixFault *fault;
    MatrixBench *bench;         /* not where the phase is MATRIX_RESUMING */
    VFIOUserTestVM *vm;
    unsigned from;              /* journal entry at which the rule was added */
    size_t said_before;         /* bytes */
    bool plugged;               /* the device is, or was until QEMU ended */
    char *qmp;                  /* the error, NULL if there was none */
    GString *wrong;             /* why the cell does not hold */
};

/* matrix.c: from now on the server has the cell's fault. */
void matrix_arm(MatrixCell *cell);

/* The command was sent; after a death of the connection, no other was. */
void matrix_check_silence(MatrixCell *cell);

/* matrix-text.c: the cell does not hold, for this reason. */
void matrix_wrong(MatrixCell *cell, const char *format, ...)
    G_GNUC_PRINTF(2, 3);

/* A command that is not this one */
uint16_t matrix_other_command(uint16_t command);

/* How the cell's fault ends, as far as the row does not mind it */
MatrixEffect matrix_effect(MatrixCell *cell);

/* Does @text match @pattern, with what is known of the cell put in? */
bool matrix_matches(MatrixCell *cell, const char *pattern, const char *text);

/* The same, or the cell does not hold. NULL is the empty text. */
void matrix_check_text(MatrixCell *cell, const char *who, const char *expected,
                       const char *text);

/*
 * Wait until QEMU has said each line of @expected once, in any order, and
 * nothing else unless it matches @others (may be NULL).
 */
void matrix_check_said(MatrixCell *cell, const char *expected,
                       const char *others);

/* matrix-act.c: what the server's device is */
void matrix_mock_config(const MatrixRow *row, MockConfig *mock);

/* Let the guest enable the device; read a register as it does. */
void matrix_enable(MatrixCell *cell);
uint32_t matrix_read_id(MatrixCell *cell);

/* matrix-act.c: what makes QEMU send a command */
void matrix_act_bar_read(MatrixCell *cell);
void matrix_act_bar_write(MatrixCell *cell);
void matrix_act_config_read(MatrixCell *cell);
void matrix_act_config_write(MatrixCell *cell);
void matrix_act_msix(MatrixCell *cell);
void matrix_act_memory(MatrixCell *cell);
void matrix_act_reset(MatrixCell *cell);
void matrix_act_stop(MatrixCell *cell);
void matrix_act_migrate(MatrixCell *cell);
void matrix_act_stop_copy(MatrixCell *cell);
void matrix_act_cancel(MatrixCell *cell);
void matrix_act_in_precopy(MatrixCell *cell);
void matrix_act_load(MatrixCell *cell);

/* matrix-load.c: a cell at the destination, from start to end */
void matrix_run_load(MatrixCell *cell);
/* When all have run: what they share goes. */
void matrix_load_end(void);

/* Register the cases, and print the count of cells when all have run. */
void matrix_add(void);
void matrix_report(void);

#endif /* TESTS_QTEST_VFIO_USER_MATRIX_H */
