/*
 * The mock's script: rules from C or JSON, matched against each command of the
 * client. What a rule then does to the message is the server's work.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "mock-internal.h"
#include <json-c/json.h>
#include <string.h>

typedef struct ScriptRule {
    MockRule rule;
    GBytes *data;
    unsigned seen;
} ScriptRule;

static const char *const action_names[] = {
    [MOCK_ACTION_NONE] = "none",
    [MOCK_ACTION_REPLY] = "reply",
    [MOCK_ACTION_ERROR] = "error",
    [MOCK_ACTION_ERROR_AFTER] = "error-after",
    [MOCK_ACTION_DELAY] = "delay",
    [MOCK_ACTION_HOLD] = "hold",
    [MOCK_ACTION_DEFER] = "defer",
    [MOCK_ACTION_CUT] = "cut",
    [MOCK_ACTION_DRIBBLE] = "dribble",
    [MOCK_ACTION_MANGLE] = "mangle",
    [MOCK_ACTION_TRUNCATE] = "truncate",
    [MOCK_ACTION_EXTEND] = "extend",
    [MOCK_ACTION_CLOSE_BEFORE] = "close-before",
    [MOCK_ACTION_CLOSE_AFTER] = "close-after",
    [MOCK_ACTION_WRONG_ID] = "wrong-id",
    [MOCK_ACTION_WRONG_COMMAND] = "wrong-command",
    [MOCK_ACTION_WRONG_TYPE] = "wrong-type",
    [MOCK_ACTION_NO_REPLY] = "no-reply",
    [MOCK_ACTION_DUPLICATE] = "duplicate",
    [MOCK_ACTION_EXTRA_FD] = "extra-fd",
    [MOCK_ACTION_NO_FDS] = "no-fds",
    [MOCK_ACTION_OTHER_FDS] = "other-fds",
};

const char *mock_action_name(MockAction action)
{
    return action_names[action];
}

static void script_rule_free(void *opaque)
{
    ScriptRule *rule = opaque;

    g_bytes_unref(rule->data);
    g_free(rule);
}

static ScriptRule *script_rule_new(const MockRule *rule, const void *data,
                                   size_t size)
{
    ScriptRule *copy = g_new0(ScriptRule, 1);

    copy->rule = *rule;
    copy->rule.data = NULL;
    copy->data = g_bytes_new(data, size);
    return copy;
}

void mock_script_init(Mock *mock)
{
    mock->script.rules = g_ptr_array_new_with_free_func(script_rule_free);
}

void mock_script_destroy(Mock *mock)
{
    g_ptr_array_unref(mock->script.rules);
}

MockRule mock_script_match(Mock *mock, const MockEntry *entry, GBytes **data)
{
    MockRule found = { .action = MOCK_ACTION_NONE };
    unsigned i;

    *data = NULL;
    for (i = 0; i < mock->script.rules->len; i++) {
        ScriptRule *rule = g_ptr_array_index(mock->script.rules, i);

        if (!mock_pattern_matches(&rule->rule.where, entry)) {
            continue;
        }
        rule->seen++;
        if (!*data && (!rule->rule.nth || rule->rule.nth == rule->seen)) {
            found = rule->rule;
            *data = g_bytes_ref(rule->data);
        }
    }
    return found;
}

void mock_add_rules(Mock *mock, const MockRule *rules, size_t num_rules)
{
    MOCK_LOCK_GUARD(mock);
    size_t i;

    for (i = 0; i < num_rules; i++) {
        g_ptr_array_add(mock->script.rules,
                        script_rule_new(&rules[i], rules[i].data,
                                        rules[i].data_size));
    }
}

void mock_clear_rules(Mock *mock)
{
    MOCK_LOCK_GUARD(mock);

    g_ptr_array_set_size(mock->script.rules, 0);
}

unsigned mock_release(Mock *mock)
{
    unsigned held;

    g_mutex_lock(&mock->lock);
    held = mock->script.held;
    mock->script.held = 0;
    mock->script.generation++;
    g_cond_broadcast(&mock->changed);
    g_mutex_unlock(&mock->lock);
    mock_wake(mock);
    return held;
}

bool mock_wait_held(Mock *mock, unsigned number, unsigned timeout_ms)
{
    MOCK_LOCK_GUARD(mock);
    int64_t deadline = mock_deadline(timeout_ms);

    while (mock->script.held < number) {
        if (!g_cond_wait_until(&mock->changed, &mock->lock, deadline)) {
            return false;
        }
    }
    return true;
}

/* --- JSON --- */

typedef struct Parser {
    MockRule rule;
    GByteArray *data;
    unsigned number;            /* of the rule, from 1 */
    GError **error;
} Parser;

static bool G_GNUC_PRINTF(2, 3) fail(Parser *parser, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list list;

    va_start(list, format);
    text = g_strdup_vprintf(format, list);
    va_end(list);
    g_set_error(parser->error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                "script rule %u: %s", parser->number, text);
    return false;
}

static bool parse_number(Parser *parser, const char *key, json_object *value,
                         uint64_t max, uint64_t *number)
{
    if (!json_object_is_type(value, json_type_int) ||
        json_object_get_int64(value) < 0) {
        return fail(parser, "\"%s\" must be an integer of 0 or more", key);
    }
    *number = json_object_get_uint64(value);
    if (*number > max) {
        return fail(parser, "\"%s\" is more than %" G_GUINT64_FORMAT, key, max);
    }
    return true;
}

static bool parse_command(Parser *parser, const char *key, json_object *value,
                          uint16_t *command)
{
    *command = mock_command_from_name(json_object_get_string(value));
    if (!*command) {
        return fail(parser, "\"%s\" is not a command: \"%s\"", key,
                    json_object_get_string(value));
    }
    return true;
}

static bool parse_action(Parser *parser, json_object *value)
{
    const char *name = json_object_get_string(value);
    size_t i;

    for (i = 1; i < G_N_ELEMENTS(action_names); i++) {
        if (!g_strcmp0(action_names[i], name)) {
            parser->rule.action = i;
            return true;
        }
    }
    return fail(parser, "no such action: \"%s\"", name);
}

static bool parse_data(Parser *parser, json_object *value)
{
    const char *text = json_object_get_string(value);
    size_t i, length = strlen(text);

    for (i = 0; i + 1 < length; i += 2) {
        int high = g_ascii_xdigit_value(text[i]);
        int low = g_ascii_xdigit_value(text[i + 1]);

        if (high < 0 || low < 0) {
            break;
        }
        mock_put(parser->data, high << 4 | low, 1);
    }
    if (i < length || !json_object_is_type(value, json_type_string)) {
        return fail(parser, "\"data\" must be pairs of hexadecimal digits");
    }
    return true;
}

/* Keys that hold an integer, where it goes and the pattern's match bit */
typedef struct NumberKey {
    const char *name;
    uint64_t max;
    size_t offset;
    size_t width;
    unsigned match;
} NumberKey;

#define NUMBER_KEY(key, field, most, bit) \
    { key, most, offsetof(MockRule, field), \
      sizeof(((MockRule *)NULL)->field), bit }

static const NumberKey number_keys[] = {
    NUMBER_KEY("nth", nth, UINT32_MAX, 0),
    NUMBER_KEY("region", where.region, UINT32_MAX, MOCK_MATCH_REGION),
    NUMBER_KEY("offset", where.offset, UINT64_MAX, MOCK_MATCH_OFFSET),
    NUMBER_KEY("offset_from", where.offset, UINT64_MAX,
               MOCK_MATCH_OFFSET_FROM),
    NUMBER_KEY("count", where.count, UINT64_MAX, MOCK_MATCH_COUNT),
    NUMBER_KEY("value", where.value, UINT64_MAX, MOCK_MATCH_VALUE),
    NUMBER_KEY("errno", error, UINT32_MAX, 0),
    NUMBER_KEY("ms", delay_ms, 3600000, 0),
    NUMBER_KEY("bytes", bytes, UINT32_MAX, 0),
    NUMBER_KEY("at", offset, UINT32_MAX, 0),
    NUMBER_KEY("fd", fd, INT32_MAX, 0),
    NUMBER_KEY("xor", xor, UINT8_MAX, 0),
};

static bool parse_number_key(Parser *parser, const char *key,
                             json_object *value)
{
    char *rule = (char *)&parser->rule;
    uint64_t number = 0;
    size_t i;

    for (i = 0; i < G_N_ELEMENTS(number_keys); i++) {
        const NumberKey *known = &number_keys[i];

        if (strcmp(known->name, key)) {
            continue;
        }
        if (!parse_number(parser, key, value, known->max, &number)) {
            return false;
        }
        parser->rule.where.match |= known->match;
        switch (known->width) {
        case 1:
            *(uint8_t *)(rule + known->offset) = number;
            break;
        case 4:
            *(uint32_t *)(rule + known->offset) = number;
            break;
        default:
            *(uint64_t *)(rule + known->offset) = number;
            break;
        }
        return true;
    }
    return fail(parser, "unknown key \"%s\"", key);
}

static bool parse_rule(Parser *parser, json_object *object)
{
    if (!json_object_is_type(object, json_type_object)) {
        return fail(parser, "is not an object");
    }
    json_object_object_foreach(object, key, value) {
        bool good;

        if (!value) {
            return fail(parser, "\"%s\" is null", key);
        }
        if (!strcmp(key, "command")) {
            good = parse_command(parser, key, value,
                                 &parser->rule.where.command);
        } else if (!strcmp(key, "reply_command")) {
            good = parse_command(parser, key, value,
                                 &parser->rule.reply_command);
        } else if (!strcmp(key, "action")) {
            good = parse_action(parser, value);
        } else if (!strcmp(key, "data")) {
            good = parse_data(parser, value);
        } else {
            good = parse_number_key(parser, key, value);
        }
        if (!good) {
            return false;
        }
    }
    if (parser->rule.action == MOCK_ACTION_NONE) {
        return fail(parser, "has no \"action\"");
    }
    return true;
}

static bool parse_rules(Mock *mock, json_object *array, GError **error)
{
    g_autoptr(GPtrArray) rules =
        g_ptr_array_new_with_free_func(script_rule_free);
    size_t i, length;

    if (!json_object_is_type(array, json_type_array)) {
        g_set_error_literal(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                            "the script is not an array of rules");
        return false;
    }
    length = json_object_array_length(array);
    for (i = 0; i < length; i++) {
        g_autoptr(GByteArray) data = g_byte_array_new();
        Parser parser = { .data = data, .number = i + 1, .error = error };

        if (!parse_rule(&parser, json_object_array_get_idx(array, i))) {
            return false;
        }
        g_ptr_array_add(rules, script_rule_new(&parser.rule, data->data,
                                               data->len));
    }
    g_mutex_lock(&mock->lock);
    g_ptr_array_set_free_func(rules, NULL);     /* they move */
    for (i = 0; i < length; i++) {
        g_ptr_array_add(mock->script.rules, g_ptr_array_index(rules, i));
    }
    g_mutex_unlock(&mock->lock);
    return true;
}

bool mock_parse_script(Mock *mock, const char *text, GError **error)
{
    enum json_tokener_error trouble;
    json_object *array = json_tokener_parse_verbose(text, &trouble);
    bool good = false;

    if (trouble != json_tokener_success) {
        g_set_error(error, G_FILE_ERROR, G_FILE_ERROR_INVAL,
                    "the script is not JSON: %s",
                    json_tokener_error_desc(trouble));
    } else {
        good = parse_rules(mock, array, error);
    }
    json_object_put(array);
    return good;
}

bool mock_load_script(Mock *mock, const char *path, GError **error)
{
    g_autofree char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, error)) {
        return false;
    }
    if (!mock_parse_script(mock, text, error)) {
        g_prefix_error(error, "%s: ", path);
        return false;
    }
    return true;
}
