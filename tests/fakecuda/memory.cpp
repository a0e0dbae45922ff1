/* Device and pinned memory. Each allocation has pages of its own between forbidden ones; it lies as far to the end of
   them as alignment allows, and the slack around it is filled with a known byte. Freed pages are forbidden for good.
   The host may touch device memory no more than freed memory: it is forbidden while no device work runs. */
#include "fakecuda.h"

#include <cstdio>
#include <cstring>
#include <map>
#include <sys/mman.h>
#include <unistd.h>

namespace fakecuda {
namespace {

constexpr size_t alignment = 256, /* what cudaMalloc promises */
    guard = size_t{1} << 20;      /* forbidden on either side; costs addresses only */
constexpr int slack_byte = 0xa5, fresh_byte = 0xff /* floats of it are NaN */;

std::map<const char *, allocation *> &by_address = *new std::map<const char *, allocation *>; /* from its guard on */
std::set<allocation *> live;
size_t device_used;
int accesses_open;

size_t page() {
  static const size_t size = (size_t)sysconf(_SC_PAGESIZE);
  return size;
}

size_t round_up(size_t n, size_t unit) { return (n + unit - 1) / unit * unit; }

void protect(const allocation *a, int how) { (void)mprotect(a->mapping, (size_t)(a->mapping_end - a->mapping), how); }

/* The first byte of [from, to) that is not as it was, else `to`. */
char *first_changed(char *from, char *to) {
  while (from < to && *from == (char)slack_byte) from++;
  return from;
}

const char *kind_name(const allocation *a) {
  return a->kind == memory_kind::device ? "allocation" : "pinned allocation";
}

}  // namespace

allocation *allocate(memory_kind kind, size_t bytes) {
  static unsigned made;
  if (kind == memory_kind::device && bytes > device_memory_total - device_used) return nullptr;
  const size_t payload = round_up(bytes, alignment), pages = round_up(payload, page());
  void *base = mmap(nullptr, pages + 2 * guard, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  allocation *a = new allocation{};
  a->kind = kind;
  a->number = ++made;
  a->mapping = (char *)base + guard;
  a->mapping_end = a->mapping + pages;
  a->begin = a->mapping_end - payload;
  a->end = a->begin + bytes;
  protect(a, PROT_READ | PROT_WRITE);
  (void)madvise(a->mapping, pages, MADV_HUGEPAGE); /* is forbidden and allowed again in a fraction of the time */
  memset(a->mapping, slack_byte, pages);
  memset(a->begin, fresh_byte, bytes);
  if (kind == memory_kind::device) device_used += bytes;
  if (kind == memory_kind::device && !accesses_open) protect(a, PROT_NONE);
  by_address[(const char *)base] = a;
  live.insert(a);
  count_alive(kind_name(a), 1);
  return a;
}

void release(allocation *a) {
  a->freed = true;
  live.erase(a);
  count_alive(kind_name(a), -1);
  if (a->kind == memory_kind::device) device_used -= (size_t)(a->end - a->begin);
  (void)madvise(a->mapping, (size_t)(a->mapping_end - a->mapping), MADV_DONTNEED);
  protect(a, PROT_NONE);
}

allocation *find_allocation(const volatile void *at) {
  static allocation *recent[64]; /* by address in steps of 64 KiB */
  const char *p = (const char *)at;
  allocation *&guess = recent[((uintptr_t)p >> 16) % 64];
  if (guess && p >= guess->mapping && p < guess->mapping_end) return guess;
  auto row = by_address.upper_bound(p);
  if (row == by_address.begin()) return nullptr;
  allocation *a = (--row)->second;
  if (p >= a->mapping_end + guard) return nullptr;
  return guess = a;
}

bool is_inside(const allocation *a, const volatile void *at, size_t bytes) {
  const char *p = (const char *)at;
  return a && !a->freed && p >= a->begin && p <= a->end && bytes <= (size_t)(a->end - p);
}

size_t device_memory_free() { return device_memory_total - device_used; }

void describe(const volatile void *at, char *text, size_t size) {
  const char *p = (const char *)at;
  const allocation *a = find_allocation(at);
  if (!a)
    (void)snprintf(text, size, "address %p, in no allocation", (const void *)p);
  else
    (void)snprintf(text, size, "byte %td of %s %u, which has %td bytes%s", p - a->begin, kind_name(a), a->number,
                   a->end - a->begin, a->freed ? " and was freed" : "");
}

bool slack_is_whole(const char *who) {
  for (allocation *a : live) {
    char *before = first_changed(a->mapping, a->begin), *behind = first_changed(a->end, a->mapping_end);
    if (before == a->begin && behind == a->mapping_end) continue;
    char text[128];
    describe(before < a->begin ? before : behind, text, sizeof text);
    finding("%s: wrote out of bounds: %s", who, text);
    memset(a->mapping, slack_byte, (size_t)(a->begin - a->mapping));
    memset(a->end, slack_byte, (size_t)(a->mapping_end - a->end));
    return false;
  }
  return true;
}

device_access::device_access() {
  if (accesses_open++) return;
  for (const allocation *a : live)
    if (a->kind == memory_kind::device) protect(a, PROT_READ | PROT_WRITE);
}

device_access::~device_access() {
  if (--accesses_open) return;
  for (const allocation *a : live)
    if (a->kind == memory_kind::device) protect(a, PROT_NONE);
}

}  // namespace fakecuda
