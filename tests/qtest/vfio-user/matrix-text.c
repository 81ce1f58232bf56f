/*
 * The fault matrix: what QEMU says, and what it should have said.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "qemu/osdep.h"
#include "matrix.h"

void matrix_wrong(MatrixCell *cell, const char *format, ...)
{
    va_list list;

    va_start(list, format);
    g_string_append(cell->wrong, "\n#     ");
    g_string_append_vprintf(cell->wrong, format, list);
    va_end(list);
}

static char *replace(char *text, const char *what, const char *with)
{
    g_auto(GStrv) parts = g_strsplit(text, what, 0);

    g_free(text);
    return g_strjoinv(with, parts);
}

static char *replace_number(char *text, const char *what, size_t number)
{
    g_autofree char *with = g_strdup_printf("%zu", number);

    return replace(text, what, with);
}

uint16_t matrix_other_command(uint16_t command)
{
    return command == MOCK_REGION_READ ? MOCK_REGION_WRITE : MOCK_REGION_READ;
}

/* Where others send as well, it may be they who find the server gone. */
static bool others_may_find(const MatrixCell *cell)
{
    MockAction action = cell->fault->rule.action;

    return (cell->row->in_one_go || cell->row->overlaps) &&
           (action == MOCK_ACTION_CUT || action == MOCK_ACTION_CLOSE_BEFORE);
}

static const char *fault_text(MatrixCell *cell)
{
    return others_may_find(cell) ? "server closed the connection*" :
           cell->fault->text ?: cell->row->reply->texts[cell->fault->need];
}

static char *expand(MatrixCell *cell, const char *text)
{
    const MatrixReply *reply = cell->row->reply;
    const char *command = mock_command_name(cell->row->where.command);
    const char *why = fault_text(cell) ?: "";
    g_autofree char *name = g_strdup_printf("vfio-user:%s",
                                            cell->vm->socket_path);
    g_autofree char *reason = g_strdup_printf(
        cell->fault->effect == MATRIX_DEAD_LATER || others_may_find(cell) ||
        (cell->row->in_one_go && cell->fault->stalls) ? "$name: *%s" :
        "$name: $command: %s", why);
    char *full = replace(g_strdup(text), "$reason", reason);

    full = replace(full, "$qmp", cell->qmp ?: "");
    full = replace(full, "$name", name);
    full = replace(full, "$command", command);
    full = replace_number(full, "$sent", cell->row->where.command);
    full = replace_number(full, "$other",
                          matrix_other_command(cell->row->where.command));
    full = replace_number(full, "$timeout", MATRIX_TIMEOUT_MS);
    full = replace_number(full, "$size", reply->size);
    full = replace_number(full, "$short", reply->size - 1);
    full = replace_number(full, "$cut", 16 + reply->size - 1);
    full = replace_number(full, "$count", reply->count);
    full = replace_number(full, "$lied", reply->count ^ MATRIX_LIE);
    return replace_number(full, "$limit", reply->limit);
}

MatrixEffect matrix_effect(MatrixCell *cell)
{
    bool minded = fault_text(cell) || cell->fault->effect == MATRIX_REFUSED;

    return minded ? cell->fault->effect : MATRIX_NOTHING;
}

bool matrix_matches(MatrixCell *cell, const char *pattern, const char *text)
{
    g_autofree char *full = expand(cell, pattern);

    return g_pattern_match_simple(full, text);
}

void matrix_check_text(MatrixCell *cell, const char *who, const char *expected,
                       const char *text)
{
    if (!matrix_matches(cell, expected ?: "", text ?: "")) {
        g_autofree char *full = expand(cell, expected ?: "");

        matrix_wrong(cell, "%s: \"%s\", expected \"%s\"", who, text ?: "",
                     full);
    }
}

/* The pattern that a line matches is used up. */
static bool use_pattern(MatrixCell *cell, char **patterns, const char *line)
{
    char **pattern;

    for (pattern = patterns; *pattern; pattern++) {
        if (**pattern && matrix_matches(cell, *pattern, line)) {
            **pattern = '\0';
            return true;
        }
    }
    return false;
}

/* What QEMU says besides of each migration that fails, as far as it got */
static bool is_secondary(const MatrixCell *cell, const char *line)
{
    static const char *const patterns[] = {
        "failed to save SaveStateEntry with id(name): *",
        "dev0: vfio_save_buffer failed *",
        "dev0: Failed to save buffer",
        "dev0: Failed to set state *",
    };
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(patterns); i++) {
        if (cell->row->phase >= MATRIX_PRECOPY &&
            g_pattern_match_simple(patterns[i], line)) {
            return true;
        }
    }
    return false;
}

/*
 * Threads speak in any order, so the lines are compared without it. One that
 * is not expected may match @others.
 */
static bool lines_match(MatrixCell *cell, const char *expected,
                        const char *others, const char *text)
{
    g_auto(GStrv) patterns = g_strsplit(expected, "\n", 0);
    g_auto(GStrv) lines = g_strsplit(text, "\n", 0);
    char **at;

    for (at = lines; *at; at++) {
        if (!*g_strstrip(*at)) {
            continue;
        }
        if (!use_pattern(cell, patterns, *at) &&
            !is_secondary(cell, *at) &&
            !(others && matrix_matches(cell, others, *at))) {
            return false;
        }
    }
    for (at = patterns; *at; at++) {
        if (**at) {
            return false;
        }
    }
    return !*text || g_str_has_suffix(text, "\n");
}

/*
 * What has been said in the cell, without the program's name. That, the text
 * and the end of a line are written one by one, so those of two threads may
 * come to stand in one line.
 */
static char *get_said(MatrixCell *cell)
{
    g_autofree char *said = vfio_user_test_errors(cell->vm);
    char *text = g_strdup(said + cell->said_before);

    text = replace(text, "qemu-system-x86_64:", "");
    text = replace(text, "dev0: ", "\ndev0: ");
    return replace(text, "failed to save", "\nfailed to save");
}

void matrix_check_said(MatrixCell *cell, const char *expected,
                       const char *others)
{
    gint64 deadline = g_get_monotonic_time() +
                      VFIO_USER_TEST_DEADLINE_MS * G_TIME_SPAN_MILLISECOND;
    g_autofree char *text = NULL, *full = NULL;

    do {
        g_free(text);
        text = get_said(cell);
        if (lines_match(cell, expected, others, text)) {
            return;
        }
    } while (g_get_monotonic_time() < deadline);
    full = expand(cell, expected);
    matrix_wrong(cell, "standard error: \"%s\", expected \"%s\"", text, full);
}
