/*
 * A vfio-user server that does what a test's script says, byte for byte, in a
 * thread of its own.  Knows nothing of the client's code but its session API.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef TESTS_UNIT_VFIO_USER_SESSION_PEER_H
#define TESTS_UNIT_VFIO_USER_SESSION_PEER_H

#include "qemu/osdep.h"
#include "qemu/thread.h"
#include "qemu/units.h"
#include "hw/vfio-user/session.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Error, error_free)

/* For what should happen at once; only a broken session uses it up */
#ifdef QEMU_SANITIZE_ADDRESS
#define PATIENCE_MS 200000      /* each allocation takes its time then */
#else
#define PATIENCE_MS 20000
#endif

/* What is on the wire, spelled out once more */
#define PEER_HEADER_SIZE    16
#define PEER_REPLY          0x01
#define PEER_NO_REPLY       0x10
#define PEER_ERROR          0x20

typedef struct PeerMessage {
    uint16_t id;
    uint16_t command;
    uint32_t size;              /* of the payload */
    uint32_t flags;
    uint32_t error;
    size_t num_fds;             /* they are closed at once */
    uint8_t payload[MiB + 32];   /* a client of ours sends no more */
} PeerMessage;

typedef struct Peer Peer;
typedef void PeerScript(Peer *peer);

struct Peer {
    PeerScript *script;
    const void *data;           /* for the script */
    uint32_t timeout_ms;        /* for register access; 0: beyond patience */
    uint32_t connect_timeout_ms;    /* the same for connect */
    bool serial;
    VFIOUserDeadNotify *dead;
    VFIOUserRequestHandler *request;
    void *opaque;

    int num_fds;                /* of the process, at first */
    char *dir;
    char *path;
    char *name;
    int listener;
    int fd;                     /* the connection, where the script acts */
    QemuThread thread;
    QemuSemaphore to_peer;
    QemuSemaphore to_test;
    VFIOUserSession *session;
};

/* The test's side.  peer_start() runs the script on the first connection. */
void peer_start(Peer *peer);
VFIOUserSession *peer_connect(Peer *peer, Error **errp);
/* peer_start() and a connect that works; the main loop has nothing to do */
VFIOUserSession *peer_open(Peer *peer);
/* Close the session if there is one, end the thread, look for leaked fds. */
void peer_stop(Peer *peer);

/* Let the main loop run until @done is true. */
void main_loop_until(const bool *done);

/* End that from another thread. */
void set_done(bool *done);

/* A semaphore with a deadline */
void wait_for(QemuSemaphore *sem);

/* See that @err is @text behind the session's name. */
void expect_text(Peer *peer, const Error *err, const char *text);

/* A call that accepts 64 KiB */
VFIOUserCall make_call(uint16_t command, const void *payload, size_t size);
/* See that @call's reply is @text, and free it. */
void expect_reply(VFIOUserCall *call, const char *text);

/* The script's side */
void peer_recv(Peer *peer, PeerMessage *msg);
/* Receive a message and see that it is @command */
void peer_expect(Peer *peer, uint16_t command, PeerMessage *msg);
/* See that the client refuses command @id with ENOTSUP. */
void peer_expect_refusal(Peer *peer, uint16_t id, uint16_t command);
/* See that the client sends no more and has closed */
void peer_expect_end(Peer *peer);
void peer_send(Peer *peer, uint16_t id, uint16_t command, uint32_t flags,
               uint32_t error, const void *payload, size_t size);
void peer_send_fds(Peer *peer, uint16_t id, uint16_t command, uint32_t flags,
                   const void *payload, size_t size, size_t num_fds);
void peer_send_bytes(Peer *peer, const void *bytes, size_t size);
/* Answer @msg */
void peer_reply(Peer *peer, const PeerMessage *msg, const void *payload,
                size_t size);
/* Answer the client's VERSION with @json */
void peer_version_json(Peer *peer, const char *json);
void peer_version(Peer *peer);
/* The same, with these @fds in the message; they stay the script's. */
void peer_version_fds(Peer *peer, const char *json, const int *fds,
                      size_t num_fds);

#endif /* TESTS_UNIT_VFIO_USER_SESSION_PEER_H */
