/* A load generator that is never the bottleneck: one epoll thread, closed loop, keep-alive.

   load PORT CONNECTIONS BODY_BYTES MARKER WARM_MS WINDOW_MS RAMP_MS TRACED

   Sends chat requests in 50 groups that share three quarters of their prompt; MARKER, at the
   prompt's end, tells the stand-in engine how to answer; TRACED (0 or 1) gives each head an id of
   its own. Prints `begin` when the window begins and `end` with the figures, as JSON in
   nanoseconds, when it is over. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { GROUPS = 50, READ = 1 << 17, EVENTS = 256 };

typedef struct { long long *at; size_t count, room; } Series;

typedef struct {
  int fd, begun, reading_head;
  char *out;
  size_t out_have, out_at;
  char head[8192];
  size_t head_have;
  int chunked, state;      /* of the chunk reader: 0 size, 1 payload, 2 line end, 3 trailer */
  long long left;          /* payload bytes to come, of the body or of this chunk */
  size_t line;             /* bytes in this line so far */
  long long asked_at;
} Conn;

static Series latency, first, delay;
static long long errors, done, window_begin, window_end;
static int poll_fd, port, connections, in_window;
static size_t body_bytes;
static int traced;
static unsigned long long asked;
static const char *marker;
static char *groups[GROUPS];
static unsigned long long seed = 88172645463325252ULL;

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void add(Series *series, long long value) {
  if (!in_window) return;
  if (series->count == series->room)
    series->at = realloc(series->at, (series->room = 2 * series->room + 1024) * sizeof value);
  series->at[series->count++] = value;
}

static int compare(const void *a, const void *b) {
  long long x = *(const long long *)a, y = *(const long long *)b;
  return x < y ? -1 : x > y;
}

static void show(const char *name, Series *series) {
  size_t n = series->count;
  qsort(series->at, n, sizeof *series->at, compare);
  printf(",\"%s\":{\"count\":%zu", name, n);
  if (n)
    printf(",\"p50\":%lld,\"p99\":%lld,\"max\":%lld", series->at[n / 2],
           series->at[n * 99 / 100], series->at[n - 1]);
  printf("}");
}

/* Requests */

static void words(char *at, size_t size) { /* eight letters and a blank, again and again */
  for (size_t i = 0; i < size; i++) {
    if (i % 8 == 0) seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
    at[i] = i % 9 == 8 ? ' ' : 'a' + (seed >> (i % 8 * 5)) % 26;
  }
}

static const char BEFORE[] = "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"";

static void compose(Conn *c) {
  char after[128];
  int after_size = snprintf(after, sizeof after, "%s\"}],\"max_tokens\":64%s}", marker,
                            strstr(marker, "paced") ? ",\"stream\":true" : "");
  char id[64] = "";
  if (traced) sprintf(id, "X-Request-Id: %016llx%016llx\r\n", seed, ++asked);
  size_t text = body_bytes - (sizeof BEFORE - 1) - after_size, shared = body_bytes / 4 * 3;
  char *at = c->out;
  at += sprintf(at,
                "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUser-Agent: load\r\n"
                "Accept: */*\r\nAuthorization: Bearer key\r\nContent-Type: application/json\r\n"
                "%sContent-Length: %zu\r\n\r\n",
                port, id, body_bytes);
  at = mempcpy(at, BEFORE, sizeof BEFORE - 1);
  at = mempcpy(at, groups[(seed >> 20) % GROUPS], shared);
  words(at, text - shared);
  at = mempcpy(at + text - shared, after, after_size);
  c->out_have = at - c->out;
  c->out_at = 0;
}

static void watch(Conn *c, unsigned events, int how) {
  struct epoll_event event = {.events = events, .data.ptr = c};
  epoll_ctl(poll_fd, how, c->fd, &event);
}

static void push(Conn *c) {
  ssize_t sent = send(c->fd, c->out + c->out_at, c->out_have - c->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) c->out_at += sent;
  watch(c, c->out_at < c->out_have ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
}

static void ask(Conn *c) {
  compose(c);
  c->reading_head = 1;
  c->begun = c->head_have = c->state = c->line = c->left = 0;
  c->asked_at = now();
  ssize_t sent = send(c->fd, c->out, c->out_have, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent > 0) c->out_at = sent;
  if (c->out_at < c->out_have) watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

static void dial(Conn *c) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int yes = 1;
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  if (connect(c->fd, (struct sockaddr *)&address, sizeof address)) {
    perror("load: connect");
    exit(1);
  }
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  watch(c, EPOLLIN, EPOLL_CTL_ADD);
  ask(c);
}

static void again(Conn *c, int failed) {
  if (failed && in_window) errors++;
  if (failed) close(c->fd), dial(c);
  else ask(c);
}

/* Replies */

static void finish(Conn *c, int keep) {
  long long t = now();
  add(&latency, t - c->asked_at);
  done += in_window;
  if (keep) again(c, 0);
  else close(c->fd), dial(c);
}

/* Whether the chunked body ends in `data`. */
static int chunks(Conn *c, const char *data, size_t size) {
  for (size_t i = 0; i < size;) {
    if (c->state == 1) {
      size_t part = (long long)(size - i) < c->left ? size - i : (size_t)c->left;
      i += part;
      if (!(c->left -= part)) c->state = 2;
      continue;
    }
    char byte = data[i++];
    if (byte == '\r') continue;
    if (byte != '\n') {
      c->line++;
      if (c->state == 0) {
        int digit = byte <= '9' ? byte - '0' : (byte | 32) - 'a' + 10;
        c->left = c->left * 16 + digit;
      }
      continue;
    }
    if (c->state == 3 && !c->line) return 1;
    if (c->state == 0) c->state = c->left ? 1 : 3;
    else if (c->state == 2) c->state = 0, c->left = 0;
    c->line = 0;
  }
  return 0;
}

static void stamps(const char *data, size_t size) {
  long long t = now();
  for (const char *at = data, *end = data + size; (at = memmem(at, end - at, "\"T", 2));) {
    at += 2;
    if (end - at > 19 && at[19] == '"') add(&delay, t - strtoll(at, NULL, 10));
  }
}

static void take(Conn *c) {
  static char data[READ];
  ssize_t got = recv(c->fd, data, sizeof data, MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) {
    again(c, 1);
    return;
  }
  char *body = data;
  size_t size = got;
  if (!c->begun++) add(&first, now() - c->asked_at);
  if (c->reading_head) {
    size_t before = c->head_have, part = sizeof c->head - before - 1;
    if (part > size) part = size;
    memcpy(c->head + before, data, part);
    c->head[c->head_have += part] = 0;
    char *blank = strstr(c->head, "\r\n\r\n");
    if (!blank) return;
    size_t used = blank + 4 - c->head - before;
    body += used, size -= used;
    blank[2] = 0;
    c->reading_head = 0;
    char *length = strcasestr(c->head, "\r\ncontent-length:");
    c->left = length ? strtoll(length + 17, NULL, 10) : 0;
    c->chunked = !length;
    if (strncmp(c->head + 9, "200", 3)) {
      again(c, 1);
      return;
    }
  }
  if (c->chunked) stamps(body, size);
  if (c->chunked ? chunks(c, body, size) : (c->left -= size) <= 0)
    finish(c, !strcasestr(c->head, "connection: close"));
}

static void report(void) {
  printf("end {\"seconds\":%.6f,\"requests\":%lld,\"errors\":%lld",
         (now() - window_begin) / 1e9, done, errors);
  show("latency", &latency);
  show("first", &first);
  show("delay", &delay);
  printf("}\n");
}

int main(int argc, char **argv) {
  if (argc != 9) return 2;
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  setvbuf(stdout, NULL, _IOLBF, 0);
  port = atoi(argv[1]);
  connections = atoi(argv[2]);
  body_bytes = strtoul(argv[3], NULL, 10);
  marker = argv[4];
  traced = atoi(argv[8]);
  long long start = now(), ramp = atoll(argv[7]) * 1000000;
  window_begin = start + ramp + atoll(argv[5]) * 1000000;
  window_end = window_begin + atoll(argv[6]) * 1000000;
  poll_fd = epoll_create1(0);
  for (int i = 0; i < GROUPS; i++) words(groups[i] = malloc(body_bytes), body_bytes);
  seed = start | 1;
  struct epoll_event ready[EVENTS];
  for (int dialled = 0;;) {
    long long t = now();
    for (; dialled < connections && t >= start + ramp * dialled / connections; dialled++) {
      Conn *c = calloc(1, sizeof *c);
      c->out = malloc(body_bytes + 1024);
      dial(c);
    }
    if (!in_window && t >= window_begin) in_window = 1, puts("begin");
    if (t >= window_end) break;
    int count = epoll_wait(poll_fd, ready, EVENTS, dialled < connections ? 1 : 20);
    for (int i = 0; i < count; i++) {
      Conn *c = ready[i].data.ptr;
      if (ready[i].events & EPOLLOUT) push(c);
      if (ready[i].events & ~EPOLLOUT) take(c);
    }
  }
  report();
}
