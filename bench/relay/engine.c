/* A stand-in engine that is never the bottleneck: one epoll thread, one socket a port.

   engine PORT...

   The prompt tokens it reports are true to the prompt: proxies learn from them.
   Answers POSTs as their text asks: `#json#` with 300 bytes, `#paced:MS:COUNT#` with COUNT events
   of a stream, one every MS milliseconds (0: all at once). Each event carries CLOCK_MONOTONIC in
   nanoseconds, `"T%019lld"`, so that whoever reads it on this machine knows how long it took. */
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
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { READ = 1 << 16, EVENTS = 256, MAX_FDS = 1 << 16, BYTES_PER_TOKEN = 4 };

typedef struct {
  int listening, fd, left;     /* events still to send */
  int place;                   /* in the heap, 1-based; 0: not there */
  long long due, interval;     /* ns */
  char *in, *out;              /* bytes of a request; bytes of a reply that the socket did not take */
  size_t have, room, out_have, out_at;
} Conn;

static Conn *conns[MAX_FDS];
static Conn *heap[MAX_FDS];
static int heap_size, poll_fd, timer_fd;

static long long now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* The heap of streams by when their next event is due */

static void put(int i, Conn *c) { heap[i] = c; c->place = i; }

static void sift(int i, Conn *c) {
  for (; i > 1 && heap[i / 2]->due > c->due; i /= 2) put(i, heap[i / 2]);
  for (int child; (child = 2 * i) <= heap_size; i = child) {
    if (child < heap_size && heap[child + 1]->due < heap[child]->due) child++;
    if (heap[child]->due >= c->due) break;
    put(i, heap[child]);
  }
  put(i, c);
}

static void leave(Conn *c) {
  if (!c->place) return;
  Conn *last = heap[heap_size--];
  if (last != c) sift(c->place, last);
  c->place = 0;
}

static void arm(void) {
  struct itimerspec when = {0};
  if (heap_size) {
    when.it_value.tv_sec = heap[1]->due / 1000000000LL;
    when.it_value.tv_nsec = heap[1]->due % 1000000000LL;
  }
  timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

/* Connections */

static void drop(Conn *c) {
  leave(c);
  close(c->fd);
  conns[c->fd] = NULL;
  free(c->in);
  free(c->out);
  free(c);
}

static void watch(Conn *c, unsigned events, int how) {
  struct epoll_event event = {.events = events, .data.fd = c->fd};
  epoll_ctl(poll_fd, how, c->fd, &event);
}

static void say(Conn *c, const char *data, size_t size) {
  if (!c->out_have) {
    ssize_t sent = send(c->fd, data, size, MSG_NOSIGNAL);
    if (sent == (ssize_t)size) return;
    if (sent < 0 && errno != EAGAIN) return; /* its end will be read */
    if (sent > 0) data += sent, size -= sent;
  }
  c->out = realloc(c->out, c->out_have + size);
  memcpy(c->out + c->out_have, data, size);
  c->out_have += size;
  watch(c, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
}

static void flush(Conn *c) {
  ssize_t sent = send(c->fd, c->out + c->out_at, c->out_have - c->out_at, MSG_NOSIGNAL);
  if (sent > 0) c->out_at += sent;
  if (c->out_at < c->out_have) return;
  c->out_have = c->out_at = 0;
  watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

/* Replies */

static void reply(Conn *c, const char *type, const char *body) {
  static char text[8192];
  int size = snprintf(text, sizeof text,
                      "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n%s", type,
                      strlen(body), body);
  say(c, text, size);
}

static const char JSON_REPLY[] =
    "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion\",\"created\":1700000000,\"model\":\"m\","
    "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"Hello there, this "
    "is it.\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%6zu,\"total_tokens\":%6zu,"
    "\"completion_tokens\":8,\"prompt_tokens_details\":null}}";

static const char STREAM_HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
    "Transfer-Encoding: chunked\r\n\r\n";

static const char STREAM_END[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

static int event(char *out) {
  char data[256];
  int size = snprintf(data, sizeof data,
                      "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\","
                      "\"created\":1700000000,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":"
                      "{\"content\":\"T%019lld\"},\"finish_reason\":null}]}\n\n",
                      now());
  return sprintf(out, "%x\r\n%s\r\n", size, data);
}

static void burst(Conn *c, int count) {
  char *out = malloc(sizeof STREAM_HEAD + sizeof STREAM_END + count * 320), *end = out;
  end = stpcpy(end, STREAM_HEAD);
  while (count--) end += event(end);
  end = stpcpy(end, STREAM_END);
  say(c, out, end - out);
  free(out);
}

static void step(Conn *c) {
  char out[512];
  int size = event(out);
  if (!--c->left) {
    size = stpcpy(out + size, STREAM_END) - out;
    leave(c);
  } else {
    c->due += c->interval;
    sift(c->place, c);
  }
  say(c, out, size);
}

static void start(Conn *c, int milliseconds, int count) {
  say(c, STREAM_HEAD, sizeof STREAM_HEAD - 1);
  c->left = count;
  c->interval = milliseconds * 1000000LL;
  c->due = now(); /* the first at once: prefill is not what is measured */
  sift(++heap_size, c);
}

static void answer_get(Conn *c, const char *path) {
  if (!strncmp(path, "/v1/models ", 11))
    reply(c, "application/json",
          "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\",\"owned_by\":\"vllm\","
          "\"max_model_len\":131072}]}");
  else if (!strncmp(path, "/metrics ", 9))
    reply(c, "text/plain",
          "vllm:num_requests_running{model_name=\"m\"} 0\nvllm:num_requests_waiting{model_name="
          "\"m\"} 0\n");
  else if (!strncmp(path, "/version ", 9))
    reply(c, "application/json", "{\"version\":\"0.11.0\"}");
  else
    reply(c, "application/json",
          "{\"model_path\":\"m\",\"served_model_name\":\"m\",\"tokenizer_path\":\"m\"}");
}

static void answer_json(Conn *c, size_t tokens) {
  char text[sizeof JSON_REPLY + 32];
  snprintf(text, sizeof text, JSON_REPLY, tokens, tokens + 8);
  reply(c, "application/json", text);
}

static void answer(Conn *c, size_t head, size_t body) {
  if (!strncmp(c->in, "GET ", 4)) {
    answer_get(c, c->in + 4);
    return;
  }
  int milliseconds, count;
  char *marker = memmem(c->in + head, body, "#paced:", 7);
  if (!marker || sscanf(marker, "#paced:%d:%d#", &milliseconds, &count) != 2)
    answer_json(c, body / BYTES_PER_TOKEN);
  else if (milliseconds)
    start(c, milliseconds, count);
  else
    burst(c, count);
}

/* The bytes of one request's body, framed either way; -1: not whole yet. `*end`: behind it. */
static ssize_t body_size(Conn *c, size_t head, size_t *end) {
  char *header = strcasestr(c->in, "\r\ncontent-length:");
  size_t size = header ? strtoul(header + 17, NULL, 10) : 0;
  *end = head + size;
  if (!header && strcasestr(c->in, "\r\ntransfer-encoding:")) { /* litellm's client, for one */
    char *last = memmem(c->in + head, c->have - head, "\r\n0\r\n\r\n", 7);
    if (!last) return -1;
    *end = last + 7 - c->in;
    size = *end - head;
  }
  return *end <= c->have ? (ssize_t)size : -1;
}

static void take(Conn *c) {
  if (c->room - c->have < READ) c->in = realloc(c->in, c->room = 2 * c->room + READ + 1);
  ssize_t got = recv(c->fd, c->in + c->have, c->room - c->have - 1, 0);
  if (got <= 0) {
    if (got == 0 || errno != EAGAIN) drop(c);
    return;
  }
  c->have += got;
  for (;;) {
    c->in[c->have] = 0;
    char *blank = memmem(c->in, c->have, "\r\n\r\n", 4);
    if (!blank) return;
    size_t head = blank + 4 - c->in, end;
    blank[3] = 0; /* headers are looked for in the head alone */
    ssize_t body = body_size(c, head, &end);
    blank[3] = '\n';
    if (body < 0) return;
    answer(c, head, body);
    memmove(c->in, c->in + end, c->have -= end);
  }
}

static void admit(Conn *listener) {
  int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK), yes = 1;
  if (fd < 0) return;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
  Conn *c = conns[fd] = calloc(1, sizeof *c);
  c->fd = fd;
  watch(c, EPOLLIN, EPOLL_CTL_ADD);
}

static void listen_on(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), yes = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
  if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 4096)) {
    perror("engine: listen");
    exit(1);
  }
  Conn *c = conns[fd] = calloc(1, sizeof *c);
  c->listening = 1;
  c->fd = fd;
  watch(c, EPOLLIN, EPOLL_CTL_ADD);
}

static void serve(struct epoll_event *ready) {
  Conn *c = conns[ready->data.fd];
  if (ready->data.fd == timer_fd) {
    long long ticks, t = now();
    if (read(timer_fd, &ticks, sizeof ticks) < 0) return;
    while (heap_size && heap[1]->due <= t) step(heap[1]);
  } else if (!c) {
    return;
  } else if (c->listening) {
    admit(c);
  } else {
    if (ready->events & EPOLLOUT) flush(c);
    if (ready->events & ~EPOLLOUT) take(c);
  }
}

int main(int argc, char **argv) {
  struct rlimit files;
  getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  setrlimit(RLIMIT_NOFILE, &files);
  signal(SIGPIPE, SIG_IGN);
  poll_fd = epoll_create1(0);
  timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = timer_fd}, ready[EVENTS];
  epoll_ctl(poll_fd, EPOLL_CTL_ADD, timer_fd, &event);
  for (int i = 1; i < argc; i++) listen_on(atoi(argv[i]));
  for (;;) {
    int count = epoll_wait(poll_fd, ready, EVENTS, -1);
    for (int i = 0; i < count; i++) serve(&ready[i]);
    arm();
  }
}
