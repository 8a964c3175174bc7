/* Stands between a program and the C library, and does harm to chosen calls.
 *
 * Loaded by LD_PRELOAD. Counted are the calls on files below FAULT_UNDER, of
 * the kinds that FAULT_CALLS names, over all threads; each is told to the file
 * FAULT_LOG, as a line of number, kind and path. With FAULT_NAMES, only files are counted
 * whose name is of this pattern of a shell. From call FAULT_FROM to call FAULT_TO,
 * the first one being 1, FAULT_HARM is done:
 *
 *   a number     the call fails with this errno
 *   kill-before  the process is killed instead
 *   kill-after   the process is killed when the call is done
 *   interrupt    the call fails with EINTR, the next one of the thread does not
 *   short        at most half of the bytes are written or read
 *   wait         the call waits until the file FAULT_LOG.open has a byte for it: the first
 *                byte is for call FAULT_FROM, the next one for the next
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *under, *names, *calls, *harm;
static long from, to;
static int log_fd = -1;
static atomic_long count;
static _Thread_local int is_retry;

__attribute__((constructor)) static void start(void) {
    const char *log = getenv("FAULT_LOG");
    under = getenv("FAULT_UNDER");
    names = getenv("FAULT_NAMES");
    calls = getenv("FAULT_CALLS");
    harm = getenv("FAULT_HARM");
    if (!under || !calls || !harm || !log) return;
    from = atol(getenv("FAULT_FROM") ? getenv("FAULT_FROM") : "1");
    to = atol(getenv("FAULT_TO") ? getenv("FAULT_TO") : "0");
    log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void die(void) {
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

/* The number of a call, if it is one of those that are counted and harmed; or else 0. */
static long is_chosen(const char *kind, const char *path) {
    if (log_fd < 0) return 0;
    size_t len = strlen(under);
    if (strncmp(path, under, len) != 0 || (path[len] != '/' && path[len] != 0)) return 0;
    const char *name = strrchr(path, '/');
    if (names && (!name || fnmatch(names, name + 1, 0) != 0)) return 0;
    const char *at = calls;
    size_t kind_len = strlen(kind);
    while ((at = strstr(at, kind))) {
        int starts = at == calls || at[-1] == ',';
        if (starts && (at[kind_len] == ',' || at[kind_len] == 0)) break;
        at += 1;
    }
    if (!at) return 0;
    long number = atomic_fetch_add(&count, 1) + 1;
    char line[PATH_MAX + 64];
    int line_len = snprintf(line, sizeof line, "%ld %s %s\n", number, kind, path);
    syscall(SYS_write, log_fd, line, line_len);
    return number >= from && number <= to ? number : 0;
}

static long is_fd_chosen(const char *kind, int fd) {
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (len < 0) return 0;
    path[len] = 0;
    return is_chosen(kind, path);
}

static void wait_for_gate(long number) {
    char gate[PATH_MAX];
    struct stat found;
    snprintf(gate, sizeof gate, "%s.open", getenv("FAULT_LOG"));
    while (stat(gate, &found) != 0 || found.st_size <= number - from) usleep(1000);
}

/* Returns whether the call is to fail, with errno set. */
static int fails(long is_chosen) {
    if (!is_chosen) return 0;
    if (!strcmp(harm, "kill-before")) die();
    if (!strcmp(harm, "wait")) {
        wait_for_gate(is_chosen);
        return 0;
    }
    if (!strcmp(harm, "interrupt")) {
        is_retry = !is_retry;
        errno = EINTR;
        return is_retry;
    }
    errno = atoi(harm);
    return errno != 0;
}

static size_t len_of(long is_chosen, size_t len) {
    return is_chosen && !strcmp(harm, "short") && len > 1 ? len / 2 : len;
}

static long after(long is_chosen, long result) {
    if (is_chosen && !strcmp(harm, "kill-after")) die();
    return result;
}

#define HARMED(chosen_by, call)                  \
    do {                                         \
        long chosen = (chosen_by);               \
        if (fails(chosen)) return -1;            \
        return after(chosen, (call));            \
    } while (0)

static int open_at(int directory, const char *path, int flags, mode_t mode) {
    int makes = (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE;
    HARMED(is_chosen(makes ? "create" : "open", path),
           syscall(SYS_openat, directory, path, flags, mode));
}

#define MODE_OF(last)                            \
    mode_t mode = 0;                             \
    va_list list;                                \
    va_start(list, last);                        \
    if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) mode = va_arg(list, int); \
    va_end(list)

int open(const char *path, int flags, ...) {
    MODE_OF(flags);
    return open_at(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    MODE_OF(flags);
    return open_at(AT_FDCWD, path, flags, mode);
}

int openat(int directory, const char *path, int flags, ...) {
    MODE_OF(flags);
    return open_at(directory, path, flags, mode);
}

int openat64(int directory, const char *path, int flags, ...) {
    MODE_OF(flags);
    return open_at(directory, path, flags, mode);
}

int mkdir(const char *path, mode_t mode) {
    HARMED(is_chosen("mkdir", path), syscall(SYS_mkdirat, AT_FDCWD, path, mode));
}

int unlink(const char *path) {
    HARMED(is_chosen("remove", path), syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

int rmdir(const char *path) {
    HARMED(is_chosen("remove", path), syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR));
}

int fsync(int fd) {
    HARMED(is_fd_chosen("sync", fd), syscall(SYS_fsync, fd));
}

int fdatasync(int fd) {
    HARMED(is_fd_chosen("sync", fd), syscall(SYS_fdatasync, fd));
}

ssize_t write(int fd, const void *bytes, size_t len) {
    HARMED(is_fd_chosen("write", fd), syscall(SYS_write, fd, bytes, len_of(chosen, len)));
}

ssize_t writev(int fd, const struct iovec *parts, int part_count) {
    HARMED(is_fd_chosen("write", fd),
           syscall(SYS_writev, fd, parts, (int)len_of(chosen, part_count)));
}

ssize_t pwrite(int fd, const void *bytes, size_t len, off_t offset) {
    HARMED(is_fd_chosen("write", fd),
           syscall(SYS_pwrite64, fd, bytes, len_of(chosen, len), offset));
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset) {
    HARMED(is_fd_chosen("write", fd),
           syscall(SYS_pwrite64, fd, bytes, len_of(chosen, len), offset));
}

ssize_t read(int fd, void *bytes, size_t len) {
    HARMED(is_fd_chosen("read", fd), syscall(SYS_read, fd, bytes, len_of(chosen, len)));
}

ssize_t pread(int fd, void *bytes, size_t len, off_t offset) {
    HARMED(is_fd_chosen("read", fd),
           syscall(SYS_pread64, fd, bytes, len_of(chosen, len), offset));
}

ssize_t pread64(int fd, void *bytes, size_t len, off64_t offset) {
    HARMED(is_fd_chosen("read", fd),
           syscall(SYS_pread64, fd, bytes, len_of(chosen, len), offset));
}
