/*
 * What the sockets of this machine can do without any vfio-user: the measure
 * that bench compares with.  Prints the seconds that a run took.
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WARM_UP 1000

/*
 * malloc() puts a large block 16 bytes behind the start of a page, where some
 * CPUs copy more slowly; so much further they do not.
 */
#define BEHIND 48

static const char usage[] =
    "Usage: bench-raw CPU-A CPU-B MODE\n"
    "Prints the seconds it took, with the one side on CPU A, the other on B:\n"
    "  pingpong REQUEST REPLY COUNT   messages of these sizes, there and back\n"
    "  oneway SIZE COUNT              messages in one direction\n"
    "  copy SIZE TOTAL WINDOW         data in messages of SIZE, from B to A, out\n"
    "                                 of WINDOW bytes of memory\n"
    "  load SIZE TOTAL BLOCK          data from the standard input, read BLOCK bytes\n"
    "                                 at a time, to A; as much before it is not\n"
    "                                 counted\n"
    "  relay SIZE TOTAL WINDOW        copy through two processes more, two\n"
    "                                 of the four on each CPU\n"
    "  memcpy SIZE TOTAL WINDOW       from a mapped window, SIZE at a time, into\n"
    "                                 a buffer that goes to /dev/null\n";

static int cpu_a, cpu_b;

static void __attribute__((noreturn)) fail(const char *what)
{
    fprintf(stderr, "bench-raw: error: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    if (sched_setaffinity(0, sizeof(set), &set)) {
        fail("sched_setaffinity");
    }
}

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void *buffer(size_t size)
{
    void *bytes = malloc(size);

    if (!bytes) {
        fail("malloc");
    }
    return memset(bytes, 0x5a, size);
}

static void put(int fd, const void *bytes, size_t size)
{
    if (send(fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size) {
        fail("send");
    }
}

static void get(int fd, void *bytes, size_t size)
{
    ssize_t got = recv(fd, bytes, size, MSG_WAITALL);

    if (got != (ssize_t)size) {
        errno = got < 0 ? errno : ECONNRESET;
        fail("recv");
    }
}

/* One end of a new pair is returned, the other one's process begins. */
static int spawn(int cpu, int *other)
{
    int fds[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds)) {
        fail("socketpair");
    }
    pid = fork();
    if (pid < 0) {
        fail("fork");
    }
    close(fds[pid ? 1 : 0]);
    if (!pid) {
        pin(cpu);
        *other = fds[1];
        return -1;
    }
    return fds[0];
}

static double pingpong(size_t request, size_t reply, size_t count)
{
    void *bytes = buffer(request + reply);
    int other, fd = spawn(cpu_b, &other);
    double start = 0;
    size_t i;

    for (i = 0; i < WARM_UP + count; i++) {
        if (fd < 0) {
            get(other, bytes, request);
            put(other, bytes, reply);
            continue;
        }
        if (i == WARM_UP) {
            start = now();
        }
        put(fd, bytes, request);
        get(fd, bytes, reply);
    }
    if (fd < 0) {
        exit(0);
    }
    return now() - start;
}

/*
 * The receiver takes what there is, as a server does.  What is still under
 * way at the end is little, and so it is for the client that is measured.
 */
static double oneway(size_t size, size_t count)
{
    char *bytes = buffer(size > 65536 ? size : 65536);
    int other, fd = spawn(cpu_b, &other);
    double start;
    size_t i;

    if (fd < 0) {
        while (recv(other, bytes, 65536, 0) > 0) {
            continue;
        }
        exit(0);
    }
    start = now();
    for (i = 0; i < count; i++) {
        put(fd, bytes, size);
    }
    return now() - start;
}

/* Both begin with a message that is not counted, so that all is in place */
static void send_all(int fd, size_t size, size_t total, size_t window)
{
    char *bytes = buffer(window);
    size_t done;

    put(fd, bytes, size);
    for (done = 0; done < total; done += size) {
        put(fd, bytes + done % window, size);
    }
}

/* The seconds that it took from when so many bytes had been received */
static double receive_all(int fd, size_t size, size_t uncounted, size_t total)
{
    void *bytes = buffer(size);
    double start;
    size_t done;

    for (done = 0; done < uncounted; done += size) {
        get(fd, bytes, size);
    }
    start = now();
    for (done = 0; done < total; done += size) {
        get(fd, bytes, size);
    }
    return now() - start;
}

static double copy(size_t size, size_t total, size_t window)
{
    int other, fd = spawn(cpu_b, &other);

    if (fd < 0) {
        send_all(other, size, total, window);
        exit(0);
    }
    return receive_all(fd, size, size, total);
}

/* Whole messages; a block holds at least one. */
static void send_input(int fd, size_t size, size_t total, size_t block)
{
    size_t at = block -= block % size;
    char *bytes = buffer(block + BEHIND) + BEHIND;
    size_t done;

    for (done = 0; done < total; done += size, at += size) {
        if (at == block) {
            if (read(STDIN_FILENO, bytes, block) < (ssize_t)size) {
                fail("read");
            }
            at = 0;
        }
        put(fd, bytes + at, size);
    }
}

/* What is received before it is counted lets the kernel find its memory. */
static double load(size_t size, size_t total, size_t block)
{
    int other, fd = spawn(cpu_b, &other);

    if (fd < 0) {
        send_input(other, size, 2 * total, block);
        exit(0);
    }
    return receive_all(fd, size, total, total);
}

static void pass_on(int from, int to, size_t size, size_t total)
{
    void *bytes = buffer(size);
    size_t done;

    for (done = 0; done < size + total; done += size) {
        get(from, bytes, size);
        put(to, bytes, size);
    }
}

/* server, source | destination, server: the parent is the last of them */
static double relay(size_t size, size_t total, size_t window)
{
    int destination, source, server, fd;

    destination = spawn(cpu_b, &fd);
    if (destination >= 0) {
        pin(cpu_b);
        return receive_all(destination, size, size, total);
    }
    source = spawn(cpu_a, &destination);
    if (source >= 0) {
        pass_on(source, fd, size, total);
        exit(0);
    }
    server = spawn(cpu_a, &fd);
    if (server >= 0) {
        pass_on(server, destination, size, total);
        exit(0);
    }
    send_all(fd, size, total, window);
    exit(0);
}

static double copy_mapped(size_t size, size_t total, size_t window)
{
    int window_fd = memfd_create("bench-raw", MFD_CLOEXEC);
    int sink = open("/dev/null", O_WRONLY | O_CLOEXEC);
    char *stream = buffer(size);
    char *memory;
    double start;
    size_t done;

    if (window_fd < 0 || sink < 0 || ftruncate(window_fd, window)) {
        fail("window");
    }
    memory = mmap(NULL, window, PROT_READ | PROT_WRITE, MAP_SHARED, window_fd,
                  0);
    if (memory == MAP_FAILED) {
        fail("mmap");
    }
    memset(memory, 0x5a, window);
    start = now();
    for (done = 0; done < total; done += size) {
        memcpy(stream, memory + done % window, size);
        if (write(sink, stream, size) != (ssize_t)size) {
            fail("write");
        }
    }
    return now() - start;
}

static size_t number(const char *text)
{
    size_t value;
    char behind;

    if (sscanf(text, "%zu%c", &value, &behind) != 1) {
        fputs(usage, stderr);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 3 ? argv[3] : "";
    size_t sizes[3] = { 0 };
    double seconds;
    int i;

    if (argc == 2 && !strcmp(argv[1], "--help")) {
        fputs(usage, stdout);
        return 0;
    }
    if (argc != (strcmp(mode, "oneway") ? 7 : 6)) {
        fputs(usage, stderr);
        return 2;
    }
    for (i = 4; i < argc; i++) {
        sizes[i - 4] = number(argv[i]);
    }
    cpu_a = number(argv[1]);
    cpu_b = number(argv[2]);
    pin(cpu_a);
    if (!strcmp(mode, "pingpong")) {
        seconds = pingpong(sizes[0], sizes[1], sizes[2]);
    } else if (!strcmp(mode, "oneway")) {
        seconds = oneway(sizes[0], sizes[1]);
    } else if (!strcmp(mode, "copy")) {
        seconds = copy(sizes[0], sizes[1], sizes[2]);
    } else if (!strcmp(mode, "load") && sizes[0] && sizes[2] >= sizes[0]) {
        seconds = load(sizes[0], sizes[1], sizes[2]);
    } else if (!strcmp(mode, "relay")) {
        seconds = relay(sizes[0], sizes[1], sizes[2]);
    } else if (!strcmp(mode, "memcpy")) {
        seconds = copy_mapped(sizes[0], sizes[1], sizes[2]);
    } else {
        fputs(usage, stderr);
        return 2;
    }
    printf("%.9f\n", seconds);
    return 0;
}
