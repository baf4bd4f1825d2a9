/* Fails a chosen operation on files below one folder; preloaded into the process that trials are forked from.

   watch(folder) begins to count; arm(n, action, number, kinds) lets operation n (counted from 1) fail, or with
   kinds that are not empty all operations from n on that are of these kinds. What is read below the folder through
   mmap or the C library's own buffers is counted when it is opened. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 'o', CREATE = 'c', READ = 'r', WRITE = 'w', SYNC = 's', RENAME = 'n', UNLINK = 'u', MKDIR = 'm', LIST = 'l' };
enum { NOTHING, FAIL, SHORT, TORN, KILL };
enum { FILES = 1 << 16, MOST = 1 << 18 };

static char root[PATH_MAX];
static size_t root_length;
static unsigned char watched[FILES];
static char kinds_seen[MOST];
static atomic_int seen, failed;
static int at, wanted, number;
static char lasting[32];

void faults_watch(const char *folder) {
  atomic_store(&seen, 0), atomic_store(&failed, 0), wanted = NOTHING;
  memset(watched, 0, sizeof watched);
  strncpy(root, folder, sizeof root - 1);
  root_length = strlen(root);
}
void faults_arm(int n, int action, int error, const char *kinds) {
  at = n, number = error, wanted = action;
  strncpy(lasting, kinds, sizeof lasting - 1);
}
int faults_seen(void) { return atomic_load(&seen); }
int faults_failed(void) { return atomic_load(&failed); }
const char *faults_kinds(void) { return kinds_seen; }

static int below(const char *path, int folder) {
  char here[PATH_MAX];
  if (!root_length || !path) return 0;
  if (path[0] != '/') {
    if (folder != AT_FDCWD) return folder >= 0 && folder < FILES && watched[folder];
    if (!getcwd(here, sizeof here)) return 0;
    return !strncmp(here, root, root_length) && (here[root_length] == '/' || !here[root_length]);
  }
  return !strncmp(path, root, root_length) && (path[root_length] == '/' || !path[root_length]);
}
static int ours(int file) { return root_length && file >= 0 && file < FILES && watched[file]; }

static void end(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}
/* What is to become of the next operation; FAIL has set errno. */
static int next(int kind) {
  int n = atomic_fetch_add(&seen, 1) + 1;
  if (n < MOST) kinds_seen[n - 1] = (char)kind;
  if (n == at && ((wanted == TORN && kind != WRITE) || (wanted == SHORT && kind != READ && kind != WRITE)))
    at = n + 1; /* threads have changed places: it is the next one that can be cut */
  if (!wanted || n < at || (n > at && !(lasting[0] && strchr(lasting, kind)))) return NOTHING;
  atomic_fetch_add(&failed, 1);
  if (wanted == KILL) end();
  if (wanted == FAIL) errno = number;
  return wanted;
}
#define REAL(result, name, ...)                       \
  static result (*real)(__VA_ARGS__);                 \
  if (!real) real = (result(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int opened(int file, int is_ours) {
  if (file >= 0 && file < FILES) watched[file] = (unsigned char)is_ours;
  return file;
}
#define OPENS(name)                                                                    \
  int name(const char *path, int flags, ...) {                                         \
    REAL(int, #name, const char *, int, ...);                                          \
    va_list more;                                                                      \
    va_start(more, flags);                                                             \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;          \
    va_end(more);                                                                      \
    int is_ours = below(path, AT_FDCWD);                                               \
    if (is_ours && next(flags & O_CREAT ? CREATE : OPEN) == FAIL) return -1;           \
    return opened(real(path, flags, mode), is_ours);                                   \
  }
OPENS(open)
OPENS(open64)
#define OPENS_AT(name)                                                                 \
  int name(int folder, const char *path, int flags, ...) {                             \
    REAL(int, #name, int, const char *, int, ...);                                     \
    va_list more;                                                                      \
    va_start(more, flags);                                                             \
    mode_t mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(more, mode_t) : 0;          \
    va_end(more);                                                                      \
    int is_ours = below(path, folder);                                                 \
    if (is_ours && next(flags & O_CREAT ? CREATE : OPEN) == FAIL) return -1;           \
    return opened(real(folder, path, flags, mode), is_ours);                           \
  }
OPENS_AT(openat)
OPENS_AT(openat64)
int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
#define FOPENS(name)                                                                   \
  FILE *name(const char *path, const char *how) {                                      \
    REAL(FILE *, #name, const char *, const char *);                                   \
    int is_ours = below(path, AT_FDCWD);                                               \
    if (is_ours && next(how[0] == 'r' ? OPEN : CREATE) == FAIL) return NULL;           \
    FILE *file = real(path, how);                                                      \
    if (file) opened(fileno(file), is_ours);                                           \
    return file;                                                                       \
  }
FOPENS(fopen)
FOPENS(fopen64)
int close(int file) {
  REAL(int, "close", int);
  if (file >= 0 && file < FILES) watched[file] = 0;
  return real(file);
}
DIR *opendir(const char *path) {
  REAL(DIR *, "opendir", const char *);
  if (below(path, AT_FDCWD) && next(LIST) == FAIL) return NULL;
  return real(path);
}
DIR *fdopendir(int file) {
  REAL(DIR *, "fdopendir", int);
  if (ours(file) && next(LIST) == FAIL) return NULL;
  return real(file);
}
#define TRANSFERS(kind, data, ...)                                                     \
  if (ours(file)) {                                                                    \
    int what = next(kind);                                                             \
    if (what == FAIL) return -1;                                                       \
    if (what == SHORT || what == TORN) {                                               \
      ssize_t some = size > 1 ? real(file, data, size / 2, ##__VA_ARGS__)              \
                              : real(file, data, size, ##__VA_ARGS__);                 \
      if (what == TORN) end();                                                         \
      return some;                                                                     \
    }                                                                                  \
  }                                                                                    \
  return real(file, data, size, ##__VA_ARGS__);

ssize_t read(int file, void *data, size_t size) {
  REAL(ssize_t, "read", int, void *, size_t);
  TRANSFERS(READ, data)
}
ssize_t write(int file, const void *data, size_t size) {
  REAL(ssize_t, "write", int, const void *, size_t);
  TRANSFERS(WRITE, data)
}
ssize_t pread(int file, void *data, size_t size, off_t from) {
  REAL(ssize_t, "pread", int, void *, size_t, off_t);
  TRANSFERS(READ, data, from)
}
ssize_t pread64(int file, void *data, size_t size, off_t from) {
  REAL(ssize_t, "pread64", int, void *, size_t, off_t);
  TRANSFERS(READ, data, from)
}
ssize_t pwrite(int file, const void *data, size_t size, off_t from) {
  REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
  TRANSFERS(WRITE, data, from)
}
ssize_t pwrite64(int file, const void *data, size_t size, off_t from) {
  REAL(ssize_t, "pwrite64", int, const void *, size_t, off_t);
  TRANSFERS(WRITE, data, from)
}
ssize_t readv(int file, const struct iovec *data, int size) {
  REAL(ssize_t, "readv", int, const struct iovec *, int);
  TRANSFERS(READ, data)
}
ssize_t writev(int file, const struct iovec *data, int size) {
  REAL(ssize_t, "writev", int, const struct iovec *, int);
  TRANSFERS(WRITE, data)
}
ssize_t sendfile(int file, int from, off_t *data, size_t size) {
  REAL(ssize_t, "sendfile", int, int, off_t *, size_t);
  if (ours(file) && next(WRITE) == FAIL) return -1;
  return real(file, from, data, size);
}
ssize_t sendfile64(int file, int from, off64_t *data, size_t size) {
  REAL(ssize_t, "sendfile64", int, int, off64_t *, size_t);
  if (ours(file) && next(WRITE) == FAIL) return -1;
  return real(file, from, data, size);
}
#define SYNCS(name)                                                                    \
  int name(int file) {                                                                 \
    REAL(int, #name, int);                                                             \
    return ours(file) && next(SYNC) == FAIL ? -1 : real(file);                         \
  }
SYNCS(fsync)
SYNCS(fdatasync)
#define NAMES(name, kind, ours, parameters, types, ...)                                \
  int name parameters {                                                                \
    REAL(int, #name, types);                                                           \
    return (ours) && next(kind) == FAIL ? -1 : real(__VA_ARGS__);                      \
  }
#define LIST_OF(...) __VA_ARGS__
NAMES(rename, RENAME, below(b, AT_FDCWD), (const char *a, const char *b), LIST_OF(const char *, const char *), a, b)
NAMES(renameat, RENAME, below(b, g), (int f, const char *a, int g, const char *b),
      LIST_OF(int, const char *, int, const char *), f, a, g, b)
NAMES(renameat2, RENAME, below(b, g), (int f, const char *a, int g, const char *b, unsigned how),
      LIST_OF(int, const char *, int, const char *, unsigned), f, a, g, b, how)
NAMES(link, RENAME, below(b, AT_FDCWD), (const char *a, const char *b), LIST_OF(const char *, const char *), a, b)
NAMES(unlink, UNLINK, below(a, AT_FDCWD), (const char *a), const char *, a)
NAMES(unlinkat, UNLINK, below(a, f), (int f, const char *a, int how), LIST_OF(int, const char *, int), f, a, how)
NAMES(rmdir, UNLINK, below(a, AT_FDCWD), (const char *a), const char *, a)
NAMES(mkdir, MKDIR, below(a, AT_FDCWD), (const char *a, mode_t mode), LIST_OF(const char *, mode_t), a, mode)
NAMES(mkdirat, MKDIR, below(a, f), (int f, const char *a, mode_t mode), LIST_OF(int, const char *, mode_t), f, a, mode)
