/*
 * A session without a socket, for targets whose input is what the server
 * answers.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#include "fuzz.h"
#include "fuzz-answers.h"

VFIOUserCaps fuzz_caps;
unsigned int fuzz_window;

static bool session_dead;

void fuzz_answers_begin(void)
{
    session_dead = false;
}

const VFIOUserCaps *vfio_user_session_caps(VFIOUserSession *session)
{
    return &fuzz_caps;
}

unsigned int vfio_user_session_window(VFIOUserSession *session)
{
    return fuzz_window;
}

bool vfio_user_session_is_dead(VFIOUserSession *session)
{
    return session_dead;
}

const Error *vfio_user_session_reason(VFIOUserSession *session)
{
    static Error *reason;

    if (!reason) {
        error_setg(&reason, "dead");
    }
    return session_dead ? reason : NULL;
}

void vfio_user_session_kill(VFIOUserSession *session, Error *reason)
{
    session_dead = true;
    error_free(reason);
}

static int session_error(Error **errp, int ret)
{
    error_setg(errp, "error");
    return ret;
}

int vfio_user_session_send(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    call->reply = NULL;
    call->remote_error = false;
    if (session_dead) {
        return session_error(errp, -ENOTCONN);
    }
    fuzz_check_request(call);
    call->in_flight = true;
    return 0;
}

int vfio_user_session_wait(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    g_autofree uint8_t *payload = g_malloc0(call->max_reply + 1);
    FuzzAnswer answer = { .payload = payload };

    g_assert_true(call->in_flight);
    call->in_flight = false;
    if (!session_dead) {
        fuzz_answer(call, &answer);
        session_dead = answer.hang_up;
    }
    if (session_dead) {
        return session_error(errp, -ENOTCONN);
    }
    if (answer.error) {
        call->remote_error = true;
        return session_error(errp, -answer.error);
    }
    call->reply = g_new0(VFIOUserMsg, 1);
    call->reply->size = sizeof(VFIOUserHeader) + answer.size;
    call->reply->data = g_malloc0(call->reply->size);
    memcpy(call->reply->data + sizeof(VFIOUserHeader), payload, answer.size);
    call->reply->num_fds = answer.num_fds;
    if (answer.num_fds) {
        call->reply->fds = g_memdup2(answer.fds,
                                     answer.num_fds * sizeof(int));
    }
    return 0;
}

int vfio_user_session_call(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    int ret = vfio_user_session_send(session, call, errp);

    return ret ?: vfio_user_session_wait(session, call, errp);
}

int vfio_user_session_post(VFIOUserSession *session, VFIOUserCall *call,
                           Error **errp)
{
    g_assert_not_reached();
}
